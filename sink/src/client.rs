//! The ClickHouse client as the sink uses it.

use crate::config::{BLOCK_ROWS_MAX, ClickHouseConfig};
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
        .with_setting("min_insert_block_size_rows", &block_rows)
        // Rows of many months in one plan would never be taken otherwise; a plan's rows bound them.
        .with_setting("max_partitions_per_insert_block", "0");
    match config.cluster {
        // A row that only one replica has can be lost with it after the offset is committed.
        Some(_) => client.with_setting("insert_quorum", "auto"),
        None => client,
    }
}

/// Text of an answer that goes on into our own errors and logs.
const PROBLEM_CHARS_MAX: usize = 500;

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
    use clickhouse::error::Error as ClientError;

    #[test]
    fn problems_are_one_short_line() {
        let error = ClientError::BadResponse("a\nb".repeat(1_000));
        let text = problem(&error);
        assert!(text.chars().count() == PROBLEM_CHARS_MAX && !text.contains('\n'));
    }
}
