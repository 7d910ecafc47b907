//! A plan's rows into all their tables, and what cannot go there into the topic `dead-letters`.

use crate::backoff::Backoff;
use crate::bring::{Before, bring};
use crate::client::problem;
use crate::columns::Tables;
use crate::decode::{Place, Rows, dead_letter};
use crate::erase::Eraser;
use crate::erased::{Erased, hex, unhex};
use crate::insert::Refused;
use crate::plan::Plan;
use eventlog::{AppendError, EventLog, ReadError, ReadLimit, Record, StoredRecord};
use schemas::{DeadLetter, Topic, UnixMillis, codec};
use service::Clock;
use std::sync::Arc;
use std::time::Duration;

/// Dead letters of one append: each has up to 128 KiB of digits.
const DEAD_LETTERS_PER_APPEND: usize = 5;
/// For reading a refused record again; it was read a moment ago.
const READ_AGAIN_WAIT: Duration = Duration::from_secs(1);

/// Where rows end up.
pub struct Store {
    pub tables: Tables,
    /// Whether the tables are replicated.
    pub is_cluster: bool,
    pub eraser: Eraser,
    pub erased: Erased,
    pub log: Arc<dyn EventLog>,
    pub clock: Clock,
}

impl Store {
    /// Takes what is personal out of the rows of erased clicks.
    pub async fn anonymise(&self, rows: &mut Rows) {
        let found = self.erased.apply(rows);
        let found: Vec<String> = found.iter().map(hex).collect();
        let mut backoff = Backoff::default();
        while let Err(error) = self.eraser.remember(&found).await {
            metrics::counter!("gokart_sink_retries_total", "what" => "erasures").increment(1);
            let problem = problem(&error);
            tracing::warn!(problem, "erased clicks cannot be remembered; trying again");
            backoff.wait().await;
        }
        self.erased.add(found.iter().filter_map(|hash| unhex(hash)));
    }

    /// Comes back when every row of a plan that was just made is in its table or is a durable dead
    /// letter.
    pub async fn put(&self, plan: &Plan, rows: &Rows) {
        self.bring(plan, Before::Nothing, rows).await;
    }

    /// The same for a plan that was found written down: somebody may have begun it. May be repeated
    /// with the same plan and rows, from the start, at any time.
    pub async fn put_again(&self, plan: &Plan, rows: &Rows) {
        let before = if self.is_cluster { Before::AnythingOnCluster } else { Before::Anything };
        self.bring(plan, before, rows).await;
    }

    async fn bring(&self, plan: &Plan, before: Before, rows: &Rows) {
        let tables = &self.tables;
        let (a, b, c, d, e, f, g, h) = tokio::join!(
            bring(tables, plan, before, &rows.clicks),
            bring(tables, plan, before, &rows.postbacks),
            bring(tables, plan, before, &rows.conversions),
            bring(tables, plan, before, &rows.commands),
            bring(tables, plan, before, &rows.redecisions),
            bring(tables, plan, before, &rows.refused),
            bring(tables, plan, before, &rows.dead_letters),
            bring(tables, plan, before, &rows.deliveries),
        );
        for letters in rows.broken.chunks(DEAD_LETTERS_PER_APPEND) {
            self.bury("unreadable", letters).await;
        }
        for refused in [a, b, c, d, e, f, g, h].into_iter().flatten() {
            self.bury_refused(refused).await;
        }
        // Last: what an erasure took away would be missed, and come again.
        for erasure in &rows.erasures {
            self.eraser.carry_out(erasure, &self.erased, &self.clock).await;
        }
    }

    /// A row that ClickHouse does not take becomes a dead letter. A dead letter that it does not
    /// take is only logged: it would come back for ever.
    async fn bury_refused(&self, Refused { place, problem }: Refused) {
        let Place { source: (topic, partition), offset } = place;
        tracing::error!(%topic, partition, offset, problem, "ClickHouse refuses this record's row");
        if topic == Topic::DeadLetters {
            count("refused", 1);
            return;
        }
        let stored = match self.read_again(place).await {
            Ok(Some(stored)) => stored,
            // Its place and the reason are still worth keeping.
            Ok(None) | Err(_) => StoredRecord { offset, record: without_value(self.now()) },
        };
        self.bury("refused", &[dead_letter(place, &stored, problem, self.now())]).await;
    }

    async fn read_again(&self, place: Place) -> Result<Option<StoredRecord>, ReadError> {
        let (topic, partition) = place.source;
        let mut reader = self.log.read_from(topic, partition, place.offset).await?;
        let limit = ReadLimit { records: 1, bytes: 1, wait: READ_AGAIN_WAIT };
        let batch = reader.read(limit).await?;
        Ok(batch.records.into_iter().find(|stored| stored.offset == place.offset))
    }

    /// Appends dead letters until they are durable.
    async fn bury(&self, cause: &'static str, letters: &[DeadLetter]) {
        let record = |letter: &DeadLetter| Record {
            value: codec::encode(letter).into(),
            ..without_value(letter.found_at)
        };
        let records: Vec<Record> = letters.iter().map(record).collect();
        let mut backoff = Backoff::default();
        loop {
            match self.log.append(Topic::DeadLetters, 0, records.clone()).await {
                Ok(_) => break,
                Err(AppendError::Refused(problem)) => {
                    tracing::error!(problem, "the event log refuses dead letters; they are lost");
                    break;
                }
                // Unknown too: the table collapses one that is there twice.
                Err(error) => {
                    metrics::counter!("gokart_sink_retries_total", "what" => "dead-letter")
                        .increment(1);
                    tracing::warn!(%error, "dead letters cannot be written; trying again");
                    backoff.wait().await;
                }
            }
        }
        count(cause, letters.len());
    }

    fn now(&self) -> UnixMillis {
        UnixMillis(self.clock.now())
    }
}

fn count(cause: &'static str, letters: usize) {
    metrics::counter!("gokart_sink_dead_letters_total", "cause" => cause).increment(letters as u64);
}

fn without_value(at: UnixMillis) -> Record {
    Record { key: bytes::Bytes::new(), value: bytes::Bytes::new(), at }
}
