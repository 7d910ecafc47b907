//! What was erased, as every sink knows it, so that rows which come later (from a log that still holds
//! them, or with a click id that an advertiser sends back) are made anonymous before they are inserted.
//!
//! Clicks are known by a hash: from the table `erased_clicks`, and for as long as the log has a
//! request, from there. A value of a sub-id counts for clicks of before the request only; the same
//! value in a later click is new.

use crate::backoff::Backoff;
use crate::client::problem;
use crate::decode::Rows;
use clickhouse::Client;
use eventlog::{EventLog, ReadLimit};
use schemas::{Erasure, ErasureKind, SubIds, Topic, UnixMillis, codec};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::task::JoinSet;

/// How often the table is looked at for what other sinks have found.
const REFRESH: Duration = Duration::from_secs(10);
/// Requests about sub-ids that are held against every row; the oldest give way.
const VALUES_MAX: usize = 1_000;
/// The whole topic is small.
const READ: ReadLimit = ReadLimit { records: 1_000, bytes: 1 << 20, wait: REFRESH };

/// A SHA-256 of a click id.
pub type ClickHash = [u8; 32];

#[derive(Debug, Default)]
struct Known {
    clicks: HashSet<ClickHash>,
    values: Vec<(u8, String, UnixMillis)>,
}

/// Shared by everything that inserts.
#[derive(Debug, Clone, Default)]
pub struct Erased {
    known: Arc<RwLock<Known>>,
}

/// The hash by which an erased click is known.
#[must_use]
pub fn click_hash(click_id: &str) -> ClickHash {
    Sha256::digest(click_id.as_bytes()).into()
}

