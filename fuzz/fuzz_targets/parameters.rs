//! What strangers send as a query and a body, up to the record it becomes: nothing panics, the
//! signature is never kept, little never becomes much, and the log gives back what was put in.
//!
//! Input: the query, a line break, the body.

#![no_main]

use eventlog::limits::RECORD_BYTES_MAX;
use ingest::Parameters;
use libfuzzer_sys::fuzz_target;
use schemas::input::PARAMETERS_MAX;
use schemas::{AdvertiserId, Input, Postback, PostbackId, TenantId, UnixMillis, codec};

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let query = String::from_utf8_lossy(&data[..end]);
    let mut parameters = Parameters::from_query(&query);
    parameters.read_body(data.get(end + 1..).unwrap_or_default());

    let first = parameters.list().first().cloned();
    if let Some((name, value)) = &first {
        assert_eq!(parameters.get(name), Some(value.as_str()), "the first of a name counts");
    }
    assert!(parameters.signature().is_none_or(|it| !it.is_empty() && it.trim() == it));

    let (list, flags) = parameters.into_parts();
    assert!(list.len() <= PARAMETERS_MAX);
    assert!(list.iter().all(|(name, _)| !name.trim().eq_ignore_ascii_case("signature")));

    let postback = Postback {
        postback_id: PostbackId(uuid::Uuid::nil()),
        tenant: TenantId::new("t").unwrap(),
        advertiser: AdvertiserId::new("a").unwrap(),
        received_at: UnixMillis(0),
        parameters: list,
        flags,
    };
    let record = codec::encode(&postback);
    assert!(record.len() < RECORD_BYTES_MAX, "{} bytes do not fit into a record", record.len());
    assert_eq!(Input::decode(&record).unwrap(), Input::Postback(postback));
});
