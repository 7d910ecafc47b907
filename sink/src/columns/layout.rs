//! What columns a table has, and whether rows fit them: read from ClickHouse at the first insert and
//! remembered until something seems wrong with it.

use super::Mismatch;
use super::values::Values;
use crate::rows::Record;
use clickhouse::error::Error as ClientError;
use clickhouse::{Client, Row};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// For ClickHouse to say what columns a table has.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(120);

/// A column as `DESCRIBE TABLE` has it. The client reads all fields or none.
#[derive(Debug, Clone, Default, Row, Deserialize)]
pub struct Described {
    pub name: String,
    pub r#type: String,
    pub default_type: String,
    pub default_expression: String,
    pub comment: String,
    pub codec_expression: String,
    pub ttl_expression: String,
}

/// A column that rows bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    /// As ClickHouse writes it.
    pub kind: String,
}

/// The columns that one kind of row fills, in the order of its fields.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    table: &'static str,
    columns: Vec<Column>,
    statement: String,
}

impl Layout {
    /// For rows of struct `R`.
    ///
    /// # Errors
    ///
    /// When the table has no column of a field's name, one that cannot be written, one of a type that no row
    /// has, or one more that has no default.
    pub fn new<R: Row>(table: &'static str, described: &[Described]) -> Result<Self, Mismatch> {
        let mut columns = Vec::new();
        for name in R::COLUMN_NAMES {
            let Some(column) = described.iter().find(|column| column.name == *name) else {
                return Err(Mismatch::new(format!("table {table} has no column {name}")));
            };
            let Described { r#type: kind, default_type, .. } = column;
            if matches!(default_type.as_str(), "ALIAS" | "MATERIALIZED") {
                return Err(Mismatch::new(format!(
                    "column {name} of {table} is {default_type}, so it cannot be written"
                )));
            }
            if Values::of(kind).is_none() {
                return Err(Mismatch::new(format!(
                    "column {name} of {table} has type {kind}, which no row has"
                )));
            }
            columns.push(Column { name, kind: kind.clone() });
        }
        // A temporary column (EPHEMERAL) without a value is not one that a row must bring either, but none
        // of ours has one, so whoever made it has to say a default.
        let unfilled = described.iter().find(|column| {
            !R::COLUMN_NAMES.contains(&column.name.as_str())
                && !matches!(column.default_type.as_str(), "DEFAULT" | "MATERIALIZED" | "ALIAS")
        });
        if let Some(Described { name, .. }) = unfilled {
            return Err(Mismatch::new(format!(
                "table {table} has a column {name} without a default, which no row has"
            )));
        }
        let names: Vec<String> =
            columns.iter().map(|column| format!("`{}`", column.name)).collect();
        let statement = format!("INSERT INTO {table} ({}) FORMAT Native", names.join(", "));
        Ok(Self { table, columns, statement })
    }

    /// `INSERT INTO … FORMAT Native`.
    #[must_use]
    pub fn statement(&self) -> &str {
        &self.statement
    }

    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns, empty.
    pub(super) fn values(&self) -> Vec<Values> {
        self.columns.iter().filter_map(|column| Values::of(&column.kind)).collect()
    }

    #[cold]
    pub(super) fn misfit(&self, index: usize, error: &Mismatch) -> Mismatch {
        let Column { name, kind } = &self.columns[index];
        Mismatch::new(format!("column {name} of {} has type {kind}: {error}", self.table))
    }
}

/// The tables behind a client, with what is known of their columns.
pub struct Tables {
    client: Client,
    layouts: Mutex<HashMap<&'static str, Arc<Layout>>>,
}

impl Tables {
    /// `client` inserts into the tables ([`crate::client::insert_client`]).
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, layouts: Mutex::default() }
    }

    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The columns for a kind of row; asks ClickHouse if it is not known.
    ///
    /// # Errors
    ///
    /// What ClickHouse answers instead, and `SchemaMismatch` when the rows do not fit.
    pub async fn layout<M: Record>(&self) -> Result<Arc<Layout>, ClientError> {
        if let Some(layout) = self.known().get(M::TABLE) {
            return Ok(Arc::clone(layout));
        }
        let asking = self
            .client
            .query_raw(&format!("DESCRIBE TABLE {}", M::TABLE))
            .with_setting("describe_include_subcolumns", "0")
            .fetch_all::<Described>();
        let described = tokio::time::timeout(DESCRIBE_TIMEOUT, asking)
            .await
            .map_err(|_| ClientError::TimedOut)??;
        let layout = Arc::new(Layout::new::<M::Row>(M::TABLE, &described)?);
        self.known().insert(M::TABLE, Arc::clone(&layout));
        Ok(layout)
    }

    /// Forgets the columns of a table: they may have been changed.
    pub fn forget(&self, table: &'static str) {
        self.known().remove(table);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, Arc<Layout>>> {
        self.layouts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Row, serde::Serialize)]
    struct Pet<'a> {
        name: &'a str,
        legs: u32,
    }

    fn described(columns: &[[&str; 3]]) -> Vec<Described> {
        let described = |[name, kind, default_type]: &[&str; 3]| Described {
            name: (*name).to_owned(),
            r#type: (*kind).to_owned(),
            default_type: (*default_type).to_owned(),
            ..Described::default()
        };
        columns.iter().map(described).collect()
    }

    fn check(columns: &[[&str; 3]], expected: Result<&str, &str>) {
        let layout = Layout::new::<Pet<'static>>("pets", &described(columns));
        let found = layout.as_ref().map(Layout::statement).map_err(ToString::to_string);
        assert_eq!(found, expected.map_err(str::to_owned), "{columns:?}");
    }

    #[test]
    fn what_a_table_must_have_for_rows_to_fit() {
        let name = ["name", "String", ""];
        let legs = ["legs", "UInt32", ""];
        let fits = Ok("INSERT INTO pets (`name`, `legs`) FORMAT Native");
        check(&[name, legs], fits);
        check(&[legs, name], fits);
        check(&[["x", "Enum8('a' = 1)", "DEFAULT"], legs, ["y", "UInt8", "ALIAS"], name], fits);
        check(&[legs, name, ["z", "UInt8", "MATERIALIZED"]], fits);
        for (columns, problem) in [
            (
                [name, legs, ["tail", "Bool", ""]],
                "table pets has a column tail without a default, which no row has",
            ),
            (
                [name, legs, ["t", "Bool", "EPHEMERAL"]],
                "table pets has a column t without a default, which no row has",
            ),
            (
                [name, ["leg", "UInt32", ""], ["x", "UInt8", "DEFAULT"]],
                "table pets has no column legs",
            ),
            (
                [name, ["legs", "UInt32", "ALIAS"], ["x", "UInt8", "DEFAULT"]],
                "column legs of pets is ALIAS, so it cannot be written",
            ),
            (
                [name, ["legs", "Float64", ""], ["x", "UInt8", "DEFAULT"]],
                "column legs of pets has type Float64, which no row has",
            ),
        ] {
            check(&columns, Err(problem));
        }
        check(&[], Err("table pets has no column name"));
    }
}
