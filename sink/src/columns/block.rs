//! A block being filled row by row, and what is sent of it.

use super::layout::Layout;
use super::refuse::{refuse, refuse_what_no_table_has};
use super::values::Values;
use super::{Mismatch, push_number, push_text};
use bytes::Bytes;
use serde::Serialize;
use serde::ser::{Impossible, SerializeStruct, Serializer};

/// What is sent at once: enough that the time it takes is not that of the sending, and no more than a time
/// limit of its own makes sense for.
const PIECE_BYTES: usize = 1024 * 1024;

/// Rows of one insert as columns. It is in memory once, a little smaller than the same rows in the log: a
/// plan's limits bound it.
#[derive(Debug)]
pub struct Block<'a> {
    layout: &'a Layout,
    columns: Vec<Values>,
    rows: usize,
}

impl<'a> Block<'a> {
    /// For about so many rows.
    #[must_use]
    pub fn new(layout: &'a Layout, rows: usize) -> Self {
        let mut columns = layout.values();
        columns.iter_mut().for_each(|values| values.reserve(rows));
        Self { layout, columns, rows: 0 }
    }

    /// Adds a row.
    ///
    /// # Errors
    ///
    /// When a field's value does not fit the column of its name. The block is of no use then.
    #[inline]
    pub fn push<R: Serialize>(&mut self, row: &R) -> Result<(), Mismatch> {
        self.rows += 1;
        row.serialize(Fields { layout: self.layout, columns: &mut self.columns, next: 0 })
    }

    /// What is to be sent, in pieces of at most [`PIECE_BYTES`].
    #[must_use]
    pub fn finish(self) -> Vec<Bytes> {
        let mut pieces = Pieces::default();
        let mut head = Vec::new();
        push_number(&mut head, self.columns.len());
        push_number(&mut head, self.rows);
        pieces.push(head);
        for (column, values) in self.layout.columns().iter().zip(self.columns) {
            let mut head = Vec::new();
            push_text(&mut head, column.name.as_bytes());
            push_text(&mut head, column.kind.as_bytes());
            pieces.push(head);
            let mut out = |bytes| pieces.push(bytes);
            values.write_prefix(&mut out);
            values.write(&mut out);
        }
        pieces.finish()
    }
}

/// Large buffers go as they are, small ones together.
#[derive(Default)]
struct Pieces {
    whole: Vec<Bytes>,
    open: Vec<u8>,
}

impl Pieces {
    fn push(&mut self, bytes: Vec<u8>) {
        if self.open.len() + bytes.len() <= PIECE_BYTES {
            self.open.extend_from_slice(&bytes);
            return;
        }
        if !self.open.is_empty() {
            self.whole.push(std::mem::take(&mut self.open).into());
        }
        if bytes.len() <= PIECE_BYTES {
            self.open = bytes;
            return;
        }
        let mut rest = Bytes::from(bytes);
        while rest.len() > PIECE_BYTES {
            self.whole.push(rest.split_to(PIECE_BYTES));
        }
        self.whole.push(rest);
    }

    fn finish(mut self) -> Vec<Bytes> {
        if !self.open.is_empty() {
            self.whole.push(self.open.into());
        }
        self.whole
    }
}

/// Takes a row's fields, in their order, into the columns.
struct Fields<'a> {
    layout: &'a Layout,
    columns: &'a mut [Values],
    next: usize,
}

impl Fields<'_> {
    fn misfit(&self, kind: &str) -> Mismatch {
        Mismatch::new(format!("a row is a struct with named fields, not {kind}"))
    }
}

impl SerializeStruct for Fields<'_> {
    type Ok = ();
    type Error = Mismatch;

    #[inline]
    fn serialize_field<T: ?Sized + Serialize>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Mismatch> {
        let index = self.next;
        self.next += 1;
        let Some(values) = self.columns.get_mut(index) else {
            return Err(Mismatch::new(format!("a row has a field {name} too many")));
        };
        value.serialize(values).map_err(|error| self.layout.misfit(index, &error))
    }

    fn end(self) -> Result<(), Mismatch> {
        Ok(())
    }
}

impl Serializer for Fields<'_> {
    type Ok = ();
    type Error = Mismatch;
    type SerializeSeq = Impossible<(), Mismatch>;
    type SerializeTuple = Impossible<(), Mismatch>;
    type SerializeStruct = Self;

    refuse_what_no_table_has!();
    refuse! {
        serialize_bool(bool), serialize_u16(u16), serialize_u32(u32), serialize_u64(u64),
        serialize_i64(i64), serialize_str(&str),
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, fields: usize) -> Result<Self, Mismatch> {
        if fields == self.columns.len() { Ok(self) } else { Err(self.misfit(name)) }
    }

    fn serialize_none(self) -> Result<(), Mismatch> {
        Err(self.misfit("null"))
    }

    fn serialize_some<T: ?Sized + Serialize>(self, _: &T) -> Result<(), Mismatch> {
        Err(self.misfit("option"))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Mismatch> {
        Err(self.misfit("sequence"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Mismatch> {
        Err(self.misfit("tuple"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::layout::Described;
    use clickhouse::Row;

    #[derive(Row, Serialize)]
    struct Pet<'a> {
        name: &'a str,
        legs: u32,
    }

    fn layout(name: &str, legs: &str) -> Layout {
        let column = |name: &str, kind: &str| Described {
            name: name.to_owned(),
            r#type: kind.to_owned(),
            ..Described::default()
        };
        let described = [column("name", name), column("legs", legs)];
        Layout::new::<Pet<'static>>("pets", &described).expect("it fits")
    }

    #[test]
    fn names_types_and_values() {
        let layout = layout("String", "UInt32");
        let mut block = Block::new(&layout, 2);
        block.push(&Pet { name: "cat", legs: 4 }).expect("it fits");
        block.push(&Pet { name: "", legs: 0 }).expect("it fits");
        let expected = b"\x02\x02\x04name\x06String\x03cat\0\x04legs\x06UInt32\x04\0\0\0\0\0\0\0";
        assert_eq!(block.finish(), [Bytes::from_static(expected)]);
    }

    #[test]
    fn pieces_are_bounded_and_nothing_is_lost_between_them() {
        let layout = layout("String", "UInt32");
        let name = "x".repeat(1_000);
        for rows in [1, 200, 1_000, 5_000, 70_000] {
            let mut block = Block::new(&layout, rows);
            for _ in 0..rows {
                block.push(&Pet { name: &name, legs: 4 }).expect("it fits");
            }
            let pieces = block.finish();
            assert!(pieces.iter().all(|piece| (1..=PIECE_BYTES).contains(&piece.len())));
            let head = if rows < 128 { 2 } else { 3 } + usize::from(rows >= 1 << 14);
            let bytes: usize = pieces.iter().map(Bytes::len).sum();
            assert_eq!(bytes, head + 12 + 12 + rows * (1_002 + 4), "{rows}");
        }
    }

    #[test]
    fn a_row_that_does_not_fit_says_where() {
        let layout = layout("String", "UInt16");
        let refused = Block::new(&layout, 1).push(&Pet { name: "cat", legs: 4 });
        let problem = refused.expect_err("it does not fit").to_string();
        assert!(problem.starts_with("column legs of pets has type UInt16: "), "{problem}");
        for problem in [
            Block::new(&layout, 1).push(&"cat"),
            Block::new(&layout, 1).push(&("cat", 4)),
            Block::new(&layout, 1).push(&None::<u16>),
        ] {
            assert!(problem.is_err());
        }
    }
}
