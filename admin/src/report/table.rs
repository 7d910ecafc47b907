//! A report of rows: what it states about itself, its columns, its rows.

use super::column::Column;
use super::period::StatedPeriod;
use serde::ser::{Serialize, SerializeSeq, SerializeStruct};
use serde_json::{Map, Value};

/// Rows that one report has at most.
pub const ROWS_MAX: usize = 10_000;

/// A finished report.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub report: &'static str,
    pub period: StatedPeriod,
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Value>>,
    /// Sums over all rows, one for each currency; where a sum means something.
    pub totals: Vec<Vec<Value>>,
    /// There are more rows than are shown.
    pub more: bool,
    pub tests_included: bool,
    /// What a reader has to know about the rows.
    pub notes: Vec<String>,
}

/// The fields that every such answer has, for the OpenAPI document.
pub const FIELDS: [&str; 8] =
    ["report", "period", "columns", "rows", "totals", "more", "tests_included", "notes"];

struct Rows<'a>(&'a [Column], &'a [Vec<Value>]);

impl Serialize for Rows<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.1.len()))?;
        for row in self.1 {
            let named = self.0.iter().map(|column| column.name.to_owned());
            list.serialize_element(&named.zip(row.iter().cloned()).collect::<Map<_, _>>())?;
        }
        list.end()
    }
}

impl Serialize for Table {
    /// Rows are objects: a column that is added later breaks no reader.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_struct("Table", FIELDS.len())?;
        all.serialize_field(FIELDS[0], self.report)?;
        all.serialize_field(FIELDS[1], &self.period)?;
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        all.serialize_field(FIELDS[2], &names)?;
        all.serialize_field(FIELDS[3], &Rows(&self.columns, &self.rows))?;
        all.serialize_field(FIELDS[4], &Rows(&self.columns, &self.totals))?;
        all.serialize_field(FIELDS[5], &self.more)?;
        all.serialize_field(FIELDS[6], &self.tests_included)?;
        all.serialize_field(FIELDS[7], &self.notes)?;
        all.end()
    }
}
