//! Questions to ClickHouse. Statements are constant text; what callers give goes in as bound
//! parameters only. Answers come as one JSON object a row, bounded in time and size.

use crate::config::{
    ClickHouse, EXPORT_QUERY_TIMEOUT, EXPORTS_AT_ONCE, QUERIES_AT_ONCE, QueryLimits,
    RESULT_BYTES_MAX, RESULT_ROWS_MAX,
};
use crate::error::Error;
use bytes::Bytes;
use clickhouse::error::Error as ClientError;
use clickhouse::query::{BytesCursor, Query};
use clickhouse::{Client, Compression};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Text of ClickHouse's that goes on into our answers.
const PROBLEM_CHARS_MAX: usize = 300;

/// ClickHouse, as the reports use it.
pub struct Warehouse {
    client: Client,
    url: String,
    slots: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    limits: QueryLimits,
}

/// A bound value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Bound {
    Text(String),
    List(Vec<String>),
}

/// A statement and its bound parameters: `{name:Type}` in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    sql: String,
    parameters: Vec<(&'static str, Bound)>,
}

impl Question {
    #[must_use]
    pub fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), parameters: Vec::new() }
    }

    #[must_use]
    pub fn bind(mut self, name: &'static str, value: impl ToString) -> Self {
        self.parameters.push((name, Bound::Text(value.to_string())));
        self
    }

    /// Binds texts as an `Array(String)`.
    #[must_use]
    pub fn bind_list(mut self, name: &'static str, values: Vec<String>) -> Self {
        self.parameters.push((name, Bound::List(values)));
        self
    }

    #[cfg(test)]
    pub fn sql(&self) -> &str {
        &self.sql
    }
}

impl Warehouse {
    #[must_use]
    pub fn new(config: &ClickHouse, limits: QueryLimits) -> Self {
        // Whole seconds, a net below our own timer: ClickHouse goes on for no longer.
        let seconds = limits.timeout.as_secs_f64().ceil().max(1.0).to_string();
        let mut client = Client::default()
            .with_url(&config.url)
            .with_database(&config.database)
            .with_compression(Compression::None)
            // Amounts come as text, counts and times as plain numbers.
            .with_setting("output_format_json_quote_64bit_integers", "0")
            .with_setting("output_format_json_quote_decimals", "1")
            .with_setting("max_execution_time", seconds)
            .with_setting("max_memory_usage", limits.memory_bytes.to_string())
            .with_setting("max_result_rows", RESULT_ROWS_MAX.to_string())
            .with_setting("result_overflow_mode", "throw");
        if let Some(user) = &config.user {
            client = client.with_user(user);
        }
        if let Some(password) = &config.password {
            client = client.with_password(password);
        }
        let slots = Arc::new(Semaphore::new(QUERIES_AT_ONCE));
        let exports = Arc::new(Semaphore::new(EXPORTS_AT_ONCE));
        Self { client, url: config.url.clone(), slots, exports, limits }
    }

    /// How long a reader may take nothing of what is streamed to it.
    #[must_use]
    pub fn stall(&self) -> Duration {
        self.limits.stall
    }

    /// All rows of the answer.
    pub async fn rows<T: DeserializeOwned>(&self, question: Question) -> Result<Vec<T>, Error> {
        let asked = async {
            let _slot = self.slots.acquire().await;
            self.bytes(question).await
        };
        let bytes = match tokio::time::timeout(self.limits.timeout, asked).await {
            Ok(bytes) => bytes?,
            Err(_) => return Err(self.timed_out()),
        };
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines
            .map(|line| {
                serde_json::from_slice(line).map_err(|error| {
                    Error::Internal(format!("an answer of ClickHouse's cannot be read: {error}"))
                })
            })
            .collect()
    }

