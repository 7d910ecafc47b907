//! What a statement's text says about how to run it: an insert with its data, a query whose
//! result can be streamed, or anything else.

use crate::lexer::{Kind, Token, tokens};

/// Output formats that can be put together from chunks. The engine writes every chunk as a result
/// of its own: counts over all rows (JSON) would be those of the last chunk, and headers (CSV with
/// names) would come again. The header of `RowBinaryWithNamesAndTypes` is taken out again.
const STREAMED_FORMATS: [&str; 13] = [
    "csv",
    "jsoneachrow",
    "jsoncompacteachrow",
    "jsonlines",
    "jsonstringseachrow",
    "lineasstring",
    "native",
    "ndjson",
    "rawblob",
    "rowbinary",
    "rowbinarywithnamesandtypes",
    "tsv",
    "tabseparated",
];

/// An `INSERT` that takes data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insert {
    /// The statement without its `FORMAT` or `VALUES`.
    pub head: String,
    pub format: String,
    /// Where the data begins in the text.
    pub data_start: usize,
}

impl Insert {
    /// `VALUES` are expressions, other formats are only data.
    #[must_use]
    pub fn is_values(&self) -> bool {
        self.format.eq_ignore_ascii_case("values")
    }
}

/// Finds an insert with data. `None` for every other statement, `INSERT … SELECT` included.
#[must_use]
pub fn insert(text: &[u8]) -> Option<Insert> {
    let mut all = tokens(text).peekable();
    let first = all.next()?;
    if !first.is_word("insert") {
        return None;
    }
    let mut depth = 0u32;
    let mut end = first.end;
    while let Some(token) = all.next() {
        if token.kind == Kind::Broken {
            return None;
        }
        if token.is_symbol(b'(') {
            depth += 1;
        } else if token.is_symbol(b')') {
            depth = depth.saturating_sub(1);
        }
        let opens_query = token.is_symbol(b'(')
            && all.peek().is_some_and(|next| next.is_word("select") || next.is_word("with"));
        if opens_query || depth == 0 && (token.is_word("select") || token.is_word("with")) {
            return None;
        }
        if depth == 0 && token.is_word("values") {
            return made(&text[..token.start], "Values", token.end);
        }
        if depth == 0 && token.is_word("format") {
            let format = all.next().filter(|token| token.kind == Kind::Word)?;
            let name = std::str::from_utf8(format.bytes()).ok()?;
            return made(&text[..token.start], name, data_start(text, format.end));
        }
        if token.is_symbol(b';') {
            break;
        }
        end = token.end;
    }
    made(&text[..end], "Values", text.len())
}

fn made(head: &[u8], format: &str, data_start: usize) -> Option<Insert> {
    let head = std::str::from_utf8(head).ok()?.to_owned();
    Some(Insert { head, format: format.to_owned(), data_start })
}

/// As ClickHouse: blanks after the format's name, one `;`, and one line end are not data.
fn data_start(text: &[u8], mut at: usize) -> usize {
    let blank = |at: usize| matches!(text.get(at), Some(b' ' | b'\t' | b'\r' | 0x0b | 0x0c));
    while blank(at) {
        at += 1;
    }
    if text.get(at) == Some(&b';') {
        at += 1;
        while blank(at) {
            at += 1;
        }
    }
    if text.get(at) == Some(&b'\n') {
        at += 1;
    }
    at
}

/// The output format a query names for itself.
#[must_use]
pub fn output_format(text: &[u8]) -> Option<String> {
    let all: Vec<Token<'_>> = tokens(text).collect();
    let at = all.iter().rposition(|token| token.is_word("format"))?;
    let name = all.get(at + 1).filter(|token| token.kind == Kind::Word)?;
    let after = all.get(at + 2);
    let ends = after.is_none_or(|token| token.is_symbol(b';') || token.is_word("settings"));
    ends.then(|| String::from_utf8_lossy(name.bytes()).into_owned())
}

/// Whether a query only asks, by its first word.
#[must_use]
pub fn is_select(text: &[u8]) -> bool {
    let first = tokens(text).find(|token| !token.is_symbol(b'('));
    first.is_some_and(|token| token.is_word("select") || token.is_word("with"))
}

/// Whether a result in this format may be taken in chunks.
#[must_use]
pub fn is_streamed(format: &str) -> bool {
    STREAMED_FORMATS.contains(&format.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inserts_are_cut_from_their_data() {
        let cases = [
            ("INSERT INTO t FORMAT CSV\n1,2", Some(("INSERT INTO t ", "CSV", "1,2"))),
            (
                "insert into t (a, b) format RowBinary ",
                Some(("insert into t (a, b) ", "RowBinary", "")),
            ),
            ("INSERT INTO t FORMAT CSV;\r\n1", Some(("INSERT INTO t ", "CSV", "1"))),
            ("INSERT INTO t VALUES (1)", Some(("INSERT INTO t ", "Values", " (1)"))),
            (
                "INSERT INTO t SETTINGS a=1 FORMAT Native\n\n",
                Some(("INSERT INTO t SETTINGS a=1 ", "Native", "\n")),
            ),
            (
                "INSERT INTO `format` (`values`) /* FORMAT X */ FORMAT TSV\nx",
                Some(("INSERT INTO `format` (`values`) /* FORMAT X */ ", "TSV", "x")),
            ),
            ("INSERT INTO t (a, b)", Some(("INSERT INTO t (a, b)", "Values", ""))),
            ("INSERT INTO t SELECT 1", None),
            ("INSERT INTO t (SELECT 1)", None),
            ("INSERT INTO t (a) WITH 1 AS x SELECT x", None),
            ("SELECT 'INSERT INTO t FORMAT CSV'", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let found = insert(text.as_bytes());
            let found = found
                .as_ref()
                .map(|it| (it.head.as_str(), it.format.as_str(), &text[it.data_start..]));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_query_names_its_format_at_the_end() {
        let cases = [
            ("SELECT 1 FORMAT JSON", Some("JSON")),
            ("SELECT 1 format CSV SETTINGS max_threads=1;", Some("CSV")),
            ("SELECT format('{}', 1)", None),
            ("SELECT 1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(output_format(text.as_bytes()).as_deref(), expected, "{text}");
        }
        assert!(is_streamed("RowBinary") && is_streamed("TabSeparated") && !is_streamed("JSON"));
        assert!(is_select(b"-- x\n(SELECT 1)") && !is_select(b"SHOW TABLES"));
    }
}
