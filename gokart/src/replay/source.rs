//! Where a replay reads: which stretch of each partition, and under which configuration.

use super::span::Span;
use crate::commands::read_documents;
use admin::apply::{Source, check};
use eventlog::follow::catalog::CatalogFeed;
use eventlog::{EventLog, Offset, ReadError, ReadLimit};
use schemas::{Catalog, Topic, UnixMillis};
use service::ServiceError;
use std::path::PathBuf;
use std::time::Duration;

const ONE: ReadLimit = ReadLimit { records: 1, bytes: 1, wait: Duration::from_millis(500) };

/// Offsets of one partition of `postbacks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub partition: u32,
    pub from: Offset,
    pub end: Offset,
}

pub fn failed(error: ReadError) -> ServiceError {
    ServiceError::Failed(format!("the event log: {error}"))
}

/// What is read of each partition: from `history` before the span on, or all that is kept, to the
/// end there is now. What comes after the span decides about it too: it reverses, releases, approves.
pub async fn stretches(
    log: &dyn EventLog,
    span: Span,
    history: Option<Duration>,
) -> Result<Vec<Stretch>, ServiceError> {
    let begin = span.from.zip(history).map(|(from, history)| {
        from.plus_ms(-i64::try_from(history.as_millis()).unwrap_or(i64::MAX))
    });
    let mut found = Vec::new();
    for partition in 0..log.partitions(Topic::Postbacks) {
        let bounds = log.bounds(Topic::Postbacks, partition).await.map_err(failed)?;
        let from = match begin {
            Some(time) => first_at(log, partition, bounds.first, bounds.end, time).await?,
            None => bounds.first,
        };
        found.push(Stretch { partition, from, end: bounds.end });
    }
    Ok(found)
}

/// The first record that is not before a time, by halving. Ingesters' clocks differ a little, so
/// records near it may be in either order.
async fn first_at(
    log: &dyn EventLog,
    partition: u32,
    first: Offset,
    end: Offset,
    time: UnixMillis,
) -> Result<Offset, ServiceError> {
    let (mut low, mut high) = (first, end);
    while low < high {
        let middle = low + (high - low) / 2;
        let mut reader =
            log.read_from(Topic::Postbacks, partition, middle).await.map_err(failed)?;
        let batch = reader.read(ONE).await.map_err(failed)?;
        match batch.records.first().filter(|stored| stored.offset < high) {
            Some(stored) if stored.record.at < time => low = stored.offset + 1,
            // Nothing up to there, or nothing early.
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The configuration in force, with documents as if they had been applied now. Its past stays:
/// clicks are paid what they were promised.
pub async fn catalog(
    log: &dyn EventLog,
    documents: &[PathBuf],
    now: UnixMillis,
) -> Result<Catalog, ServiceError> {
    let feed = CatalogFeed::start(log).await.map_err(failed)?;
    let mut catalog = Catalog::clone(&feed.subscribe().borrow());
    if !documents.is_empty() {
        let mut sources: Vec<Source> = Vec::new();
        for path in documents {
            sources.extend(read_documents(path)?);
        }
        let documents = check(&sources, &catalog, now).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            ServiceError::Configuration(lines.join("\n"))
        })?;
        catalog.apply(catalog.version + 1, documents);
    }
    Ok(catalog)
}
