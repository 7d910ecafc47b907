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
const PIECE_BYTES: usize = 256 * 1024;

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
