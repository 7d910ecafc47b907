//! Texts with macros: the URL and the fields of a publisher postback.

use super::message::{MACROS, PublisherMessage, is_macro};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Where a macro's value goes, which decides how it is encoded so that it stays one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Dots are encoded too, so that no value is a step up.
    Path,
    Query,
    /// `application/x-www-form-urlencoded`: spaces are `+`.
    Form,
    /// As it is: whoever takes it encodes it whole (a JSON string).
    Plain,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("has a brace without its other half")]
    Brace,
    #[error("{{{0}}} is not a macro that is known here; there are {known}", known = MACROS.join(", "))]
    UnknownMacro(String),
}

/// A text with macros. Any text is one while it is stored; [`Template::check`] tells at apply
/// whether all of its macros are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(pub String);

enum Piece<'a> {
    Text(&'a str),
    Macro(&'a str),
}

impl Template {
    /// Whether every brace belongs to a macro that there is.
    pub fn check(&self) -> Result<(), TemplateError> {
        let mut rest = self.0.as_str();
        while let Some(open) = rest.find(['{', '}']) {
            let close = rest[open..].find('}').filter(|_| rest[open..].starts_with('{'));
            let Some(close) = close else { return Err(TemplateError::Brace) };
            let name = &rest[open + 1..open + close];
            if !is_macro(name) {
                return Err(TemplateError::UnknownMacro(name.chars().take(64).collect()));
            }
            rest = &rest[open + close + 1..];
        }
        Ok(())
    }

    fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let mut rest = self.0.as_str();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let open = rest.find('{');
            if open == Some(0)
                && let Some(close) = rest.find('}')
                && is_macro(&rest[1..close])
            {
                let name = &rest[1..close];
                rest = &rest[close + 1..];
                return Some(Piece::Macro(name));
            }
            // A brace that is no macro's is text like any other.
            let from = usize::from(open == Some(0));
            let end = rest[from..].find('{').map_or(rest.len(), |at| at + from);
            let (text, after) = rest.split_at(end);
            rest = after;
            Some(Piece::Text(text))
        })
    }

    /// The text with its macros filled, each encoded for its position.
    #[must_use]
    pub fn fill(&self, message: &PublisherMessage, position: Position) -> String {
        let mut filled = String::with_capacity(self.0.len() + 32);
        for piece in self.pieces() {
            match piece {
                Piece::Text(text) => encode(text, position, &mut filled),
                Piece::Macro(name) => {
                    encode(&message.value(name).unwrap_or_default(), position, &mut filled);
                }
            }
        }
        filled
    }

    /// The same for a URL: macros before its `?` are parts of the path.
    #[must_use]
    pub fn fill_url(&self, message: &PublisherMessage) -> String {
        let mut filled = String::with_capacity(self.0.len() + 128);
        let mut position = Position::Path;
        for piece in self.pieces() {
            match piece {
                Piece::Text(text) => {
                    if text.contains('?') {
                        position = Position::Query;
                    }
                    filled.push_str(text);
                }
                Piece::Macro(name) => {
                    if let Some(value) = message.value(name) {
                        encode(&value, position, &mut filled);
                    }
                }
            }
        }
        filled
    }

    /// The URL as people may see it: macros stay, and what could be a key of the publisher's is
    /// hidden (literal values in the query, and long literal parts of the path).
    #[must_use]
    pub fn without_secrets(&self) -> String {
        let (before, query) = match self.0.split_once('?') {
            Some((before, query)) => (before, Some(query)),
            None => (self.0.as_str(), None),
        };
        let (origin, path) = match before
            .find("://")
            .and_then(|at| before[at + 3..].find('/').map(|slash| before.split_at(at + 3 + slash)))
        {
            Some(split) => split,
            None => (before, ""),
        };
        let shown = |part: &str| {
            let hide = part.len() >= LONG_PART_BYTES && !part.contains('{');
            if hide { HIDDEN.to_owned() } else { part.to_owned() }
        };
        let path: Vec<String> = path.split('/').map(shown).collect();
        let mut text = format!("{origin}{}", path.join("/"));
        if let Some(query) = query {
            let pairs = query.split('&').map(|pair| match pair.split_once('=') {
                Some((name, value)) if !value.is_empty() && !value.contains('{') => {
                    format!("{name}={HIDDEN}")
                }
                _ => pair.to_owned(),
            });
            text.push('?');
            text.push_str(&pairs.collect::<Vec<_>>().join("&"));
        }
        text
    }
}

/// A literal part of a path from this length on may be a key.
const LONG_PART_BYTES: usize = 16;
const HIDDEN: &str = "•••";

/// A value so that it stays one value at its place.
#[must_use]
pub fn encoded(value: &str, position: Position) -> String {
    let mut text = String::with_capacity(value.len());
    encode(value, position, &mut text);
    text
}

fn encode(value: &str, position: Position, text: &mut String) {
    if position == Position::Plain {
        text.push_str(value);
        return;
    }
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => text.push(char::from(byte)),
            b'.' if position != Position::Path => text.push('.'),
            b'~' if position != Position::Form => text.push('~'),
            b'*' if position == Position::Form => text.push('*'),
            b' ' if position == Position::Form => text.push('+'),
            // Writing to a String cannot fail.
            _ => drop(write!(text, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postback::message::tests::message;

    fn check(template: &str, expected: &str) {
        let template = Template(template.to_owned());
        assert_eq!(template.check(), Ok(()), "{template:?}");
        assert_eq!(template.fill_url(&message()), expected);
    }

    #[test]
    fn values_stay_what_they_are() {
        check("https://a.io/p", "https://a.io/p");
        check(
            "https://a.io/?c={sub1}&p={payout}{currency}",
            "https://a.io/?c=a%20b%26c%3Dd%0D%0A%C3%A9&p=1.25USD",
        );
        check("https://a.io/{sub2}/x?y={sub2}", "https://a.io/%2E%2E/x?y=..");
        check("https://a.io/{sub3}", "https://a.io/");
        check("https://a.io/{status}?t={decided_unix}&r={reason}", "https://a.io/Success?t=3&r=");
    }

    #[test]
    fn in_a_form_and_in_plain_text() {
        let template = Template("x {sub1}".to_owned());
        assert_eq!(template.fill(&message(), Position::Form), "x+a+b%26c%3Dd%0D%0A%C3%A9");
        assert_eq!(template.fill(&message(), Position::Plain), "x a b&c=d\r\né");
    }

    #[test]
    fn what_is_no_template() {
        let check = |text: &str| Template(text.to_owned()).check();
        assert_eq!(check("{sub16}"), Err(TemplateError::UnknownMacro("sub16".to_owned())));
        assert_eq!(check("{revenue}"), Err(TemplateError::UnknownMacro("revenue".to_owned())));
        assert_eq!(check("{sub1"), Err(TemplateError::Brace));
        assert_eq!(check("}{"), Err(TemplateError::Brace));
        assert_eq!(check("{{sub1}}"), Err(TemplateError::UnknownMacro("{sub1".to_owned())));
    }

    #[test]
    fn what_may_be_a_key_is_hidden() {
        let shown = |text: &str| Template(text.to_owned()).without_secrets();
        assert_eq!(
            shown("https://a.io/p?k=secret&c={sub1}&e="),
            "https://a.io/p?k=•••&c={sub1}&e="
        );
        assert_eq!(
            shown("https://a.io/hook/0123456789abcdefX/{event_id}"),
            "https://a.io/hook/•••/{event_id}"
        );
        assert_eq!(shown("https://a.io"), "https://a.io");
    }
}
