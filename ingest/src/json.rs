//! A JSON body as flat parameters: nested keys joined by dots, positions in lists as numbers.
//! Numbers stay the text they were, since a float would change an amount or a long id; repeated
//! keys are all given out, since the first one counts.

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Levels that are taken apart; what is deeper is kept as its JSON text.
const DEPTH_MAX: usize = 16;
/// What stands under a longer path is kept as its JSON text too: a long key repeated for each of
/// its many children would make much of little.
const PATH_BYTES_MAX: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flattened {
    Whole,
    /// Some string could not be decoded and was given out raw.
    RawValues,
    /// It is not JSON; nothing was given out.
    Unreadable,
}

/// Gives out every scalar of an object or list, in order.
pub fn flatten(body: &[u8], add: &mut dyn FnMut(String, String)) -> Flattened {
    let Ok(document) = serde_json::from_slice::<&RawValue>(body) else {
        return Flattened::Unreadable;
    };
    let mut walk = Walk { add, outcome: Flattened::Whole };
    walk.value("", document, 0);
    walk.outcome
}

struct Walk<'a> {
    add: &'a mut dyn FnMut(String, String),
    outcome: Flattened,
}

impl Walk<'_> {
    fn value(&mut self, path: &str, value: &RawValue, depth: usize) {
        let text = value.get().trim();
        match text.as_bytes().first() {
            Some(b'{' | b'[') if depth < DEPTH_MAX && path.len() <= PATH_BYTES_MAX => {
                self.container(path, text, depth);
            }
            Some(b'"') => match serde_json::from_str::<String>(text) {
                Ok(string) => (self.add)(path.to_owned(), string),
                Err(_) => self.raw(path, text),
            },
            // Present, but nothing: as an empty parameter.
            Some(b'n') => (self.add)(path.to_owned(), String::new()),
            _ => (self.add)(path.to_owned(), text.to_owned()),
        }
    }

    fn container(&mut self, path: &str, text: &str, depth: usize) {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let visitor = Container { walk: self, path, depth };
        let read = if text.starts_with('{') {
            deserializer.deserialize_map(visitor)
        } else {
            deserializer.deserialize_seq(visitor)
        };
        // A key with a lone surrogate: the document is JSON, but this part is not text.
        if read.is_err() {
            self.raw(path, text);
        }
    }

    fn raw(&mut self, path: &str, text: &str) {
        self.outcome = Flattened::RawValues;
        (self.add)(path.to_owned(), text.to_owned());
    }
}

struct Container<'w, 'a> {
    walk: &'w mut Walk<'a>,
    path: &'w str,
    depth: usize,
}

impl Container<'_, '_> {
    fn child(&mut self, key: &str, value: &RawValue) {
        let path =
            if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        self.walk.value(&path, value, self.depth + 1);
    }
}

impl<'de> Visitor<'de> for Container<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
            self.child(&key, value);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let mut index = 0usize;
        while let Some(value) = list.next_element::<&'de RawValue>()? {
            self.child(&index.to_string(), value);
            index += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, outcome: Flattened, expected: &[(&str, &str)]) {
        let mut given = Vec::new();
        let got = flatten(body.as_bytes(), &mut |name, value| given.push((name, value)));
        let given: Vec<_> = given.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!((got, given.as_slice()), (outcome, expected), "{body}");
    }

    #[test]
    fn shapes() {
        use Flattened::*;
        check(
            r#"{"a":"b","n":1.10,"t":true,"z":null}"#,
            Whole,
            &[("a", "b"), ("n", "1.10"), ("t", "true"), ("z", "")],
        );
        check(
            r#"{"a":{"b":{"c":1}},"l":[1,{"x":2}]}"#,
            Whole,
            &[("a.b.c", "1"), ("l.0", "1"), ("l.1.x", "2")],
        );
        check(r#"{"a":1,"a":2}"#, Whole, &[("a", "1"), ("a", "2")]);
        check(
            r#"{"big":123456789012345678901234567890}"#,
            Whole,
            &[("big", "123456789012345678901234567890")],
        );
        check(r#"{"é":"\u00e9\n"}"#, Whole, &[("é", "é\n")]);
        check(r#"{ }"#, Whole, &[]);
        check(r#"{"a":"\ud800"}"#, RawValues, &[("a", r#""\ud800""#)]);
        for broken in ["{", "{\"a\"}", "{\"a\":1,}", "{}x", "[1,2"] {
            check(broken, Unreadable, &[]);
        }
    }

    #[test]
    fn long_paths_are_not_repeated() {
        let key = "k".repeat(PATH_BYTES_MAX + 1);
        let body = format!("{{\"{key}\":{{\"a\":1,\"b\":2}}}}");
        check(&body, Flattened::Whole, &[(&key, "{\"a\":1,\"b\":2}")]);
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{}1{}", "{\"k\":".repeat(100), "}".repeat(100));
        let mut given = Vec::new();
        let outcome = flatten(deep.as_bytes(), &mut |name, value| given.push((name, value)));
        assert_eq!((outcome, given.len()), (Flattened::Whole, 1));
        assert_eq!(given[0].0.split('.').count(), DEPTH_MAX);
        assert!(given[0].1.starts_with("{\"k\":"));
    }
}
