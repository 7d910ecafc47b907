//! The query parameters of a request: each known, each at most once.

use crate::error::Error;
use std::collections::BTreeMap;
use std::str::FromStr;

/// Longest value.
const VALUE_BYTES_MAX: usize = 2048;

/// Parameters by name.
#[derive(Debug, Default)]
pub struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads a query string; only `known` names may be in it.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, Error> {
        let mut values = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let hint = match known {
                    [] => "there are none here".to_owned(),
                    _ => format!("there are {}", known.join(", ")),
                };
                let name: String = name.chars().take(64).collect();
                return Err(
                    Error::bad_request(format!("{name:?} is no parameter here")).with_hint(hint)
                );
            }
            if value.len() > VALUE_BYTES_MAX {
                return Err(Error::bad_request(format!("{name}: the value is too long")));
            }
            if values.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(Error::bad_request(format!("{name}: is given twice")));
            }
        }
        // An empty value is the same as none: forms and shells leave them behind.
        values.retain(|_, value| !value.is_empty());
        Ok(Self(values))
    }

    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn required(&self, name: &str) -> Result<&str, Error> {
        self.text(name).ok_or_else(|| Error::bad_request(format!("{name}: is missing")))
    }

    pub fn flag(&self, name: &str) -> Result<bool, Error> {
        match self.text(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(other) => {
                Err(Error::bad_request(format!("{name}: {other:?} is not true or false")))
            }
        }
    }

    pub fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Error> {
        self.text(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    Error::bad_request(format!("{name}: {text:?} is not a number that fits"))
                })
            })
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_once() {
        let known = ["a", "b"];
        let query = Query::parse("a=x%20y&b=", &known).unwrap();
        assert_eq!((query.text("a"), query.text("b")), (Some("x y"), None));
        for wrong in ["c=1", "a=1&a=2", &format!("a={}", "x".repeat(3000))] {
            assert!(Query::parse(wrong, &known).is_err(), "{wrong}");
        }
        assert!(Query::parse("a=maybe", &known).unwrap().flag("a").is_err());
        assert!(Query::parse("a=-1", &known).unwrap().number::<u32>("a").is_err());
    }
}
