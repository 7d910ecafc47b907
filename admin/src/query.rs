//! The query parameters of a request: each known, each at most once, each of its form.

use crate::error::Error;
use crate::parameter::{Form, Parameter, VALUE_BYTES_MAX};
use std::collections::BTreeMap;

/// Characters of a wrong value that are shown again.
const SHOWN_CHARS: usize = 64;

/// Parameters by name.
#[derive(Debug, Default)]
pub struct Query(BTreeMap<&'static str, String>);

impl Query {
    /// Reads a query string; only `known` parameters may be in it.
    pub fn parse(text: &str, known: &[Parameter]) -> Result<Self, Error> {
        let mut values = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let Some(parameter) = known.iter().find(|parameter| parameter.name == name) else {
                let hint = match known {
                    [] => "there are none here".to_owned(),
                    _ => {
                        let names: Vec<&str> = known.iter().map(|it| it.name).collect();
                        format!("there are {}", names.join(", "))
                    }
                };
                let name: String = name.chars().take(SHOWN_CHARS).collect();
                return Err(
                    Error::bad_request(format!("{name:?} is no parameter here")).with_hint(hint)
                );
            };
            if value.len() > VALUE_BYTES_MAX {
                return Err(Error::bad_request(format!("{name}: the value is too long")));
            }
            if value.contains('\0') {
                return Err(Error::bad_request(format!("{name}: the value holds a zero byte")));
            }
            // An empty value is the same as none: forms and shells leave them behind.
            if !value.is_empty() {
                check_form(parameter, &value)?;
            }
            if values.insert(parameter.name, value.into_owned()).is_some() {
                return Err(Error::bad_request(format!("{name}: is given twice")));
            }
        }
        values.retain(|_, value| !value.is_empty());
        match known.iter().find(|it| it.required && !values.contains_key(it.name)) {
            Some(missing) => Err(Error::bad_request(format!("{}: is missing", missing.name))),
            None => Ok(Self(values)),
        }
    }

    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn required(&self, name: &str) -> Result<&str, Error> {
        self.text(name).ok_or_else(|| Error::bad_request(format!("{name}: is missing")))
    }

    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.text(name), Some("true" | "1"))
    }

    /// A number whose form was checked; none when it was not given.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u32> {
        self.text(name)?.parse().ok()
    }
}

fn check_form(parameter: &Parameter, value: &str) -> Result<(), Error> {
    let name = parameter.name;
    let shown: String = value.chars().take(SHOWN_CHARS).collect();
    match parameter.form {
        Form::Text => Ok(()),
        Form::Flag if matches!(value, "true" | "false" | "1" | "0") => Ok(()),
        Form::Flag => Err(Error::bad_request(format!("{name}: {shown:?} is not true or false"))),
        Form::Whole { min, max, .. } => match value.parse::<u32>() {
            Ok(number) if (min..=max).contains(&number) => Ok(()),
            _ => Err(Error::bad_request(format!("{name}: is not between {min} and {max}"))),
        },
        Form::Choice(words) if words.contains(&value) => Ok(()),
        Form::Choice(words) => Err(Error::bad_request(format!("{name}: there is no {shown:?}"))
            .with_hint(format!("there are {}", words.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Parameter; 4] = [
        Parameter::text("a", ""),
        Parameter::flag("f", ""),
        Parameter::whole("n", "", (1, 9), None),
        Parameter::choice("c", "", &["x", "y"]),
    ];

    #[test]
    fn known_names_once() {
        let query = Query::parse("a=x%20y&f=&n=3&c=y", &KNOWN).unwrap();
        assert_eq!(
            (query.text("a"), query.flag("f"), query.number("n")),
            (Some("x y"), false, Some(3))
        );
        for wrong in [
            "z=1",
            "a=1&a=2",
            "f=maybe",
            "n=0",
            "n=10",
            "n=-1",
            "n=1e1",
            "c=z",
            "a=%00",
            &format!("a={}", "x".repeat(3000)),
        ] {
            assert!(Query::parse(wrong, &KNOWN).is_err(), "{wrong}");
        }
        let needed = [Parameter::text("a", "").required()];
        assert!(Query::parse("a=", &needed).is_err());
        assert!(Query::parse("a=1", &needed).is_ok());
    }
}
