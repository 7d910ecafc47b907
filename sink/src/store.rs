//! A plan's rows into all their tables, and what cannot go there into the topic `dead-letters`.

use crate::backoff::Backoff;
use crate::client::problem;
use crate::columns::Tables;
use crate::decode::{Place, Placed, Rows, dead_letter};
use crate::erase::Eraser;
use crate::erased::{Erased, hex, unhex};
use crate::insert::{Refused, insert};
use crate::kept::keep_missing;
use crate::plan::Plan;
use crate::rows::Record as RowRecord;
use eventlog::{AppendError, EventLog, ReadError, ReadLimit, Record, StoredRecord};
use schemas::decision::CommandOutcome;
use schemas::{
    Click, Conversion, DeadLetter, DeliveryAttempt, PostbackOutcome, Redecision, Refusal, Topic,
    UnixMillis, codec,
};
use service::Clock;
use std::sync::Arc;
use std::time::Duration;

/// Dead letters of one append: each has up to 128 KiB of digits.
const DEAD_LETTERS_PER_APPEND: usize = 5;
/// How far ClickHouse's clock may be behind that of whoever made a plan. What was inserted since then
/// is read when the plan is carried out again; were the clock further behind, rows that are there
/// would come again, for the tables to collapse.
const CLOCK_SKEW_MS: i64 = 5 * 60 * 1_000;
/// For reading a refused record again; it was read a moment ago.
const READ_AGAIN_WAIT: Duration = Duration::from_secs(1);

/// Where rows end up.
pub struct Store {
    pub tables: Tables,
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

    /// Comes back when every row is in its table or is a durable dead letter. May be repeated with
    /// the same plan and rows, from the start, at any time.
    pub async fn put(&self, plan: &Plan, rows: &Rows) {
        let tables = &self.tables;
        let token = |table: &str| plan.token(table);
        let (
            clicks,
            postbacks,
            conversions,
            commands,
            redecisions,
            refused,
            dead_letters,
            deliveries,
        ) = (
            token(Click::TABLE),
            token(PostbackOutcome::TABLE),
            token(Conversion::TABLE),
            token(CommandOutcome::TABLE),
            token(Redecision::TABLE),
            token(Refusal::TABLE),
            token(DeadLetter::TABLE),
            token(DeliveryAttempt::TABLE),
        );
        let refused = tokio::join!(
            insert(tables, &clicks, &rows.clicks),
            insert(tables, &postbacks, &rows.postbacks),
            insert(tables, &conversions, &rows.conversions),
            insert(tables, &commands, &rows.commands),
            insert(tables, &redecisions, &rows.redecisions),
            insert(tables, &refused, &rows.refused),
            insert(tables, &dead_letters, &rows.dead_letters),
            insert(tables, &deliveries, &rows.deliveries),
        );
        for erasure in &rows.erasures {
            self.eraser.carry_out(erasure, &self.erased, &self.clock).await;
        }
        for letters in rows.broken.chunks(DEAD_LETTERS_PER_APPEND) {
            self.bury("unreadable", letters).await;
        }
        let (a, b, c, d, e, f, g, h) = refused;
        for refused in [a, b, c, d, e, f, g, h].into_iter().flatten() {
            self.bury_refused(refused).await;
        }
    }

    /// The same for a plan that somebody may have begun: leaves out what is there, and looks
    /// afterwards whether what it brought is really there.
    pub async fn put_again(&self, plan: &Plan, mut rows: Rows) {
        let since_ms = plan.made_at_ms().saturating_sub(CLOCK_SKEW_MS);
        self.keep_missing(&mut rows, since_ms).await;
        self.put(plan, &rows).await;
        self.keep_missing(&mut rows, since_ms).await;
        tokio::join!(
            self.restore(plan, rows.clicks),
            self.restore(plan, rows.postbacks),
            self.restore(plan, rows.conversions),
            self.restore(plan, rows.commands),
            self.restore(plan, rows.redecisions),
            self.restore(plan, rows.refused),
            self.restore(plan, rows.dead_letters),
            self.restore(plan, rows.deliveries),
        );
    }

    async fn keep_missing(&self, rows: &mut Rows, since_ms: i64) {
        let client = self.tables.client();
        tokio::join!(
            keep_missing(client, &mut rows.clicks, since_ms),
            keep_missing(client, &mut rows.postbacks, since_ms),
            keep_missing(client, &mut rows.conversions, since_ms),
            keep_missing(client, &mut rows.commands, since_ms),
            keep_missing(client, &mut rows.redecisions, since_ms),
            keep_missing(client, &mut rows.refused, since_ms),
            keep_missing(client, &mut rows.dead_letters, since_ms),
            keep_missing(client, &mut rows.deliveries, since_ms),
        );
    }

    /// Inserts what is not there although ClickHouse took it, under a token that was never used.
    /// What is refused is a dead letter already.
    async fn restore<M: RowRecord>(&self, plan: &Plan, rows: Vec<Placed<M>>) {
        if rows.is_empty() {
            return;
        }
        let (table, count) = (M::TABLE, rows.len());
        tracing::warn!(
            plan = plan.id,
            table,
            count,
            "ClickHouse lost rows it had taken; they go again"
        );
        let token = format!("{}:again:{}", plan.token(table), uuid::Uuid::now_v7().simple());
        insert(&self.tables, &token, &rows).await;
        metrics::counter!("gokart_sink_rows_restored_total", "table" => table)
            .increment(rows.len() as u64);
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
