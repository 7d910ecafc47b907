//! How a message stands in a record: one JSON object, `{"v":<version>,"<kind>":<body>}`.
//!
//! JSON, so that any Kafka tool shows what is in the log; the version and the kind come first, so
//! that a reader knows whether it may read on before it parses. A reader that meets a version it
//! does not know must stop and say so: guessing would lose money quietly.

use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Display;
use std::io;

/// A message with its own place in the log.
pub trait Message: Serialize + DeserializeOwned {
    /// Its name on the wire.
    const KIND: &'static str;
    /// Raised whenever an older reader would misunderstand the body. New optional fields do not.
    const VERSION: u32 = 1;
}

/// Why a record cannot be read. The two differ in what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The record is broken: dead-letter it and go on.
    #[error("not a readable record: {0}")]
    Malformed(String),
    /// Somebody newer wrote it: stop and upgrade.
    #[error(
        "a {kind:?} record of version {version}, which this build does not know; run a build that does before this one reads on"
    )]
    UnknownVersion { kind: String, version: u32 },
}

/// Writes a message as a record's value.
#[must_use]
pub fn encode<M: Message>(message: &M) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    encode_as::<M>(message, &mut bytes);
    bytes
}

/// Appends a message to a buffer in memory; `body` is the message, or what is the same JSON.
pub fn encode_as<M: Message>(body: &impl Serialize, buffer: &mut impl io::Write) {
    // Our messages have string keys and no fallible serializers, and memory takes every byte.
    write_as::<M>(body, buffer).expect("a message is always serializable");
}

fn write_as<M: Message>(body: &impl Serialize, out: &mut impl io::Write) -> io::Result<()> {
    write!(out, "{{\"v\":{},\"{}\":", M::VERSION, M::KIND)?;
    serde_json::to_writer(&mut *out, body)?;
    out.write_all(b"}")
}

/// A record's version, kind and the JSON of its body.
pub fn split(bytes: &[u8]) -> Result<(u32, &str, &[u8]), DecodeError> {
    let malformed =
        || DecodeError::Malformed("it does not begin with {\"v\":<version>,\"<kind>\":".to_owned());
    let rest = bytes.strip_prefix(b"{\"v\":").ok_or_else(malformed)?;
    let comma = rest.iter().take(11).position(|b| *b == b',').ok_or_else(malformed)?;
    let version = std::str::from_utf8(&rest[..comma])
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(malformed)?;
    let rest = rest[comma + 1..].strip_prefix(b"\"").ok_or_else(malformed)?;
    let quote = rest.iter().take(64).position(|b| *b == b'"').ok_or_else(malformed)?;
    let kind = std::str::from_utf8(&rest[..quote]).map_err(|_| malformed())?;
    let body = rest[quote + 1..]
        .strip_prefix(b":")
        .and_then(|body| body.strip_suffix(b"}"))
        .ok_or_else(malformed)?;
    Ok((version, kind, body))
}

/// Parses a body that [`split`] found, once the version is known to be ours.
pub fn parse_body<M: Message>(version: u32, body: &[u8]) -> Result<M, DecodeError> {
    if version != M::VERSION {
        return Err(DecodeError::UnknownVersion { kind: M::KIND.to_owned(), version });
    }
    // The whole at once: from bytes, every text in it would be checked alone.
    let text = std::str::from_utf8(body).map_err(unreadable)?;
    serde_json::from_str(text).map_err(unreadable)
}

fn unreadable(error: impl Display) -> DecodeError {
    DecodeError::Malformed(error.to_string())
}

/// Reads a record that can only hold one kind of message.
pub fn decode<M: Message>(bytes: &[u8]) -> Result<M, DecodeError> {
    let (version, kind, body) = split(bytes)?;
    if kind != M::KIND {
        return Err(unknown_kind(kind, version));
    }
    parse_body(version, body)
}

/// A kind nobody here knows is a newer writer's, if the record looks like one of ours at all.
#[must_use]
pub fn unknown_kind(kind: &str, version: u32) -> DecodeError {
    DecodeError::UnknownVersion { kind: kind.to_owned(), version }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Note {
        text: String,
    }
    impl Message for Note {
        const KIND: &'static str = "note";
        const VERSION: u32 = 3;
    }

    #[test]
    fn round_trip_is_json() {
        let note = Note { text: "a \"quoted\" }".to_owned() };
        let bytes = encode(&note);
        assert_eq!(bytes, br#"{"v":3,"note":{"text":"a \"quoted\" }"}}"#);
        assert_eq!(decode::<Note>(&bytes).unwrap(), note);
    }

    #[test]
    fn what_cannot_be_read_says_what_to_do() {
        let stop =
            |bytes: &[u8]| matches!(decode::<Note>(bytes), Err(DecodeError::UnknownVersion { .. }));
        assert!(stop(br#"{"v":4,"note":{"text":"a"}}"#));
        assert!(stop(br#"{"v":3,"poem":{}}"#));
        for broken in [
            &b""[..],
            b"{}",
            b"null",
            b"{\"v\":3,\"note\":",
            b"{\"v\":x,\"note\":{}}",
            b"{\"v\":3,\"note\":{}}",
            b"{\"v\":99999999999999,\"note\":{}}",
            b"\xff\xfe",
            b"{\"v\":3,\"note\":{\"text\":\"\xc3\"}}",
            b"{\"v\":3,\"note\":{\"text\":\"a\",\"more\":\"\xff\"}}",
        ] {
            assert!(matches!(decode::<Note>(broken), Err(DecodeError::Malformed(_))), "{broken:?}");
        }
    }
}
