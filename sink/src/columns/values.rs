//! The values of one column, taken from the fields of rows, in the bytes that are sent.

use super::refuse::refuse_what_no_table_has;
use super::words::{VERSION, Words};
use super::{Mismatch, push_text};
use serde::Serialize;
use serde::ser::{Impossible, SerializeSeq, SerializeTuple, Serializer};

/// One column. Made for the types that the tables have; a value of another kind than the column's is
/// refused, never turned into something else.
#[derive(Debug)]
pub(super) enum Values {
    Text(Vec<u8>),
    Words(Box<Words>),
    Fixed(Fixed, Vec<u8>),
    /// As numbers of 64 bits, two each.
    Uuid(Box<Self>),
    Nullable {
        nulls: Vec<u8>,
        values: Box<Self>,
    },
    Array {
        ends: Vec<u8>,
        count: u64,
        items: Box<Self>,
    },
    Pair(Box<[Self; 2]>),
}

/// Values that all have the same number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fixed {
    Bool,
    U16,
    U32,
    U64,
    /// `DateTime64(3)` as Unix milliseconds, `Decimal(18, 6)` as micros.
    I64,
}

impl Fixed {
    fn bytes(self) -> usize {
        match self {
            Self::Bool => 1,
            Self::U16 => 2,
            Self::U32 => 4,
            Self::U64 | Self::I64 => 8,
        }
    }
}

impl Values {
    /// An empty column of this type, as ClickHouse writes it; `None` for one that no row here has.
    pub(super) fn of(kind: &str) -> Option<Self> {
        let fixed = |fixed| Self::Fixed(fixed, Vec::new());
        let boxed = |kind| Self::of(kind).map(Box::new);
        Some(match kind {
            "String" => Self::Text(Vec::new()),
            "LowCardinality(String)" => Self::Words(Box::new(Words::new())),
            "Bool" => fixed(Fixed::Bool),
            "UInt16" => fixed(Fixed::U16),
            "UInt32" => fixed(Fixed::U32),
            "UInt64" => fixed(Fixed::U64),
            // Another scale would make other amounts of the same numbers.
            "Decimal(18, 6)" | "DateTime64(3)" => fixed(Fixed::I64),
            "UUID" => Self::Uuid(Box::new(fixed(Fixed::U64))),
            "Tuple(String, String)" => {
                Self::Pair(Box::new([Self::Text(Vec::new()), Self::Text(Vec::new())]))
            }
            _ if inside(kind, "DateTime64").is_some_and(|it| it.starts_with("3, ")) => {
                fixed(Fixed::I64)
            }
            _ => match (inside(kind, "Nullable"), inside(kind, "Array")) {
                (Some(inner), _) => Self::Nullable { nulls: Vec::new(), values: boxed(inner)? },
                (_, Some(inner)) => {
                    Self::Array { ends: Vec::new(), count: 0, items: boxed(inner)? }
                }
                _ => return None,
            },
        })
    }

    /// Makes room for so many more rows, as far as their size is known.
    pub(super) fn reserve(&mut self, rows: usize) {
        match self {
            // Their lengths.
            Self::Text(bytes) => bytes.reserve(rows),
            Self::Words(words) => words.reserve(rows),
            Self::Fixed(fixed, bytes) => bytes.reserve(rows * fixed.bytes()),
            Self::Uuid(halves) => halves.reserve(rows * 2),
            Self::Nullable { nulls, values } => {
                nulls.reserve(rows);
                values.reserve(rows);
            }
            Self::Array { ends, .. } => ends.reserve(rows * 8),
            Self::Pair(pair) => pair.iter_mut().for_each(|values| values.reserve(rows)),
        }
    }

    /// What comes before all values of a column.
    pub(super) fn write_prefix(&self, out: &mut impl FnMut(Vec<u8>)) {
        match self {
            Self::Words(_) => out(VERSION.to_le_bytes().to_vec()),
            Self::Text(_) | Self::Fixed(..) => {}
            Self::Uuid(inner) => inner.write_prefix(out),
            Self::Nullable { values, .. } => values.write_prefix(out),
            Self::Array { items, .. } => items.write_prefix(out),
            Self::Pair(pair) => pair.iter().for_each(|values| values.write_prefix(out)),
        }
    }

    /// The values.
    pub(super) fn write(self, out: &mut impl FnMut(Vec<u8>)) {
        match self {
            Self::Text(bytes) | Self::Fixed(_, bytes) => out(bytes),
            Self::Words(words) => words.write(out),
            Self::Uuid(halves) => halves.write(out),
            Self::Nullable { nulls, values } => {
                out(nulls);
                values.write(out);
            }
            Self::Array { ends, items, .. } => {
                out(ends);
                items.write(out);
            }
            Self::Pair(pair) => pair.into_iter().for_each(|values| values.write(out)),
        }
    }

    /// A value for a row that has none.
    fn push_default(&mut self) -> Result<(), Mismatch> {
        match self {
            Self::Text(bytes) => bytes.push(0),
            Self::Fixed(fixed, bytes) => bytes.extend_from_slice(&[0; 8][..fixed.bytes()]),
            Self::Uuid(halves) => {
                halves.push_default()?;
                halves.push_default()?;
            }
            Self::Words(_) | Self::Nullable { .. } | Self::Array { .. } | Self::Pair(_) => {
                return Err(self.misfit("null"));
            }
        }
        Ok(())
    }

