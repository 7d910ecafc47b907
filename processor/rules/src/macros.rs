//! Rule 2: a value in which the sender's system left a macro unreplaced.

/// Whether a value holds a macro: `{…}`, `%7B…%7D`, `[…]`, `(…)`, `${…}`, with anything between.
/// A configured event ID may look like one; the caller asks for that first.
#[must_use]
pub fn holds_macro(value: &str) -> bool {
    // Nearly every value has none of these: click ids are long, and are asked for each postback.
    if !value.bytes().any(|byte| matches!(byte, b'{' | b'[' | b'(' | b'%')) {
        return false;
    }
    const PAIRS: [(&str, &str); 5] =
        [("{", "}"), ("[", "]"), ("(", ")"), ("%7B", "%7D"), ("%7b", "%7d")];
    // `${…}` holds `{…}`. Encoded braces may mix cases.
    PAIRS.iter().any(|(open, close)| holds_between(value, open, close))
        || holds_between(value, "%7B", "%7d")
        || holds_between(value, "%7b", "%7D")
}

/// Whether a value is a macro and nothing else: a transaction id may well hold brackets.
#[must_use]
pub fn is_macro(value: &str) -> bool {
    let inner = value.strip_prefix('$').unwrap_or(value);
    let wrapped = |open: &str, close: &str| {
        inner.get(..open.len()).is_some_and(|start| start.eq_ignore_ascii_case(open))
            && inner.len() >= open.len() + close.len()
            && inner
                .get(inner.len() - close.len()..)
                .is_some_and(|end| end.eq_ignore_ascii_case(close))
    };
    wrapped("{", "}") || wrapped("[", "]") || wrapped("(", ")") || wrapped("%7B", "%7D")
}

fn holds_between(value: &str, open: &str, close: &str) -> bool {
    value.find(open).is_some_and(|at| value[at + open.len()..].contains(close))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: bool) {
        assert_eq!(holds_macro(value), expected, "{value:?}");
    }

    #[test]
    fn macros_of_the_fields_senders() {
        for value in [
            "{event_name}",
            "x{event}y",
            "${EVENT}",
            "[cgid]",
            "(event)",
            "%7Bevent_name%7D",
            "%7bevent%7d",
            "%7Bevent%7d",
            "{}",
            "a{b}",
            "{{event}}",
            "level (5)",
        ] {
            check(value, true);
        }
    }

    #[test]
    fn whole_macros() {
        for value in ["{tx}", "${tx}", "[tx]", "(tx)", "%7btx%7D", "{}"] {
            assert!(is_macro(value), "{value}");
        }
        for value in ["", "{", "tx", "a{tx}", "ORDER[5]", "(5) x"] {
            assert!(!is_macro(value), "{value}");
        }
    }

    #[test]
    fn values() {
        for value in ["", "Install", "s2s_level 200", "{", "}", "}{", ")(", "%7D%7B", "$x", "é{"] {
            check(value, false);
        }
    }
}
