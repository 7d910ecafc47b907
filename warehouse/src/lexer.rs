//! ClickHouse's SQL, cut into tokens just as far as `guard` and `statement` need: what is a word,
//! what is quoted, what is a comment. Follows ClickHouse's `Lexer.cpp`: comments nest, strings
//! take backslashes and doubled quotes, `$tag$ … $tag$` is a string.

/// What a token is. Comments and white space are not tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A bare word or a number.
    Word,
    /// A back-quoted or double-quoted name.
    Quoted,
    /// A string or a heredoc.
    Text,
    /// Any other character.
    Symbol,
    /// A quote or comment that does not end, or a typographic quote, which ClickHouse gives a
    /// meaning of its own.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
    bytes: &'a [u8],
}

impl<'a> Token<'a> {
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether this is the given bare word; `word` in lower case.
    #[must_use]
    pub fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.bytes.eq_ignore_ascii_case(word.as_bytes())
    }

    #[must_use]
    pub fn is_symbol(&self, symbol: u8) -> bool {
        self.kind == Kind::Symbol && self.bytes == [symbol]
    }

    /// The name, lower case, of a bare word or quoted name; `None` for anything else. Escapes in
    /// a quoted name are undone.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        match self.kind {
            Kind::Word => Some(String::from_utf8_lossy(self.bytes).to_ascii_lowercase()),
            Kind::Quoted => {
                let inner = &self.bytes[1..self.bytes.len() - 1];
                let quote = self.bytes[0];
                let mut plain = Vec::with_capacity(inner.len());
                let mut at = 0;
                while at < inner.len() {
                    let doubled = inner[at] == quote && inner.get(at + 1) == Some(&quote);
                    if inner[at] == b'\\' {
                        let (byte, length) = unescape(&inner[at..]);
                        plain.push(byte);
                        at += length;
                    } else {
                        plain.push(inner[at]);
                        at += if doubled { 2 } else { 1 };
                    }
                }
                Some(String::from_utf8_lossy(&plain).to_ascii_lowercase())
            }
            Kind::Text | Kind::Symbol | Kind::Broken => None,
        }
    }
}

/// The byte an escape means, and the escape's length: `\x66` is `f`, `\f` is a form feed and no
/// name we look for has one in it.
fn unescape(text: &[u8]) -> (u8, usize) {
    let hex = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    match (text.get(1), hex(2), hex(3)) {
        (Some(b'x'), Some(high), Some(low)) => ((high * 16 + low) as u8, 4),
        (Some(b'b' | b'f' | b'r' | b'n' | b't' | b'a' | b'v' | b'0' | b'e' | b'N'), _, _) => {
            (b' ', 2)
        }
        (Some(byte), _, _) => (*byte, 2),
        (None, _, _) => (b'\\', 1),
    }
}

/// The tokens of `sql`, in order.
#[must_use]
pub fn tokens(sql: &[u8]) -> Tokens<'_> {
    Tokens { sql, at: 0 }
}

#[derive(Debug, Clone)]
pub struct Tokens<'a> {
    sql: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        if let Err(start) = self.skip_space_and_comments() {
            return Some(self.token(Kind::Broken, start, self.sql.len()));
        }
        let start = self.at;
        let rest = &self.sql[start..];
        let first = *rest.first()?;
        let (kind, length) = match first {
            b'\'' => quoted(rest, Kind::Text),
            b'`' | b'"' => quoted(rest, Kind::Quoted),
            b'$' => match heredoc(rest) {
                Some(length) => (Kind::Text, length),
                None => (Kind::Symbol, 1),
            },
            // U+2018, U+2019, U+201C, U+201D
            0xe2 if matches!(rest, [_, 0x80, 0x98 | 0x99 | 0x9c | 0x9d, ..]) => {
                (Kind::Broken, rest.len())
            }
            _ if is_word_byte(first) => {
                let end = rest.iter().position(|byte| !is_word_byte(*byte) && *byte != b'$');
                (Kind::Word, end.unwrap_or(rest.len()))
            }
            _ => (Kind::Symbol, 1),
        };
        Some(self.token(kind, start, start + length))
    }
}

