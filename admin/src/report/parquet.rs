//! Rows as Parquet: texts as UTF-8, times as UTC timestamps in milliseconds, amounts as
//! `DECIMAL(18, 6)`. Groups of rows are written as they fill up, so memory holds one group; the
//! footer at the end grows by a few kilobytes for each.

use super::cells::Cell;
use super::rows::{Column, Form};
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};
use std::sync::Arc;

/// Rows and bytes of text in one group, whichever is reached first.
const GROUP_ROWS: usize = 50_000;
const GROUP_BYTES: usize = 32 << 20;
/// Digits of an amount, and those behind the point.
const DECIMAL: (i32, i32) = (18, 6);

/// A Parquet file as it is being written.
pub struct Parquet {
    columns: Vec<Column>,
    writer: Option<SerializedFileWriter<Vec<u8>>>,
    waiting: Vec<Vec<Cell>>,
    waiting_bytes: usize,
}

impl Parquet {
    pub fn new(columns: Vec<Column>) -> Result<Self, ParquetError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::LZ4_RAW)
            .set_created_by("gokart".to_owned())
            .build();
        let schema = schema(&columns)?;
        let writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
        Ok(Self { columns, writer: Some(writer), waiting: Vec::new(), waiting_bytes: 0 })
    }

    /// Takes rows; gives what can be sent already.
    pub fn take(&mut self, rows: Vec<Vec<Cell>>) -> Result<Vec<u8>, ParquetError> {
        for row in rows {
            self.waiting_bytes += row.iter().map(size).sum::<usize>();
            self.waiting.push(row);
            if self.waiting.len() >= GROUP_ROWS || self.waiting_bytes >= GROUP_BYTES {
                self.write_group()?;
            }
        }
        let Some(writer) = &mut self.writer else { return Ok(Vec::new()) };
        writer.flush()?;
        // Positions in the footer are counted by the writer itself, so what it has written can go.
        Ok(std::mem::take(writer.inner_mut()))
    }

    /// The rest with the footer.
    pub fn finish(&mut self) -> Result<Vec<u8>, ParquetError> {
        if !self.waiting.is_empty() {
            self.write_group()?;
        }
        match self.writer.take() {
            Some(writer) => writer.into_inner(),
            None => Ok(Vec::new()),
        }
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let rows = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let mut group = writer.next_row_group()?;
        for (index, (_, form, _)) in self.columns.iter().enumerate() {
            let Some(mut column) = group.next_column()? else { break };
            let cells = rows.iter().map(|row| &row[index]);
            let present: Vec<i16> =
                cells.clone().map(|cell| i16::from(*cell != Cell::Null)).collect();
            match form {
                Form::Text => {
                    let values: Vec<ByteArray> = cells
                        .map(|cell| match cell {
                            Cell::Text(text) => text.as_bytes().to_vec().into(),
                            _ => ByteArray::new(),
                        })
                        .collect();
                    column.typed::<ByteArrayType>().write_batch(&values, None, None)?;
                }
                Form::Flag => {
                    let values: Vec<bool> =
                        cells.map(|cell| matches!(cell, Cell::Flag(true))).collect();
                    column.typed::<BoolType>().write_batch(&values, None, None)?;
                }
                Form::Time | Form::Amount | Form::Whole => {
                    let values: Vec<i64> = cells.filter_map(number).collect();
                    column.typed::<Int64Type>().write_batch(&values, Some(&present), None)?;
                }
            }
            column.close()?;
        }
        group.close()?;
        Ok(())
    }
}

fn number(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Time(ms) => Some(*ms),
        Cell::Amount(micros) => Some(micros.0),
        Cell::Whole(number) => Some(i64::try_from(*number).unwrap_or(i64::MAX)),
        Cell::Null | Cell::Text(_) | Cell::Flag(_) => None,
    }
}

fn size(cell: &Cell) -> usize {
    size_of::<Cell>() + if let Cell::Text(text) = cell { text.len() } else { 0 }
}

fn schema(columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let fields = columns.iter().map(|(name, form, _)| field(name, *form).map(Arc::new));
    let fields = fields.collect::<Result<Vec<TypePtr>, ParquetError>>()?;
    Ok(Arc::new(Type::group_type_builder("gokart").with_fields(fields).build()?))
}

fn field(name: &str, form: Form) -> Result<Type, ParquetError> {
    let (physical, logical, repetition) = match form {
        Form::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String), Repetition::REQUIRED),
        Form::Flag => (Physical::BOOLEAN, None, Repetition::REQUIRED),
        Form::Whole => (Physical::INT64, None, Repetition::OPTIONAL),
        Form::Time => (
            Physical::INT64,
            Some(LogicalType::timestamp(true, TimeUnit::MILLIS)),
            Repetition::OPTIONAL,
        ),
        Form::Amount => (
            Physical::INT64,
            Some(LogicalType::decimal(DECIMAL.1, DECIMAL.0)),
            Repetition::OPTIONAL,
        ),
    };
    let builder = Type::primitive_type_builder(name, physical)
        .with_logical_type(logical)
        .with_repetition(repetition);
    match form {
        Form::Amount => builder.with_precision(DECIMAL.0).with_scale(DECIMAL.1).build(),
        _ => builder.build(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use schemas::Micros;

    const COLUMNS: [Column; 5] = [
        ("text", Form::Text, ""),
        ("time", Form::Time, ""),
        ("amount", Form::Amount, ""),
        ("whole", Form::Whole, ""),
        ("flag", Form::Flag, ""),
    ];

    #[test]
    fn what_is_written_in_pieces_is_one_file() {
        let mut file = Parquet::new(COLUMNS.to_vec()).unwrap();
        let mut bytes = Vec::new();
        let count = GROUP_ROWS + 3;
        for number in 0..count {
            let amount = match number % 2 {
                0 => Cell::Null,
                _ => Cell::Amount(Micros(-1_500_000)),
            };
            let row = vec![
                Cell::Text(format!("row {number} ü")),
                Cell::Time(1_795_179_600_123),
                amount,
                Cell::Whole(number as u64),
                Cell::Flag(number == 1),
            ];
            bytes.extend(file.take(vec![row]).unwrap());
        }
        assert!(bytes.len() > 100_000, "a full group was sent on");
        bytes.extend(file.finish().unwrap());
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        assert_eq!(reader.metadata().num_row_groups(), 2);
        let rows: Vec<String> =
            reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
        assert_eq!(rows.len(), count);
        assert_eq!(
            rows[1],
            "{text: \"row 1 ü\", time: 2026-11-20 13:00:00.123 +00:00, amount: -1.500000, whole: 1, \
             flag: true}"
        );
        assert!(rows[2].contains("amount: null"), "{}", rows[2]);
    }
}
