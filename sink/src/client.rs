//! The ClickHouse client as the sink uses it, and what its errors mean.

use crate::config::{BLOCK_ROWS_MAX, ClickHouseConfig};
use clickhouse::error::Error as ClientError;
use clickhouse::{Client, Compression};

/// A client for statements: no database chosen, because it may not exist yet.
#[must_use]
pub fn statement_client(config: &ClickHouseConfig) -> Client {
    let mut client = Client::default().with_url(&config.url).with_compression(if config.compress {
        Compression::Lz4
    } else {
        Compression::None
    });
    if let Some(user) = &config.user {
        client = client.with_user(user);
    }
    if let Some(password) = &config.password {
        client = client.with_password(password);
    }
    client
}

/// A client for inserts into the configured database.
#[must_use]
pub fn insert_client(config: &ClickHouseConfig) -> Client {
    let block_rows = BLOCK_ROWS_MAX.to_string();
    let client = statement_client(config)
        .with_database(&config.database)
        // The answer must mean that the rows are there.
        .with_setting("async_insert", "0")
        .with_setting("wait_end_of_query", "1")
        // The token decides, for the table and for what is fed from it.
        .with_setting("insert_deduplicate", "1")
        .with_setting("deduplicate_blocks_in_dependent_materialized_views", "1")
        // One insert is one block: a token counts for each block on its own, so a plan cut in two
        // places at two attempts would lose rows.
        .with_setting("max_insert_block_size", &block_rows)
        .with_setting("min_insert_block_size_rows", &block_rows);
    match config.cluster {
        // A row that only one replica has can be lost with it after the offset is committed.
        Some(_) => client.with_setting("insert_quorum", "auto"),
        None => client,
    }
}

/// What a failed request means for the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// ClickHouse is away, overloaded, or says something that is not about the rows: try again.
    Away(String),
    /// It does not take a value among these rows.
    Rows(String),
    /// The table is not there or has other columns.
    Table(String),
}

/// ClickHouse's error codes for a value that it does not take, in `ErrorCodes.cpp`'s names.
const ROW_CODES: &[u32] = &[
    6,   // CANNOT_PARSE_TEXT
    26,  // CANNOT_PARSE_QUOTED_STRING
    27,  // CANNOT_PARSE_INPUT_ASSERTION_FAILED
    33,  // CANNOT_READ_ALL_DATA
    38,  // CANNOT_PARSE_DATE
    41,  // CANNOT_PARSE_DATETIME
    53,  // TYPE_MISMATCH
    69,  // ARGUMENT_OUT_OF_BOUND
    70,  // CANNOT_CONVERT_TYPE
    72,  // CANNOT_PARSE_NUMBER
    117, // INCORRECT_DATA
    128, // TOO_LARGE_ARRAY_SIZE
    131, // TOO_LARGE_STRING_SIZE
    321, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
    349, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    407, // DECIMAL_OVERFLOW
    469, // VIOLATED_CONSTRAINT
];
/// NO_SUCH_COLUMN_IN_TABLE, UNKNOWN_TABLE, UNKNOWN_DATABASE.
const TABLE_CODES: &[u32] = &[16, 60, 81];
/// Text of an answer that goes on into our own errors and logs.
const PROBLEM_CHARS_MAX: usize = 500;

/// Sorts a failure of an insert. Anything not known to be about the rows is waited out, because
/// that loses nothing.
#[must_use]
pub fn meaning(error: &ClientError) -> Meaning {
    let problem = problem(error);
    match error {
        ClientError::SchemaMismatch(_) => Meaning::Table(problem),
        ClientError::BadResponse(text) => match code(text) {
            Some(code) if ROW_CODES.contains(&code) => Meaning::Rows(problem),
            Some(code) if TABLE_CODES.contains(&code) => Meaning::Table(problem),
            _ => Meaning::Away(problem),
        },
        _ => Meaning::Away(problem),
    }
}

/// The number that every ClickHouse error begins with: `Code: 60. DB::Exception: …`.
fn code(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("Code: ")?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// An error with its causes, in one line of bounded length.
#[must_use]
pub fn problem(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(PROBLEM_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: fn(String) -> Meaning) {
        let error = ClientError::BadResponse(text.to_owned());
        assert_eq!(meaning(&error), expected(problem(&error)), "{text}");
    }

    #[test]
    fn what_an_answer_means() {
        check("Code: 469. DB::Exception: Constraint `c` is violated", Meaning::Rows);
        check("Code: 60. DB::Exception: Table gokart.clicks does not exist", Meaning::Table);
        check("Code: 241. DB::Exception: Memory limit exceeded", Meaning::Away);
        check("Code: 252. DB::Exception: Too many parts", Meaning::Away);
        check("Code: 516. DB::Exception: Authentication failed", Meaning::Away);
        check("502 Bad Gateway", Meaning::Away);
        check("Code: x", Meaning::Away);
        check("Code: 469", Meaning::Rows);
        assert_eq!(meaning(&ClientError::TimedOut), Meaning::Away("timeout expired".to_owned()));
    }

    #[test]
    fn problems_are_one_short_line() {
        let error = ClientError::BadResponse("a\nb".repeat(1_000));
        let text = problem(&error);
        assert!(text.chars().count() == PROBLEM_CHARS_MAX && !text.contains('\n'));
    }
}
