//! CSV (RFC 4180) that a spreadsheet can open: a text that it would take for a formula gets an
//! apostrophe in front, as OWASP recommends against "CSV injection". Numbers stay numbers. Whoever
//! needs the bytes as they came takes JSON or Parquet.

use serde_json::Value;
use std::borrow::Cow;

/// Characters at which spreadsheets begin to see a formula.
const FORMULA_STARTS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// A text that no spreadsheet runs.
#[must_use]
pub fn guarded(text: &str) -> Cow<'_, str> {
    let is_formula = text.starts_with(FORMULA_STARTS) && !is_plain_number(text);
    if is_formula { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// `-12.5`: an amount of ours, and no formula.
fn is_plain_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    all_digits(whole) && all_digits(fraction)
}

/// A cell; nothing for null.
#[must_use]
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => guarded(text).into_owned(),
        other => other.to_string(),
    }
}

/// One line, with its end.
pub fn line<'a>(cells: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory fails only without memory.
    let written = writer.write_record(cells);
    debug_assert!(written.is_ok());
    writer.into_inner().unwrap_or_default()
}

/// A heading and rows.
#[must_use]
pub fn document(heading: &[&str], rows: &[Vec<Value>]) -> Vec<u8> {
    let mut text = line(heading.iter().copied());
    for row in rows {
        let cells: Vec<String> = row.iter().map(cell).collect();
        text.extend(line(cells.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn formulas_become_text_and_numbers_stay() {
        for (text, expected) in [
            ("=HYPERLINK(\"http://x\")", "'=HYPERLINK(\"http://x\")"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
            ("-2+3", "'-2+3"),
            ("\t=1", "'\t=1"),
            ("-", "'-"),
            ("-12.50", "-12.50"),
            ("+4", "+4"),
            ("Install", "Install"),
            ("", ""),
        ] {
            assert_eq!(guarded(text), expected, "{text}");
        }
    }

    #[test]
    fn quotes_and_line_ends_are_kept() {
        let rows = [vec![json!("a,\"b\"\nc"), json!(3), json!(null), json!("=1")]];
        let text = String::from_utf8(document(&["x", "y", "z", "f"], &rows)).unwrap();
        assert_eq!(text, "x,y,z,f\n\"a,\"\"b\"\"\nc\",3,,'=1\n");
    }
}