    /// A place among the questions that are asked at once, held while an answer is streamed.
    pub async fn slot(&self) -> Result<OwnedSemaphorePermit, Error> {
        let slot = Arc::clone(&self.slots).acquire_owned();
        match tokio::time::timeout(self.limits.timeout, slot).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => Err(self.timed_out()),
        }
    }

    /// A place among the exports. They are long, so nobody waits for one.
    pub fn export_slot(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.exports).try_acquire_owned().map_err(|_| Error::Unavailable {
            message: format!("{EXPORTS_AT_ONCE} exports are under way already"),
            hint: Some("start this one when one of them is done".to_owned()),
        })
    }

    /// Starts a question whose answer is taken piece by piece: rows as RowBinary.
    pub fn pieces(&self, question: Question) -> Result<BytesCursor, Error> {
        let seconds = EXPORT_QUERY_TIMEOUT.as_secs().to_string();
        let query = self
            .query(question)
            .with_setting("max_execution_time", seconds)
            .with_setting("max_result_rows", "0");
        query.fetch_bytes("RowBinary").map_err(|error| self.failure(&error))
    }

    /// The next piece, which must come in time; none at the end.
    pub async fn next_piece(&self, pieces: &mut BytesCursor) -> Result<Option<Bytes>, Error> {
        match tokio::time::timeout(self.limits.timeout, pieces.next()).await {
            Ok(piece) => piece.map_err(|error| self.failure(&error)),
            Err(_) => Err(self.timed_out()),
        }
    }

    fn query(&self, question: Question) -> Query {
        let query = self.client.query(&question.sql);
        question.parameters.into_iter().fold(query, |query, (name, value)| match value {
            Bound::Text(text) => query.param(name, text),
            Bound::List(texts) => query.param(name, texts),
        })
    }

    async fn bytes(&self, question: Question) -> Result<Vec<u8>, Error> {
        let query = self.query(question);
        let mut cursor = query.fetch_bytes("JSONEachRow").map_err(|error| self.failure(&error))?;
        let mut bytes = Vec::new();
        while let Some(chunk) = cursor.next().await.map_err(|error| self.failure(&error))? {
            if bytes.len() + chunk.len() > RESULT_BYTES_MAX {
                return Err(too_much());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn timed_out(&self) -> Error {
        Error::TimedOut(format!(
            "ClickHouse did not answer within {} s; ask for a shorter time, or raise \
             --query-timeout",
            self.limits.timeout.as_secs_f64()
        ))
    }

    fn failure(&self, error: &ClientError) -> Error {
        let text: String = describe(error).chars().take(PROBLEM_CHARS_MAX).collect();
        match code(&text) {
            // TIMEOUT_EXCEEDED
            Some(159) => self.timed_out(),
            // TOO_MANY_ROWS, MEMORY_LIMIT_EXCEEDED, TOO_MANY_ROWS_OR_BYTES
            Some(158 | 241 | 396) => too_much(),
            // UNKNOWN_TABLE, UNKNOWN_DATABASE
            Some(60 | 81) => Error::Unavailable {
                message: format!("ClickHouse at {} does not have the tables yet", self.url),
                hint: Some(
                    "the sink makes them when it starts, and so does `gokart migrate`".into(),
                ),
            },
            // REQUIRED_PASSWORD, AUTHENTICATION_FAILED
            Some(194 | 516) => Error::Unavailable {
                message: format!("ClickHouse at {} does not let us in", self.url),
                hint: Some("look at --clickhouse-user and --clickhouse-token-file of admin".into()),
            },
            // SETTING_CONSTRAINT_VIOLATION
            Some(452) => Error::Unavailable {
                message: format!("ClickHouse at {} does not allow a query so much", self.url),
                hint: Some(
                    "lower --query-timeout or --query-memory of admin to what it allows".into(),
                ),
            },
            Some(_) => Error::Internal(format!("ClickHouse: {text}")),
            None => Error::Unavailable {
                message: format!("ClickHouse at {} cannot be asked now: {text}", self.url),
                hint: Some("start it, or look at --clickhouse of admin".into()),
            },
        }
    }
}

fn too_much() -> Error {
    Error::TooMuch(
        "ClickHouse would need more memory for this report, or give more rows, than one report \
         may; ask for a shorter time, fewer dimensions or one offer"
            .to_owned(),
    )
}

/// An error with its causes, in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The number that every ClickHouse error names: `Code: 60. DB::Exception: …`.
fn code(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("Code: ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}