    #[inline]
    fn push_fixed<const N: usize>(&mut self, kind: Fixed, value: [u8; N]) -> Result<(), Mismatch> {
        match self {
            Self::Fixed(fixed, bytes) if *fixed == kind => {
                bytes.extend_from_slice(&value);
                Ok(())
            }
            _ => Err(self.misfit(match kind {
                Fixed::Bool => "bool",
                Fixed::U16 => "u16",
                Fixed::U32 => "u32",
                Fixed::U64 => "u64",
                Fixed::I64 => "i64",
            })),
        }
    }

    #[cold]
    fn misfit(&self, value: &str) -> Mismatch {
        let column = match self {
            Self::Text(_) => "texts",
            Self::Words(_) => "texts by dictionary",
            Self::Fixed(Fixed::Bool, _) => "booleans",
            Self::Fixed(Fixed::U16 | Fixed::U32 | Fixed::U64, _) => "numbers of another width",
            Self::Fixed(Fixed::I64, _) => "times or amounts",
            Self::Uuid(_) => "UUIDs",
            Self::Nullable { .. } => "values or nulls",
            Self::Array { .. } => "arrays",
            Self::Pair(_) => "pairs",
        };
        Mismatch::new(format!("it has {column}, and the row a value of kind {value}"))
    }
}

/// `inside("Array(T)", "Array")` is `T`.
fn inside<'a>(kind: &'a str, outer: &str) -> Option<&'a str> {
    kind.strip_prefix(outer)?.strip_prefix('(')?.strip_suffix(')')
}

impl<'a> Serializer for &'a mut Values {
    type Ok = ();
    type Error = Mismatch;
    type SerializeSeq = Items<'a>;
    type SerializeTuple = Parts<'a>;
    type SerializeStruct = Impossible<(), Mismatch>;

    refuse_what_no_table_has!();

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), Mismatch> {
        self.push_fixed(Fixed::Bool, [u8::from(value)])
    }

    #[inline]
    fn serialize_u16(self, value: u16) -> Result<(), Mismatch> {
        self.push_fixed(Fixed::U16, value.to_le_bytes())
    }

    #[inline]
    fn serialize_u32(self, value: u32) -> Result<(), Mismatch> {
        self.push_fixed(Fixed::U32, value.to_le_bytes())
    }

    #[inline]
    fn serialize_u64(self, value: u64) -> Result<(), Mismatch> {
        self.push_fixed(Fixed::U64, value.to_le_bytes())
    }

    #[inline]
    fn serialize_i64(self, value: i64) -> Result<(), Mismatch> {
        self.push_fixed(Fixed::I64, value.to_le_bytes())
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Mismatch> {
        match self {
            Values::Text(bytes) => push_text(bytes, value.as_bytes()),
            Values::Words(words) => words.push(value),
            _ => return Err(self.misfit("text")),
        }
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Mismatch> {
        let Values::Nullable { nulls, values } = self else { return Err(self.misfit("null")) };
        nulls.push(1);
        values.push_default()
    }

    #[inline]
    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), Mismatch> {
        let Values::Nullable { nulls, values } = self else { return Err(self.misfit("option")) };
        nulls.push(0);
        value.serialize(&mut **values)
    }

    #[inline]
    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'a>, Mismatch> {
        match self {
            Values::Array { ends, count, items } => Ok(Items { ends, count, items }),
            _ => Err(self.misfit("sequence")),
        }
    }

    #[inline]
    fn serialize_tuple(self, parts: usize) -> Result<Parts<'a>, Mismatch> {
        match self {
            Values::Uuid(_) | Values::Pair(_) if parts == 2 => Ok(Parts { values: self, index: 0 }),
            _ => Err(self.misfit("tuple")),
        }
    }

    fn serialize_struct(
        self,
        name: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStruct, Mismatch> {
        Err(self.misfit(name))
    }
}

/// The items of one array.
pub(super) struct Items<'a> {
    ends: &'a mut Vec<u8>,
    count: &'a mut u64,
    items: &'a mut Values,
}

impl SerializeSeq for Items<'_> {
    type Ok = ();
    type Error = Mismatch;

    #[inline]
    fn serialize_element<T: ?Sized + Serialize>(&mut self, item: &T) -> Result<(), Mismatch> {
        *self.count += 1;
        item.serialize(&mut *self.items)
    }

    #[inline]
    fn end(self) -> Result<(), Mismatch> {
        self.ends.extend_from_slice(&self.count.to_le_bytes());
        Ok(())
    }
}

/// The two parts of a pair or a UUID.
pub(super) struct Parts<'a> {
    values: &'a mut Values,
    index: usize,
}

impl SerializeTuple for Parts<'_> {
    type Ok = ();
    type Error = Mismatch;

    #[inline]
    fn serialize_element<T: ?Sized + Serialize>(&mut self, part: &T) -> Result<(), Mismatch> {
        let index = self.index;
        self.index += 1;
        match &mut *self.values {
            Values::Uuid(halves) => part.serialize(&mut **halves),
            Values::Pair(pair) if index < pair.len() => part.serialize(&mut pair[index]),
            values => Err(values.misfit("tuple")),
        }
    }

    fn end(self) -> Result<(), Mismatch> {
        Ok(())
    }
}
