//! The parameters of a request, from its query and its body: decoded, never judged. Pure, and fed
//! by strangers.

use crate::config::{BODY_BYTES_MAX, URL_BYTES_MAX};
use crate::json;
use eventlog::limits::RECORD_BYTES_MAX;
use schemas::Flag;
use schemas::input::PARAMETERS_MAX;
use std::borrow::Cow;

/// The parameter that authenticates a postback. It is never kept with the others.
const SIGNATURE: &str = "signature";

/// Names and values kept of one request together; the rest is dropped and flagged. Enough for any
/// URL and body as they come; only JSON can be made to unfold into more.
const KEPT_BYTES_MAX: usize = 150 * 1024;
const _: () = assert!(KEPT_BYTES_MAX > URL_BYTES_MAX + BODY_BYTES_MAX);
/// JSON takes six bytes for a control character; a postback must fit into a record all the same.
const ESCAPED_BYTES_MAX: usize = 6 * KEPT_BYTES_MAX + PARAMETERS_MAX * "[\"\",\"\"],".len();
const ENVELOPE_BYTES: usize = 1024;
const _: () = assert!(ESCAPED_BYTES_MAX + ENVELOPE_BYTES < RECORD_BYTES_MAX);

/// Names and values in the order they came, query before body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    list: Vec<(String, String)>,
    list_bytes: usize,
    /// The first `signature`, without white space around it.
    signature: Option<String>,
    flags: Vec<Flag>,
}

impl Parameters {
    /// Reads a query. `+` and `%20` are spaces; a value that cannot be decoded is kept raw.
    #[must_use]
    pub fn from_query(query: &str) -> Self {
        let mut parameters = Self::default();
        parameters.read_form(query.as_bytes());
        parameters
    }

    /// Adds a body's: JSON or a form, whatever its content type says.
    pub fn read_body(&mut self, body: &[u8]) {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
        let is_json = matches!(body.first(), Some(b'{' | b'['));
        if body.is_empty() {
            return;
        }
        if is_json {
            match json::flatten(body, &mut |name, value| self.add(name, value)) {
                json::Flattened::Whole => {}
                json::Flattened::RawValues => self.flag(Flag::UndecodableValue),
                json::Flattened::Unreadable => self.flag(Flag::UnreadableBody),
            }
        } else if is_form(body) {
            self.read_form(body);
        } else {
            self.flag(Flag::UnreadableBody);
        }
    }

    /// The first value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.list.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a name without white space around it; none when nothing is left.
    #[must_use]
    pub fn trimmed(&self, name: &str) -> Option<&str> {
        self.get(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// The signature that was given; none when it was missing or empty.
    #[must_use]
    pub fn signature(&self) -> Option<&str> {
        self.signature.as_deref().filter(|value| !value.is_empty())
    }

    #[must_use]
    pub fn list(&self) -> &[(String, String)] {
        &self.list
    }

    /// What was odd so far; repeated names are found by [`Self::into_parts`].
    #[must_use]
    pub fn flags(&self) -> &[Flag] {
        &self.flags
    }

    /// The parameters without the signature, and what was odd about them.
    #[must_use]
    pub fn into_parts(mut self) -> (Vec<(String, String)>, Vec<Flag>) {
        let mut names: Vec<&str> = self.list.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            self.flag(Flag::RepeatedParameter);
        }
        (self.list, self.flags)
    }

    fn read_form(&mut self, form: &[u8]) {
        for pair in form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let (name, value) = (&pair[..equals], pair.get(equals + 1..).unwrap_or_default());
            let (name, value) = (self.decoded(name), self.decoded(value));
            self.add(name, value);
        }
    }

    fn decoded(&mut self, raw: &[u8]) -> String {
        match decode(raw) {
            Some(text) => text.into_owned(),
            None => {
                self.flag(Flag::UndecodableValue);
                String::from_utf8_lossy(raw).into_owned()
            }
        }
    }

    fn add(&mut self, name: String, value: String) {
        let trimmed = name.trim();
        if trimmed.eq_ignore_ascii_case(SIGNATURE) {
            if trimmed != SIGNATURE {
                // Somebody's own spelling: not ours to read, but not to be kept either.
            } else if self.signature.is_none() {
                self.signature = Some(value.trim().to_owned());
            } else {
                self.flag(Flag::RepeatedParameter);
            }
        } else {
            let bytes = self.list_bytes + name.len() + value.len();
            if self.list.len() < PARAMETERS_MAX && bytes <= KEPT_BYTES_MAX {
                self.list_bytes = bytes;
                self.list.push((name, value));
            } else {
                self.flag(Flag::ManyParameters);
            }
        }
    }

    fn flag(&mut self, flag: Flag) {
        if !self.flags.contains(&flag) {
            self.flags.push(flag);
        }
    }
}

/// A form has pairs, and no bytes that a form must encode and every other kind of body has.
fn is_form(body: &[u8]) -> bool {
    body.contains(&b'=') && body[0] != b'<' && !body.iter().any(u8::is_ascii_control)
}

/// Decodes `+` and `%XX`. None when a `%` begins no escape or the bytes are not UTF-8.
fn decode(raw: &[u8]) -> Option<Cow<'_, str>> {
    if !raw.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return std::str::from_utf8(raw).ok().map(Cow::Borrowed);
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let ([high, low], after) = rest.split_first_chunk()?;
                bytes.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
                rest = after;
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
#[path = "parameters_tests.rs"]
mod tests;
