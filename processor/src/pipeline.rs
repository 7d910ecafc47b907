//! The way of one batch: read, let the timers that come first fire, decide each record, commit.
//!
//! [`decide`] is where it happens; it does no I/O but reading the partition's own state, so the
//! simulation runs it as it is.

use crate::config::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, CHANGES_PER_COMMIT_MAX, IDLE_TICK, TIMERS_PER_COMMIT_MAX,
};
use crate::outputs::Outputs;
use crate::overlay::Overlay;
use crate::partition_clock::PartitionClock;
use crate::resolve::{CLICK_PARAMETER, Opened, resolve};
use crate::{ProcessorConfig, ProcessorError};
use bytes::Bytes;
use eventlog::{Batch, Commit, OwnedPartition, PartitionState, ReadLimit, Record, StoredRecord};
use keyring::Keyring;
use rules::invariants::{Violation, check_outcomes};
use rules::{MoreDue, StepInput, Stepped, Store};
use schemas::codec::encode;
use schemas::{
    Catalog, DeadLetter, Input, OfferId, Postback, Topic, UnixMillis, topic::partition_of,
};
use service::{Clock, Shutdown};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::watch;

const READ_LIMIT: ReadLimit =
    ReadLimit { records: BATCH_RECORDS_MAX, bytes: BATCH_BYTES_MAX, wait: IDLE_TICK };
/// Where the version of the configuration stands in the partition's state that it has been told.
const CONFIG_VERSION_KEY: &[u8] = b"\0configuration";
/// Hexadecimal characters kept of a record that cannot be read.
const DEAD_LETTER_HEX_MAX: usize = 64 * 1024;

/// What every partition of this process decides with.
#[derive(Clone)]
pub struct Context {
    pub keyring: Arc<Keyring>,
    pub catalog: watch::Receiver<Arc<Catalog>>,
    pub clock: Clock,
    pub config: ProcessorConfig,
    /// Partitions of `postbacks`.
    pub partitions: u32,
}

/// Runs one partition until told to stop or until it is lost; `position` shows how far it is.
pub async fn run_partition(
    mut owned: Box<dyn OwnedPartition>,
    context: Context,
    position: Arc<AtomicU64>,
    stop: Shutdown,
) -> Result<(), ProcessorError> {
    let partition = owned.partition();
    while !stop.is_triggered() {
        // Taken before reading: what comes while this process is suspended after it is not passed.
        let asked_at = UnixMillis(context.clock.now());
        let batch =
            owned.read(READ_LIMIT).await.map_err(|e| ProcessorError::from_read(partition, e))?;
        let input = Asked { batch: &batch, asked_at };
        let mut done = 0;
        loop {
            let step = decide(&context, owned.state(), partition, input, done)?;
            done = step.records_done;
            if let Some(commit) = step.commit {
                let began = Instant::now();
                owned
                    .commit(commit)
                    .await
                    .map_err(|e| ProcessorError::from_commit(partition, e))?;
                metrics::histogram!("gokart_processor_commit_seconds").record(began.elapsed());
            }
            match step.next {
                Next::Batch => break,
                Next::SameBatch => {}
                Next::Configuration(version) => {
                    if !reaches_version(&context, partition, version, &stop).await {
                        return Ok(());
                    }
                }
            }
        }
        position.store(batch.next_offset, Ordering::Relaxed);
    }
    Ok(())
}

/// Waits for a version of the configuration that others have seen, so it is on its way; false when
/// told to stop. Deciding without it would refuse what an offer pays for.
async fn reaches_version(context: &Context, partition: u32, version: u64, stop: &Shutdown) -> bool {
    let mut catalog = context.catalog.clone();
    tracing::warn!(
        partition,
        version,
        "a newer configuration is in force than this processor has read; waiting for it"
    );
    tokio::select! {
        biased;
        () = stop.wait() => false,
        reached = catalog.wait_for(|catalog| catalog.version >= version) => reached.is_ok(),
    }
}

/// A batch, and the wall clock when it was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub batch: &'a Batch,
    pub asked_at: UnixMillis,
}

/// What to do after a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// All records are decided and no timer is due: read on.
    Batch,
    /// The commit was full: decide the rest of this batch.
    SameBatch,
    /// The next record's click, or the partition's past, is of this version of the configuration,
    /// which is not read yet.
    Configuration(u64),
}