impl<'a> Tokens<'a> {
    fn token(&mut self, kind: Kind, start: usize, end: usize) -> Token<'a> {
        self.at = end;
        Token { kind, start, end, bytes: &self.sql[start..end] }
    }

    /// `Err` with the start of a comment that does not end.
    fn skip_space_and_comments(&mut self) -> Result<(), usize> {
        loop {
            let rest = &self.sql[self.at..];
            let line_comment =
                rest.starts_with(b"--") || rest.starts_with(b"# ") || rest.starts_with(b"#!");
            if rest.first().is_some_and(|byte| byte.is_ascii_whitespace() || *byte == 0x0b) {
                self.at += 1;
            } else if line_comment {
                let end = rest.iter().position(|byte| *byte == b'\n');
                self.at += end.unwrap_or(rest.len());
            } else if rest.starts_with(b"/*") {
                self.at += block_comment(rest).ok_or(self.at)?;
            } else {
                return Ok(());
            }
        }
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn block_comment(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0u32);
    while at < text.len() {
        if text[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    None
}

fn quoted(text: &[u8], kind: Kind) -> (Kind, usize) {
    let quote = text[0];
    let mut at = 1;
    while at < text.len() {
        if text[at] == b'\\' {
            at += 2;
        } else if text[at] != quote {
            at += 1;
        } else if text.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return (kind, at + 1);
        }
    }
    (Kind::Broken, text.len())
}

fn heredoc(text: &[u8]) -> Option<usize> {
    let tag_end = 1 + text[1..].iter().position(|byte| *byte == b'$')?;
    if !text[1..tag_end].iter().all(|byte| is_word_byte(*byte)) {
        return None;
    }
    let tag = &text[..=tag_end];
    let body = &text[tag.len()..];
    let end = body.windows(tag.len()).position(|window| window == tag)?;
    Some(tag.len() * 2 + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expected: &[(Kind, &str)]) {
        let found: Vec<_> = tokens(sql.as_bytes())
            .map(|token| (token.kind, std::str::from_utf8(token.bytes()).unwrap()))
            .collect();
        assert_eq!(found, expected, "{sql}");
    }

    #[test]
    fn tokens_of_clickhouse() {
        use Kind::{Broken, Quoted, Symbol, Text, Word};
        check("SELECT a1", &[(Word, "SELECT"), (Word, "a1")]);
        check("a/* b /* c */ d */e", &[(Word, "a"), (Word, "e")]);
        check("a -- b\nc # d\ne #!f", &[(Word, "a"), (Word, "c"), (Word, "e")]);
        check("'a\\'b''c' d", &[(Text, "'a\\'b''c'"), (Word, "d")]);
        check("`a``b` \"c\\\"d\"", &[(Quoted, "`a``b`"), (Quoted, "\"c\\\"d\"")]);
        check("$x$ file('a') $x$ b", &[(Text, "$x$ file('a') $x$"), (Word, "b")]);
        check("a$b $", &[(Word, "a$b"), (Symbol, "$")]);
        check("'abc", &[(Broken, "'abc")]);
        check("a /* b", &[(Word, "a"), (Broken, "/* b")]);
        check("\u{2018}'\u{2019} x", &[(Broken, "\u{2018}'\u{2019} x")]);
        check("'\u{2018}' x", &[(Text, "'\u{2018}'"), (Word, "x")]);
    }

    #[test]
    fn names_are_read_as_the_engine_reads_them() {
        for sql in ["file", "FILE", "`file`", "\"fi\\x6ce\"", "`f\\ile`"] {
            assert_eq!(tokens(sql.as_bytes()).next().unwrap().name().unwrap(), "file", "{sql}");
        }
        assert_eq!(tokens(b"'file'").next().unwrap().name(), None);
    }
}
