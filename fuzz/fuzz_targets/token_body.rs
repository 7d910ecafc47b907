//! What is inside a click id, as if somebody held a key: any bytes are refused or a click, and a
//! click is written as bytes that are the same click.

#![no_main]

use keyring::{read_token_body, write_token_body};
use libfuzzer_sys::fuzz_target;

/// More than any input is long.
const ROOM_BYTES: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some(mut click) = read_token_body(data) else { return };
    // Writing tells this anew: it says whether all sub-ids had room.
    click.details = false;
    let (body, missing) = write_token_body(&click, ROOM_BYTES);
    assert!(!missing, "with room for all, something of {click:?} had none");
    assert_eq!(read_token_body(&body).as_ref(), Some(&click));
    // With less room it is the same click without some sub-ids, and says so.
    let (short, missing) = write_token_body(&click, data.len() / 2);
    let cut = read_token_body(&short).unwrap();
    assert_eq!(
        (cut.key, &cut.root_offer, &cut.share),
        (click.key, &click.root_offer, &click.share)
    );
    assert_eq!(cut.details, missing);
    if !missing {
        assert_eq!(cut.subs, click.subs);
    }
});
