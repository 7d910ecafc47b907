//! Reports: what was asked for is a [`filter::Scope`] over views that collapse repeats, and what
//! comes out is a [`table::Table`] (or a funnel, or a stream of rows). All of them use the same
//! filters, periods and views, so their totals agree.

pub mod caps;
pub mod cells;
pub mod cohorts;
pub mod column;
pub mod csv;
pub mod dimension;
pub mod export;
pub mod filter;
pub mod format;
pub mod funnel;
pub mod on_hold;
pub mod parquet;
pub mod performance;
pub mod period;
pub mod reconcile;
pub mod rejections;
pub mod rows;
pub mod silence;
pub mod statement;
pub mod table;
pub mod time_to_convert;

use crate::error::Error;
use crate::parameter::Parameter;
use crate::query::Query;
use crate::warehouse::{Question, Warehouse};
use column::Column;
use filter::{Filter, Scope};
use schemas::{Catalog, UnixMillis};
use serde_json::{Map, Value};
use table::{ROWS_MAX, Table};

/// What a user reached: the conversion counts, is held, or was refused for a cap or the budget
/// alone. It is what meets a level of the sequence (domain, "Sequence"), so that no step of an
/// enforced sequence is reached by more users than the one before it.
pub const REACHED: &str = "(status = 'Success' OR (status = 'Pending' AND reason = 'HOLD') OR \
    (status = 'Rejected' AND reason IN ('CAP_REACHED', 'BUDGET_EXHAUSTED')))";

/// A report that is a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Cohorts,
    TimeToConvert,
    Rejections,
    OnHold,
    Performance,
    Silence,
    Caps,
    Statement,
    Invoice,
    Margin,
}

/// What a report is, for those who ask for it and for the OpenAPI document.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// The last piece of its path.
    pub name: &'static str,
    /// The question it answers.
    pub about: &'static str,
    pub filters: &'static [Filter],
    pub has_tests: bool,
    /// Parameters of its own.
    pub options: &'static [Parameter],
    pub columns: &'static [Column],
}

impl Definition {
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut all = self.options.to_vec();
        all.extend(filter::parameters(self.filters, self.has_tests));
        all
    }
}

impl Kind {
    pub const ALL: [Self; 10] = [
        Self::Cohorts,
        Self::TimeToConvert,
        Self::Rejections,
        Self::OnHold,
        Self::Performance,
        Self::Silence,
        Self::Caps,
        Self::Statement,
        Self::Invoice,
        Self::Margin,
    ];

    #[must_use]
    pub fn definition(self) -> &'static Definition {
        match self {
            Self::Cohorts => &cohorts::DEFINITION,
            Self::TimeToConvert => &time_to_convert::DEFINITION,
            Self::Rejections => &rejections::DEFINITION,
            Self::OnHold => &on_hold::DEFINITION,
            Self::Performance => &performance::DEFINITION,
            Self::Silence => &silence::DEFINITION,
            Self::Caps => &caps::DEFINITION,
            Self::Statement => &statement::STATEMENT,
            Self::Invoice => &statement::INVOICE,
            Self::Margin => &statement::MARGIN,
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.definition().name == name)
    }

    /// Answers it.
    pub async fn run(self, asked: &Asked<'_>) -> Result<Table, Error> {
        match self {
            Self::Cohorts => cohorts::run(asked).await,
            Self::TimeToConvert => time_to_convert::run(asked).await,
            Self::Rejections => rejections::run(asked).await,
            Self::OnHold => on_hold::run(asked).await,
            Self::Performance => performance::run(asked).await,
            Self::Silence => silence::run(asked).await,
            Self::Caps => caps::run(asked).await,
            Self::Statement | Self::Invoice | Self::Margin => statement::run(asked).await,
        }
    }
}

/// A report that was asked for, and what it is answered from.
pub struct Asked<'a> {
    pub definition: &'static Definition,
    pub warehouse: &'a Warehouse,
    pub catalog: &'a Catalog,
    pub now: UnixMillis,
    pub query: &'a Query,
    pub scope: Scope,
}

impl Asked<'_> {
    /// Rows of a statement whose columns are called `c_` and the report's names, so that no alias
    /// hides a column that a condition means.
    pub async fn rows(&self, question: Question) -> Result<Vec<Map<String, Value>>, Error> {
        self.warehouse.rows(self.scope.bind(question, self.catalog)).await
    }

    /// The rows as the report shows them; a column without a value in them is null.
    #[must_use]
    pub fn shown(&self, rows: Vec<Map<String, Value>>) -> Vec<Vec<Value>> {
        let columns = self.definition.columns;
        let show = |mut row: Map<String, Value>| {
            let cells = columns.iter().map(|column| {
                let value = row.remove(&format!("c_{}", column.name)).unwrap_or_default();
                column.show(value, &self.scope.period)
            });
            cells.collect()
        };
        rows.into_iter().map(show).collect()
    }

    /// The finished report.
    #[must_use]
    pub fn table(&self, mut rows: Vec<Vec<Value>>) -> Table {
        let more = rows.len() > ROWS_MAX;
        rows.truncate(ROWS_MAX);
        Table {
            report: self.definition.name,
            period: self.scope.period.stated(),
            columns: self.definition.columns.to_vec(),
            rows,
            totals: Vec::new(),
            more,
            tests_included: self.scope.include_test,
            notes: Vec::new(),
        }
    }
}

/// Every offer's name and the names of its events, as they are configured now.
#[must_use]
pub fn event_name(catalog: &Catalog, offer: &str, event: &str) -> String {
    let offer = catalog.offer(offer);
    let found = offer.and_then(|offer| offer.events.iter().find(|it| it.id.as_str() == event));
    found.map_or_else(|| event.to_owned(), |event| event.name.to_string())
}
