//! Small questions to ClickHouse and whole databases, for tools beside the sink.

use crate::client::{problem, statement_client};
use crate::config::ClickHouseConfig;
use crate::error::Error;
use clickhouse::error::Error as ClientError;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// For one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// The largest answer that is taken.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// The rows that a statement of our own gives, as one JSON object each. What it is about is for
/// the error. `parameters` are bound where the text says `{name:Type}`.
///
/// # Errors
/// When ClickHouse cannot be reached or refuses it.
pub async fn ask<T: DeserializeOwned>(
    config: &ClickHouseConfig,
    about: &str,
    statement: &str,
    parameters: &[(&str, String)],
) -> Result<Vec<T>, Error> {
    config.validate()?;
    let client = statement_client(config)
        .with_setting("output_format_json_quote_64bit_integers", "0")
        .with_setting("output_format_json_quote_decimals", "1");
    let mut query = client.query(statement);
    for (name, value) in parameters {
        query = query.param(name, value);
    }
    let answer = async {
        let mut cursor = query.fetch_bytes("JSONEachRow")?;
        let mut bytes = Vec::new();
        while let Some(chunk) = cursor.next().await? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(ClientError::TimedOut);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    let failed = |error: &ClientError| failure(config, about, error);
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
    let bytes = answer.unwrap_or(Err(ClientError::TimedOut)).map_err(|error| failed(&error))?;
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let read = lines.map(serde_json::from_slice).collect::<Result<Vec<T>, _>>();
    read.map_err(|error| {
        Error::Configuration(format!("{about}: the answer cannot be read: {error}"))
    })
}

/// Carries out a statement of our own.
///
/// # Errors
/// When ClickHouse cannot be reached or refuses it.
pub async fn tell(config: &ClickHouseConfig, about: &str, statement: &str) -> Result<(), Error> {
    config.validate()?;
    let done = statement_client(config).query_raw(statement).execute();
    let done = tokio::time::timeout(ANSWER_TIMEOUT, done).await;
    done.unwrap_or(Err(ClientError::TimedOut)).map_err(|error| failure(config, about, &error))
}

fn failure(config: &ClickHouseConfig, about: &str, error: &ClientError) -> Error {
    match error {
        ClientError::Network(_) | ClientError::TimedOut => {
            Error::Unreachable { url: config.url.clone(), problem: problem(error) }
        }
        _ => Error::Migration { file: about.to_owned(), problem: problem(error) },
    }
}