/// One commit's worth of a batch.
#[derive(Debug)]
pub struct Step {
    /// None when nothing happened at all.
    pub commit: Option<Commit>,
    /// Records of the batch that are done with, counted from its beginning.
    pub records_done: usize,
    pub next: Next,
}

/// Decides the records of the batch from index `begin` on, as far as one commit goes.
pub fn decide(
    context: &Context,
    state: &dyn PartitionState,
    partition: u32,
    Asked { batch, asked_at }: Asked<'_>,
    begin: usize,
) -> Result<Step, ProcessorError> {
    let catalog = Arc::clone(&context.catalog.borrow());
    let wall = UnixMillis(context.clock.now());
    let mut worker = Worker {
        context,
        catalog: &catalog,
        partition,
        store: Overlay::new(state),
        out: Outputs::new(partition),
        wall,
    };
    let stored = state
        .get(PartitionClock::STATE_KEY)
        .map_err(|e| ProcessorError::from_read(partition, e))?;
    let mut clock = PartitionClock::from_state(stored.as_deref());
    let clock_before = clock;

    if let Some(version) = worker.take_configuration(clock.now())? {
        let next = Next::Configuration(version);
        return Ok(Step { commit: None, records_done: begin, next });
    }
    let mut done = begin;
    let mut timers = MoreDue::No;
    let mut unread_version = None;
    for stored in batch.records.get(begin..).unwrap_or_default() {
        match Input::decode(&stored.record.value) {
            Ok(input) => {
                let click = worker.open(&input);
                unread_version = click.version().filter(|version| *version > catalog.version);
                if unread_version.is_some() {
                    break;
                }
                clock.see_record(input.received_at(), wall);
                // A timer fires before a record that is later than it.
                timers = worker.fire_due(clock.now().plus_ms(-1))?;
                if timers == MoreDue::Yes {
                    break;
                }
                worker.step(stored, &input, &click, clock.now())?;
            }
            Err(error @ schemas::DecodeError::Malformed(_)) => {
                worker.dead_letter(stored, error.to_string());
            }
            Err(error) => {
                return Err(ProcessorError::newer_format(partition, stored.offset, &error));
            }
        }
        done += 1;
        if worker.store.changes() >= CHANGES_PER_COMMIT_MAX {
            break;
        }
    }
    let all_read = done >= batch.records.len();
    if all_read {
        if batch.at_end {
            clock.see_end(asked_at, context.config.clock_allowance_ms);
        }
        timers = worker.fire_due(clock.now())?;
    }

    let next_offset = match batch.records.get(done) {
        Some(next) => next.offset,
        None => batch.next_offset,
    };
    let is_idle = done == begin && worker.out.records.is_empty() && worker.store.changes() == 0;
    let commit = if is_idle {
        None
    } else {
        worker.out.tally.count();
        let outputs = std::mem::take(&mut worker.out.records);
        if clock != clock_before {
            worker
                .store
                .put(PartitionClock::STATE_KEY, &clock.to_state())
                .map_err(|e| ProcessorError::from_state(partition, e))?;
        }
        Some(Commit { outputs, state_changes: worker.store.into_changes(), next_offset })
    };
    let next = match unread_version {
        Some(version) => Next::Configuration(version),
        None if all_read && timers == MoreDue::No => Next::Batch,
        None => Next::SameBatch,
    };
    Ok(Step { commit, records_done: done, next })
}

/// The decisions of one commit as they come together.
struct Worker<'a> {
    context: &'a Context,
    catalog: &'a Catalog,
    partition: u32,
    store: Overlay<'a>,
    out: Outputs,
    wall: UnixMillis,
}