/// As the tables have it.
#[must_use]
pub fn hex(hash: &ClickHash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What stands in a row instead of an erased click's id.
#[must_use]
pub fn pseudonym(click_id: &str) -> String {
    format!("erased-{}", &hex(&click_hash(click_id))[..32])
}

impl Erased {
    /// Takes note of a request.
    pub fn note(&self, erasure: &Erasure) {
        let Ok(mut known) = self.known.write() else { return };
        match erasure.kind {
            ErasureKind::Click => drop(known.clicks.insert(click_hash(&erasure.value))),
            ErasureKind::Sub(number) => {
                let value = (number, erasure.value.clone(), erasure.requested_at);
                if !known.values.contains(&value) {
                    if known.values.len() == VALUES_MAX {
                        tracing::warn!(
                            VALUES_MAX,
                            "so many erasures by sub-id are held against new rows; the oldest gives way"
                        );
                        known.values.remove(0);
                    }
                    known.values.push(value);
                }
            }
        }
    }

    /// Takes note of clicks.
    pub fn add(&self, clicks: impl IntoIterator<Item = ClickHash>) {
        if let Ok(mut known) = self.known.write() {
            known.clicks.extend(clicks);
        }
    }

    /// Takes what is personal out of the rows of erased clicks. Gives the clicks that were found by
    /// a sub-id just now, which nobody else knows.
    pub fn apply(&self, rows: &mut Rows) -> Vec<ClickHash> {
        let Ok(known) = self.known.read() else { return Vec::new() };
        if known.clicks.is_empty() && known.values.is_empty() {
            return Vec::new();
        }
        let by_sub = |subs: &SubIds, at: UnixMillis| {
            known.values.iter().any(|(number, value, requested_at)| {
                at <= *requested_at && subs.get(usize::from(*number)) == Some(value)
            })
        };
        let mut found = HashSet::new();
        for click in rows.clicks.iter().map(|row| &row.message) {
            if by_sub(&click.subs, click.clicked_at) {
                found.insert(click_hash(&click.click_id));
            }
        }
        for conversion in rows.conversions.iter().map(|row| &row.message) {
            if by_sub(&conversion.subs, conversion.clicked_at) {
                found.insert(click_hash(&conversion.click_id));
            }
        }
        let is_erased = |click_id: &str| {
            let hash = click_hash(click_id);
            known.clicks.contains(&hash) || found.contains(&hash)
        };
        for click in rows.clicks.iter_mut().map(|row| &mut row.message) {
            if is_erased(&click.click_id) {
                click.click_id = pseudonym(&click.click_id);
                click.subs = SubIds::default();
            }
        }
        for postback in rows.postbacks.iter_mut().map(|row| &mut row.message) {
            if is_erased(&postback.click_id) {
                postback.click_id = pseudonym(&postback.click_id);
                postback.parameters.clear();
            }
        }
        for again in rows.redecisions.iter_mut().map(|row| &mut row.message) {
            if is_erased(&again.outcome.click_id) {
                again.outcome.click_id = pseudonym(&again.outcome.click_id);
                again.outcome.parameters.clear();
                again.note.clear();
            }
        }
        for conversion in rows.conversions.iter_mut().map(|row| &mut row.message) {
            if is_erased(&conversion.click_id) {
                conversion.click_id = pseudonym(&conversion.click_id).into();
                conversion.subs = SubIds::default();
                conversion.transaction_id = None;
                conversion.note.clear();
            }
        }
        for delivery in rows.deliveries.iter_mut().map(|row| &mut row.message) {
            if is_erased(&delivery.click_id) {
                delivery.click_id = pseudonym(&delivery.click_id).into();
            }
        }
        found.retain(|hash| !known.clicks.contains(hash));
        found.into_iter().collect()
    }

    /// Reads all that is known now, then goes on following it in a task of its own.
    pub async fn follow(&self, client: Client, log: Arc<dyn EventLog>) -> JoinSet<()> {
        self.refresh(&client).await;
        let mut next = None;
        self.read_requests(&*log, &mut next, Duration::from_millis(1)).await;
        let erased = self.clone();
        // Ends with what is given back.
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                erased.read_requests(&*log, &mut next, REFRESH).await;
                erased.refresh(&client).await;
            }
        });
        task
    }

    /// Reads the topic from `next` to its end, having waited for a first record.
    async fn read_requests(&self, log: &dyn EventLog, next: &mut Option<u64>, wait: Duration) {
        let mut backoff = Backoff::default();
        loop {
            let read = async {
                let from = match *next {
                    Some(from) => from,
                    None => log.bounds(Topic::Erasures, 0).await?.first,
                };
                let mut reader = log.read_from(Topic::Erasures, 0, from).await?;
                let batch = reader.read(ReadLimit { wait, ..READ }).await?;
                Ok::<_, eventlog::ReadError>((from, batch))
            };
            match read.await {
                Ok((from, batch)) => {
                    for stored in &batch.records {
                        // One that is broken becomes a dead letter where it is carried out.
                        if let Ok(erasure) = codec::decode::<Erasure>(&stored.record.value) {
                            self.note(&erasure);
                        }
                    }
                    *next = Some(batch.next_offset.max(from));
                    if batch.at_end || batch.records.is_empty() {
                        return;
                    }
                }
                Err(error) => {
                    metrics::counter!("gokart_sink_retries_total", "what" => "erasures")
                        .increment(1);
                    tracing::warn!(%error, "the requests for erasure cannot be read; trying again");
                    // Retention has passed it: what is left is read from its start.
                    *next = None;
                    backoff.wait().await;
                }
            }
        }
    }

    async fn refresh(&self, client: &Client) {
        let mut backoff = Backoff::default();
        loop {
            let query = "SELECT toString(click_hash) FROM erased_clicks";
            match client.query_raw(query).fetch_all::<String>().await {
                Ok(rows) => return self.add(rows.iter().filter_map(|text| unhex(text))),
                Err(error) => {
                    metrics::counter!("gokart_sink_retries_total", "what" => "erasures")
                        .increment(1);
                    let problem = problem(&error);
                    tracing::warn!(
                        problem,
                        "the list of erased clicks cannot be read; trying again"
                    );
                    backoff.wait().await;
                }
            }
        }
    }
}

/// The other way round; `None` when it is no hash.
#[must_use]
pub fn unhex(text: &str) -> Option<ClickHash> {
    let mut hash = [0; 32];
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_survive_their_text() {
        let hash = click_hash("abc");
        assert_eq!(unhex(&hex(&hash)), Some(hash));
        assert_eq!(pseudonym("abc"), "erased-ba7816bf8f01cfea414140de5dae2223");
        assert_eq!(unhex("zz"), None);
    }
}
