//! Records of the log, as somebody else may have written them: read or refused, never a panic, and
//! what was read is written and read again as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use schemas::{
    Availability, CatalogReader, Click, ConfigRecord, DeadLetter, Decision, Input, Message,
    Refusal, codec,
};
use std::fmt::Debug;

fuzz_target!(|data: &[u8]| {
    match Input::decode(data) {
        Ok(Input::Postback(it)) => check(&it),
        Ok(Input::ClickDetails(it)) => check(&it),
        Ok(Input::Command(it)) => check(&it),
        Ok(Input::Redecide(it)) => check(&it),
        Err(error) => drop(error.to_string()),
    }
    if let Ok(record) = ConfigRecord::decode(data) {
        assert_eq!(ConfigRecord::decode(&record.encode().1), Ok(record.clone()));
        let mut reader = CatalogReader::default();
        reader.read(record);
    }
    check_if::<Decision>(data);
    check_if::<Click>(data);
    check_if::<Availability>(data);
    check_if::<Refusal>(data);
    check_if::<DeadLetter>(data);
});

fn check_if<M: Message + PartialEq + Debug>(data: &[u8]) {
    if let Ok(message) = codec::decode::<M>(data) {
        check(&message);
    }
}

fn check<M: Message + PartialEq + Debug>(message: &M) {
    let again = codec::decode::<M>(&codec::encode(message));
    assert_eq!(again.as_ref(), Ok(message));
}
