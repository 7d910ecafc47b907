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

#[cfg(test)]
mod tests {
    use super::*;

    fn filled<T: Serialize>(kind: &str, rows: &[T]) -> Result<Vec<u8>, Mismatch> {
        let mut values = Values::of(kind).expect("a known type");
        rows.iter().try_for_each(|row| row.serialize(&mut values))?;
        let mut bytes = Vec::new();
        let mut out = |piece: Vec<u8>| bytes.extend(piece);
        values.write_prefix(&mut out);
        values.write(&mut out);
        Ok(bytes)
    }

    fn check<T: Serialize>(kind: &str, rows: &[T], expected: &[u8]) {
        assert_eq!(filled(kind, rows).as_deref(), Ok(expected), "{kind}");
    }

    #[test]
    fn values_in_a_row() {
        check("Bool", &[true, false], &[1, 0]);
        check("UInt16", &[1_u16, 0x203], &[1, 0, 3, 2]);
        check("UInt32", &[7_u32], &[7, 0, 0, 0]);
        check("UInt64", &[7_u64], &[7, 0, 0, 0, 0, 0, 0, 0]);
        for kind in ["DateTime64(3)", "DateTime64(3, 'UTC')", "Decimal(18, 6)"] {
            check(kind, &[-2_i64], &[0xfe, 255, 255, 255, 255, 255, 255, 255]);
        }
        check("String", &["", "a\0b"], &[0, 3, b'a', 0, b'b']);
        let long = "x".repeat(300);
        check("String", &[&long], &[&[0xac, 2], long.as_bytes()].concat());
        check("UUID", &[(1_u64, 2_u64)], &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn values_inside_others() {
        check("Nullable(UInt16)", &[None, Some(5_u16)], &[1, 0, 0, 0, 5, 0]);
        check("Nullable(String)", &[Some("a"), None], &[0, 1, 1, b'a', 0]);
        let uuid = [&[0, 1][..], &[9, 0, 0, 0, 0, 0, 0, 0], &[0; 24]].concat();
        check("Nullable(UUID)", &[Some((9_u64, 0_u64)), None], &uuid);
        let ends = [2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
        check("Array(UInt16)", &[vec![1_u16, 2], vec![]], &[&ends[..], &[1, 0, 2, 0]].concat());
        let rows = [vec![("a", "b"), ("c", "")], vec![]];
        let names_and_values = [1, b'a', 1, b'c', 1, b'b', 0];
        check("Array(Tuple(String, String))", &rows, &[&ends[..], &names_and_values].concat());
        let words = [vec!["w", "w"], vec![]];
        let version = [1, 0, 0, 0, 0, 0, 0, 0];
        let dictionary = [0, 6, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, b'w'];
        let indexes = [2, 0, 0, 0, 0, 0, 0, 0, 1, 1];
        let expected = [&version[..], &ends, &dictionary, &indexes].concat();
        check("Array(LowCardinality(String))", &words, &expected);
        let nothing: [Vec<&str>; 1] = [vec![]];
        check("Array(LowCardinality(String))", &nothing, &[&version[..], &[0; 8]].concat());
    }

    #[test]
    fn a_value_of_another_kind_is_refused() {
        let refused = |found: Result<Vec<u8>, Mismatch>| {
            let problem = found.expect_err("it does not fit").to_string();
            assert!(problem.starts_with("it has "), "{problem}");
        };
        refused(filled("String", &[1_u64]));
        refused(filled("UInt32", &[1_u64]));
        refused(filled("UInt64", &[1_i64]));
        refused(filled("UInt16", &["1"]));
        refused(filled("LowCardinality(String)", &[Some("a")]));
        refused(filled("UInt16", &[None::<u16>]));
        refused(filled("Nullable(UInt16)", &[1_u16]));
        refused(filled("UUID", &["a"]));
        refused(filled("UUID", &[(1_u64, 2_u64, 3_u64)]));
        refused(filled("Array(String)", &["a"]));
        refused(filled("Tuple(String, String)", &[("a", 1_u64)]));
        refused(filled("String", &[1.5]));
        refused(filled("String", &['a']));
    }

    #[test]
    fn types_that_no_row_has_are_not_known() {
        for kind in [
            "Decimal(18, 4)",
            "DateTime64(6, 'UTC')",
            "DateTime64(3",
            "DateTime",
            "Int64",
            "FixedString(3)",
            "LowCardinality(Nullable(String))",
            "Array(Float64)",
            "Tuple(String, UInt64)",
            "Map(String, String)",
            "",
        ] {
            assert!(Values::of(kind).is_none(), "{kind}");
        }
    }
}