impl Worker<'_> {
    /// Fires the timers due at or before `clock`; says whether the commit is full and more wait.
    fn fire_due(&mut self, clock: UnixMillis) -> Result<MoreDue, ProcessorError> {
        self.out.at = clock;
        rules::fire_due(&mut self.store, self.catalog, clock, TIMERS_PER_COMMIT_MAX, &mut self.out)
            .map_err(|e| ProcessorError::from_state(self.partition, e))
    }

    /// Once for each version of the configuration: offers and shares may have become available.
    /// Gives the version that this partition has been decided with, when that is a newer one than
    /// this process has read: a partition's configuration never goes back.
    fn take_configuration(&mut self, now: UnixMillis) -> Result<Option<u64>, ProcessorError> {
        let failed = |error| ProcessorError::from_state(self.partition, error);
        let mut stored = Vec::new();
        self.store.get(CONFIG_VERSION_KEY, &mut stored).map_err(failed)?;
        let known = stored.try_into().map_or(0, u64::from_be_bytes);
        if known >= self.catalog.version {
            return Ok(Some(known).filter(|known| *known > self.catalog.version));
        }
        let version = self.catalog.version.to_be_bytes();
        self.store.put(CONFIG_VERSION_KEY, &version).map_err(failed)?;
        let (partition, partitions) = (self.partition, self.context.partitions);
        let owns = |root: &OfferId| partition_of(root, partitions) == partition;
        self.out.at = now;
        rules::configuration_changed(&mut self.store, self.catalog, owns, now, &mut self.out)
            .map_err(failed)?;
        Ok(None)
    }

    /// Opens the click ids that an input carries.
    fn open(&self, input: &Input) -> Opened {
        let Context { keyring, partitions, .. } = self.context;
        let open = |token: Option<&str>| resolve(keyring, token, self.partition, *partitions);
        let of = |postback: &Postback| open(postback.parameter(CLICK_PARAMETER));
        match input {
            Input::Postback(postback) => Opened::One(of(postback)),
            Input::Command(command) => Opened::One(open(Some(&command.click_id))),
            Input::ClickDetails(_) => Opened::One(open(None)),
            Input::Redecide(command) => {
                Opened::Each(command.postbacks.iter().map(of).collect(), command.config_version)
            }
        }
    }

    fn step(
        &mut self,
        stored: &StoredRecord,
        input: &Input,
        click: &Opened,
        now: UnixMillis,
    ) -> Result<(), ProcessorError> {
        let partitions = self.context.partitions;
        let clicks;
        let step_input = match input {
            Input::Postback(postback) => {
                click.reference().map(|click| StepInput::Postback { postback, click })
            }
            Input::Command(command) => {
                click.reference().map(|click| StepInput::Command { command, click })
            }
            Input::Redecide(command) => match click.references() {
                Ok(each) => {
                    clicks = each;
                    Ok(StepInput::Redecide { command, clicks: &clicks })
                }
                Err(home) => Err(home),
            },
            Input::ClickDetails(details) => match partition_of(&details.root_offer, partitions) {
                home if home == self.partition => Ok(StepInput::ClickDetails(details)),
                home => Err(home),
            },
        };
        match step_input {
            Ok(step_input) => {
                self.out.at = now;
                let told = self.out.outcomes;
                let stepped =
                    rules::step(&mut self.store, self.catalog, step_input, now, &mut self.out)
                        .map_err(|e| ProcessorError::from_state(self.partition, e))?;
                self.check_outcomes(input, stepped, self.out.outcomes - told);
            }
            // This worker does not own the offer's caps and budget.
            Err(home) => self.dead_letter(
                stored,
                format!(
                    "it belongs to partition {home}, not {}: the number of partitions was changed without re-keying",
                    self.partition
                ),
            ),
        }
        Ok(())
    }

    /// Every input that is decided has one outcome.
    fn check_outcomes(&mut self, input: &Input, stepped: Stepped, told: usize) {
        if let Err(invariant) = check_outcomes(stepped, told) {
            let postback_id = match input {
                Input::Postback(postback) => Some(postback.postback_id),
                Input::Command(_) | Input::ClickDetails(_) | Input::Redecide(_) => None,
            };
            self.out.report(&Violation { invariant, conversion_id: None, postback_id });
        }
    }

    /// Puts a record aside, with its position and the reason; it never blocks its partition.
    fn dead_letter(&mut self, stored: &StoredRecord, error: String) {
        tracing::warn!(partition = self.partition, offset = stored.offset, %error, "a record was put aside as a dead letter");
        metrics::counter!("gokart_dead_letters_total", "topic" => Topic::Postbacks.name())
            .increment(1);
        let value_hex = hex(&stored.record.value, DEAD_LETTER_HEX_MAX);
        let letter = DeadLetter {
            topic: Topic::Postbacks.name().to_owned(),
            partition: self.partition,
            offset: stored.offset,
            found_at: self.wall,
            error,
            value_hex,
        };
        let record = Record { key: Bytes::new(), value: encode(&letter).into(), at: self.wall };
        self.out.records.push((Topic::DeadLetters, 0, record));
    }
}

/// At most `limit` hexadecimal characters of `bytes`.
fn hex(bytes: &[u8], limit: usize) -> String {
    use std::fmt::Write;
    bytes.iter().take(limit / 2).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
