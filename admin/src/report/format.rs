//! Rows in the format that was asked for, piece by piece.

use super::cells::Cell;
use super::csv;
use super::parquet::Parquet;
use super::period::{Period, StatedPeriod};
use super::rows::Kind;
use crate::error::Error;
use schemas::UnixMillis;
use serde_json::{Map, Value, json};

/// Formats of exports.
pub const EXPORT_FORMATS: &[&str] = &["csv", "jsonl", "parquet"];

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON document with its period and columns: the form of a list.
    Document,
    Csv,
    JsonLines,
    Parquet,
}

impl Format {
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Document => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::JsonLines => "application/x-ndjson",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// Turns rows into bytes.
pub struct Writer {
    names: Vec<&'static str>,
    period: Period,
    limit: Option<usize>,
    written: usize,
    more: bool,
    tests_included: bool,
    form: FormState,
}

enum FormState {
    Document,
    Csv,
    JsonLines,
    Parquet(Box<Parquet>),
}

impl Writer {
    /// `limit`: rows of a list; what is beyond it shows in `more` alone.
    pub fn new(
        kind: Kind,
        format: Format,
        period: Period,
        limit: Option<usize>,
        tests_included: bool,
    ) -> Result<Self, Error> {
        let form = match format {
            Format::Document => FormState::Document,
            Format::Csv => FormState::Csv,
            Format::JsonLines => FormState::JsonLines,
            Format::Parquet => {
                FormState::Parquet(Box::new(Parquet::new(kind.columns()).map_err(internal)?))
            }
        };
        let names = kind.column_names();
        Ok(Self { names, period, limit, written: 0, more: false, tests_included, form })
    }

    /// What comes before the first row.
    #[must_use]
    pub fn begin(&self) -> Vec<u8> {
        match self.form {
            FormState::Document => {
                let stated: StatedPeriod = self.period.stated();
                format!(
                    "{{\"period\":{},\"columns\":{},\"tests_included\":{},\"rows\":[",
                    json!(stated),
                    json!(self.names),
                    self.tests_included
                )
                .into_bytes()
            }
            FormState::Csv => csv::line(self.names.iter().copied()),
            FormState::JsonLines | FormState::Parquet(_) => Vec::new(),
        }
    }

    pub fn rows(&mut self, mut rows: Vec<Vec<Cell>>) -> Result<Vec<u8>, Error> {
        if let Some(limit) = self.limit {
            let room = limit - self.written;
            self.more |= rows.len() > room;
            rows.truncate(room);
        }
        let first = self.written == 0;
        self.written += rows.len();
        match &mut self.form {
            FormState::Parquet(file) => file.take(rows).map_err(internal),
            FormState::Csv => {
                let lines = rows.into_iter().map(|row| {
                    let cells: Vec<String> =
                        row.into_iter().map(|cell| csv::cell(&shown(cell, &self.period))).collect();
                    csv::line(cells.iter().map(String::as_str))
                });
                Ok(lines.collect::<Vec<_>>().concat())
            }
            FormState::JsonLines | FormState::Document => {
                let is_document = matches!(self.form, FormState::Document);
                let mut text = String::new();
                for (index, row) in rows.into_iter().enumerate() {
                    if is_document && !(first && index == 0) {
                        text.push(',');
                    }
                    let named = self.names.iter().map(|name| (*name).to_owned());
                    let values = row.into_iter().map(|cell| shown(cell, &self.period));
                    let object: Map<String, Value> = named.zip(values).collect();
                    text.push_str(&Value::Object(object).to_string());
                    text.push('\n');
                }
                Ok(text.into_bytes())
            }
        }
    }

    /// What comes after the last row.
    pub fn end(&mut self) -> Result<Vec<u8>, Error> {
        match &mut self.form {
            FormState::Document => Ok(format!("],\"more\":{}}}\n", self.more).into_bytes()),
            FormState::Csv | FormState::JsonLines => Ok(Vec::new()),
            FormState::Parquet(file) => file.finish().map_err(internal),
        }
    }
}

fn internal(error: impl std::fmt::Display) -> Error {
    Error::Internal(format!("the file cannot be written: {error}"))
}

/// A value as people read it: times in the period's zone, amounts as text.
fn shown(cell: Cell, period: &Period) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Text(text) => Value::from(text),
        Cell::Time(ms) => Value::from(period.show(UnixMillis(ms))),
        Cell::Amount(micros) => Value::from(micros.to_string()),
        Cell::Whole(number) => Value::from(number),
        Cell::Flag(set) => Value::from(set),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, limit: Option<usize>) -> String {
        let mut writer =
            Writer::new(Kind::Refused, format, Period::default(), limit, false).unwrap();
        let row = |text: &str| {
            let mut row = vec![Cell::Text(text.to_owned()); 6];
            row[0] = Cell::Time(0);
            row
        };
        let mut bytes = writer.begin();
        bytes.extend(writer.rows(vec![row("a"), row("=1+1")]).unwrap());
        bytes.extend(writer.rows(vec![row("c,\"")]).unwrap());
        bytes.extend(writer.end().unwrap());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn documents_are_whole_and_keep_their_limit() {
        let all: Value = serde_json::from_str(&written(Format::Document, Some(3))).unwrap();
        assert_eq!((all["rows"].as_array().unwrap().len(), &all["more"]), (3, &json!(false)));
        assert_eq!(all["rows"][1]["tenant"], "=1+1");
        assert_eq!(all["rows"][0]["refused_at"], "1970-01-01T00:00:00.000+00:00");
        let some: Value = serde_json::from_str(&written(Format::Document, Some(1))).unwrap();
        assert_eq!((some["rows"].as_array().unwrap().len(), &some["more"]), (1, &json!(true)));
    }

    #[test]
    fn lines_and_csv() {
        let lines = written(Format::JsonLines, None);
        assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{lines}");
        let csv = written(Format::Csv, None);
        assert!(csv.starts_with("refused_at,tenant,mismatch,address,host,parameters\n"), "{csv}");
        assert!(csv.contains("'=1+1") && csv.contains("\"c,\"\"\""), "{csv}");
    }
}
