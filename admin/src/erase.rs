//! Requests to erase what is personal about some clicks. Like a decision by hand, a request goes the
//! way of all data: into the log, from where the sink carries it out; then its record is waited for.

use crate::by_hand::REASON_CHARS_MAX;
use crate::config::ERASURE_WAIT;
use crate::error::Error;
use crate::warehouse::{Question, Warehouse};
use bytes::Bytes;
use eventlog::{EventLog, Record};
use keyring::Keyring;
use schemas::click::SUB_ID_BYTES_MAX;
use schemas::{Erasure, ErasureKind, Topic, UnixMillis, codec};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// How often the record is looked for.
const POLL: Duration = Duration::from_millis(200);
/// Longest name of whoever asks, in characters.
const NAME_CHARS_MAX: usize = 200;

/// What is asked for.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ErasureRequest {
    /// `click` or `sub1` to `sub15`.
    pub kind: ErasureKind,
    pub value: String,
    /// Who asks for it, and why, in the operator's own words; kept.
    pub requested_by: String,
    pub reason: String,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct ErasureReport {
    pub erasure_id: String,
    pub kind: String,
    pub value_hash: String,
    /// RFC 3339, in UTC; none while it is still under way.
    pub completed_at: Option<String>,
    /// Rows that were made anonymous or removed.
    pub clicks: u64,
    pub postbacks: u64,
    pub conversions: u64,
    pub deliveries: u64,
    pub refused: u64,
    pub dead_letters: u64,
}

#[derive(Debug, Deserialize)]
struct Done {
    completed_at: String,
    clicks: u64,
    postbacks: u64,
    conversions: u64,
    deliveries: u64,
    refused: u64,
    dead_letters: u64,
}

/// Sends a request and waits until it was carried out, for a while.
pub async fn erase(
    log: &dyn EventLog,
    warehouse: &Warehouse,
    keyring: &Keyring,
    asked: ErasureRequest,
    now: UnixMillis,
) -> Result<ErasureReport, Error> {
    check(&asked)?;
    if asked.kind == ErasureKind::Click && keyring.open(&asked.value).is_err() {
        return Err(Error::bad_request("the value is not a click id of this installation")
            .with_hint("name a sub-id instead, e.g. --sub1"));
    }
    let ErasureRequest { kind, value, requested_by, reason } = asked;
    let erasure = Erasure {
        erasure_id: Uuid::now_v7(),
        requested_at: now,
        requested_by: requested_by.trim().to_owned(),
        reason: reason.trim().to_owned(),
        kind,
        value_hash: keyring.erasure_hash(&kind.to_string(), &value),
        value,
    };
    let record = Record { key: Bytes::new(), value: codec::encode(&erasure).into(), at: now };
    log.append(Topic::Erasures, 0, vec![record]).await.map_err(|error| Error::Unavailable {
        message: error.to_string(),
        hint: Some("asking for the same erasure again is safe".to_owned()),
    })?;
    tracing::info!(erasure = %erasure.erasure_id, %kind, "an erasure was asked for");
    let done = done(warehouse, erasure.erasure_id).await?;
    let count = |of: fn(&Done) -> u64| done.as_ref().map_or(0, of);
    Ok(ErasureReport {
        erasure_id: erasure.erasure_id.to_string(),
        kind: kind.to_string(),
        value_hash: erasure.value_hash,
        clicks: count(|it| it.clicks),
        postbacks: count(|it| it.postbacks),
        conversions: count(|it| it.conversions),
        deliveries: count(|it| it.deliveries),
        refused: count(|it| it.refused),
        dead_letters: count(|it| it.dead_letters),
        completed_at: done.map(|it| it.completed_at),
    })
}

fn check(asked: &ErasureRequest) -> Result<(), Error> {
    let wrong = |text: String| Err(Error::bad_request(text));
    let ErasureRequest { value, requested_by, reason, .. } = asked;
    if value.is_empty() || value.len() > SUB_ID_BYTES_MAX {
        return wrong(format!("value: must have 1 to {SUB_ID_BYTES_MAX} bytes"));
    }
    for (name, text, most) in [
        ("requested_by", requested_by.trim(), NAME_CHARS_MAX),
        ("reason", reason.trim(), REASON_CHARS_MAX),
    ] {
        if text.is_empty() || text.chars().count() > most {
            return wrong(format!("{name}: must have 1 to {most} characters"));
        }
        if text.contains(value.as_str()) {
            return wrong(format!("{name}: holds the value that is to be erased, and is kept"));
        }
    }
    Ok(())
}

/// Waits for the sink's record; none when it takes longer.
async fn done(warehouse: &Warehouse, id: Uuid) -> Result<Option<Done>, Error> {
    const SQL: &str = "SELECT formatDateTime(completed_at, '%Y-%m-%dT%H:%i:%SZ', 'UTC') AS completed_at, clicks, \
        postbacks, conversions, deliveries, refused, dead_letters FROM erasures_unique WHERE erasure_id = {id:UUID}";
    let deadline = tokio::time::Instant::now() + ERASURE_WAIT;
    loop {
        let found = warehouse.rows(Question::new(SQL).bind("id", id)).await?;
        if let Some(done) = found.into_iter().next() {
            return Ok(Some(done));
        }
        if tokio::time::Instant::now() >= deadline {
            return Ok(None);
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused() {
        let asked = |value: &str, by: &str, reason: &str| ErasureRequest {
            kind: ErasureKind::Sub(1),
            value: value.to_owned(),
            requested_by: by.to_owned(),
            reason: reason.to_owned(),
        };
        assert!(check(&asked("user-1", "support", "asked by the user")).is_ok());
        for (value, by, reason, told) in [
            ("", "support", "asked", "value"),
            ("user-1", "", "asked", "requested_by"),
            ("user-1", "support", "  ", "reason"),
            ("user-1", "support", "user-1 asked", "reason: holds the value"),
            (&*"x".repeat(513), "support", "asked", "value"),
        ] {
            let error = check(&asked(value, by, reason)).unwrap_err();
            assert!(error.to_string().starts_with(told), "{error}");
        }
    }
}
