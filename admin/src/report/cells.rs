//! Rows as ClickHouse sends them (RowBinary), decoded as they come: no more is held than a piece
//! of the answer and the row that it cuts.

use super::rows::Form;
use bytes::{Buf, BytesMut};
use schemas::Micros;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Null,
    Text(String),
    /// Milliseconds.
    Time(i64),
    Amount(Micros),
    Whole(u64),
    Flag(bool),
}

/// Longest text of one value.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// What came is not what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an answer of ClickHouse's cannot be read: {0}")]
pub struct Unreadable(&'static str);

/// Puts pieces together into rows.
pub struct Decoder {
    forms: Vec<Form>,
    rest: BytesMut,
}

impl Decoder {
    #[must_use]
    pub fn new(forms: Vec<Form>) -> Self {
        Self { forms, rest: BytesMut::new() }
    }

    /// The rows that a further piece completes.
    pub fn take(&mut self, piece: &[u8]) -> Result<Vec<Vec<Cell>>, Unreadable> {
        self.rest.extend_from_slice(piece);
        let mut rows = Vec::new();
        let mut done = 0;
        while done < self.rest.len() {
            let mut input = &self.rest[done..];
            let before = input.len();
            match row(&self.forms, &mut input)? {
                Some(row) => rows.push(row),
                None => break,
            }
            done += before - input.len();
        }
        self.rest.advance(done);
        Ok(rows)
    }

    /// At the end nothing may be left over: a row that was cut is a broken answer.
    pub fn finish(&self) -> Result<(), Unreadable> {
        if self.rest.is_empty() { Ok(()) } else { Err(Unreadable("it ends within a row")) }
    }
}

/// A row; none when the input ends within it.
fn row(forms: &[Form], input: &mut &[u8]) -> Result<Option<Vec<Cell>>, Unreadable> {
    let mut cells = Vec::with_capacity(forms.len());
    for form in forms {
        match cell(*form, input)? {
            Some(cell) => cells.push(cell),
            None => return Ok(None),
        }
    }
    Ok(Some(cells))
}

fn cell(form: Form, input: &mut &[u8]) -> Result<Option<Cell>, Unreadable> {
    if matches!(form, Form::Time | Form::Amount | Form::Whole) {
        match input.split_first() {
            None => return Ok(None),
            Some((0, rest)) => *input = rest,
            Some((1, rest)) => {
                *input = rest;
                return Ok(Some(Cell::Null));
            }
            Some(_) => return Err(Unreadable("a null mark is neither 0 nor 1")),
        }
    }
    Ok(match form {
        Form::Text => text(input)?.map(Cell::Text),
        Form::Amount => match text(input)? {
            None => None,
            Some(text) => Some(Cell::Amount(
                Micros::parse(&text).map_err(|_| Unreadable("an amount is not one"))?,
            )),
        },
        Form::Time => eight(input).map(|bytes| Cell::Time(i64::from_le_bytes(bytes))),
        Form::Whole => eight(input).map(|bytes| Cell::Whole(u64::from_le_bytes(bytes))),
        Form::Flag => input.split_first().map(|(byte, rest)| {
            *input = rest;
            Cell::Flag(*byte != 0)
        }),
    })
}

fn eight(input: &mut &[u8]) -> Option<[u8; 8]> {
    let (bytes, rest) = input.split_first_chunk::<8>()?;
    *input = rest;
    Some(*bytes)
}

/// A length (LEB128) and so many bytes. What is not UTF-8 is shown as such, not refused.
fn text(input: &mut &[u8]) -> Result<Option<String>, Unreadable> {
    let mut length = 0usize;
    let mut at = 0;
    loop {
        let Some(byte) = input.get(at) else { return Ok(None) };
        if at >= 5 {
            return Err(Unreadable("a length is too long"));
        }
        length |= usize::from(byte & 0x7f) << (7 * at);
        at += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    if length > TEXT_BYTES_MAX {
        return Err(Unreadable("a text is too long"));
    }
    let Some(bytes) = input.get(at..at + length) else { return Ok(None) };
    let text = String::from_utf8_lossy(bytes).into_owned();
    *input = &input[at + length..];
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: [Form; 5] = [Form::Text, Form::Time, Form::Amount, Form::Whole, Form::Flag];

    fn encoded() -> Vec<u8> {
        let mut bytes = vec![130, 1];
        bytes.extend([b'x'; 130]);
        bytes.push(0);
        bytes.extend((-5i64).to_le_bytes());
        bytes.extend([0, 3, b'1', b'.', b'5', 1, 1]);
        bytes
    }

    #[test]
    fn rows_are_found_wherever_they_are_cut() {
        let expected = vec![
            Cell::Text("x".repeat(130)),
            Cell::Time(-5),
            Cell::Amount(Micros(1_500_000)),
            Cell::Null,
            Cell::Flag(true),
        ];
        let bytes = [encoded(), encoded()].concat();
        for size in [1, 2, 7, 100, bytes.len()] {
            let mut decoder = Decoder::new(FORMS.to_vec());
            let mut rows = Vec::new();
            for piece in bytes.chunks(size) {
                rows.extend(decoder.take(piece).unwrap());
            }
            assert_eq!(decoder.finish(), Ok(()));
            assert_eq!(rows, [expected.clone(), expected.clone()], "pieces of {size}");
        }
    }

    #[test]
    fn what_is_broken_is_no_row() {
        let mut cut = Decoder::new(FORMS.to_vec());
        assert_eq!(cut.take(&encoded()[..140]).unwrap().len(), 0);
        assert!(cut.finish().is_err());
        let take = |form, bytes: &[u8]| Decoder::new(vec![form]).take(bytes);
        assert!(take(Form::Whole, &[7]).is_err());
        assert!(take(Form::Amount, &[0, 1, b'x']).is_err());
        assert!(take(Form::Text, &[0xff; 12]).is_err());
        assert!(take(Form::Text, &[0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
    }
}
