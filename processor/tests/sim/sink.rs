//! A small model of the sink, by its documented protocol: the plan is written down beside the
//! committed offsets, then the rows go with the plan's token, then the offsets are committed. A
//! plan found written down is carried out again first; one that is here only in part becomes a
//! plan of its own for each partition.

use super::Broken;
use super::history::lock;
use super::table::{Row, SharedTables};
use eventlog::simulated::SimulatedLog;
use eventlog::{
    CommitError, EventLog, GroupEvent, GroupMember, Offset, Position, ReadError, ReadLimit, Reader,
};
use schemas::codec::{parse_body, split};
use schemas::{Decision, Message, Topic};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const GROUP: &str = "sink";
const LIMIT: ReadLimit = ReadLimit { records: 7, bytes: 1 << 20, wait: Duration::ZERO };

/// Ranges of offsets of `decisions` by partition: from, end.
type Ranges = BTreeMap<u32, (Offset, Offset)>;

/// What several sinks have done, for the judge.
#[derive(Debug, Default)]
pub struct Progress {
    pub plans: u64,
    /// Offsets committed as done.
    pub done: BTreeMap<u32, Offset>,
    pub broken: Option<Broken>,
}

pub type SharedProgress = Arc<Mutex<Progress>>;

pub struct Sink {
    pub log: Arc<SimulatedLog>,
    pub tables: SharedTables,
    pub progress: SharedProgress,
    /// Wrongly built: offsets first, rows after.
    pub commits_first: bool,
}

/// What ends a stretch of work with the same partitions.
enum Interruption {
    /// Something else is ours now, or nobody knows: join again.
    Rejoin,
    Broken(Broken),
}

impl From<ReadError> for Interruption {
    fn from(_: ReadError) -> Self {
        Self::Rejoin
    }
}

impl From<CommitError> for Interruption {
    fn from(_: CommitError) -> Self {
        Self::Rejoin
    }
}

impl Sink {
    /// Works until it is dropped.
    pub async fn run(self) {
        loop {
            match self.work().await {
                Err(Interruption::Broken(broken)) => {
                    lock(&self.progress).broken.get_or_insert(broken);
                    return;
                }
                Err(Interruption::Rejoin) => tokio::task::yield_now().await,
                Ok(()) => {}
            }
        }
    }

    async fn work(&self) -> Result<(), Interruption> {
        let mut member = self.log.join(GROUP, &[Topic::Decisions]).await?;
        let mut owned = BTreeMap::new();
        loop {
            // Until nobody has told us of a change, what we own may not be all.
            while take_notice(&mut *member, &mut owned).await? {}
            let mut starts = self.recover(&mut *member, &owned).await?;
            for (partition, position) in &mut owned {
                position.next_offset = starts[partition];
                position.note.clear();
            }
            self.note_done(&starts);
            while !take_notice(&mut *member, &mut owned).await? {
                tokio::task::yield_now().await;
                let (ranges, rows) = self.gather(&mut starts).await?;
                if ranges.is_empty() {
                    continue;
                }
                let id = self.new_plan();
                self.flush(&mut *member, &id, &ranges, &rows, false).await?;
                for (partition, (_, end)) in ranges {
                    let note = String::new();
                    let topic = Topic::Decisions;
                    owned.insert(partition, Position { topic, partition, next_offset: end, note });
                }
            }
        }
    }

    fn new_plan(&self) -> String {
        let mut progress = lock(&self.progress);
        progress.plans += 1;
        format!("plan-{}", progress.plans)
    }

    /// Carries out what was written down and not committed; says where to read on.
    async fn recover(
        &self,
        member: &mut dyn GroupMember,
        owned: &BTreeMap<u32, Position>,
    ) -> Result<BTreeMap<u32, Offset>, Interruption> {
        let mut starts = BTreeMap::new();
        let mut open: BTreeMap<String, (usize, Ranges)> = BTreeMap::new();
        for (partition, position) in owned {
            let mut start = position.next_offset;
            if !position.note.is_empty() {
                let (id, end, of) = read_note(&position.note)?;
                start = end;
                let (expected, ranges) = open.entry(id).or_default();
                *expected = of;
                ranges.insert(*partition, (position.next_offset, end));
            }
            starts.insert(*partition, start);
        }
        for (id, (of, ranges)) in open {
            if ranges.len() == of {
                self.replay(member, &id, &ranges).await?;
            } else {
                for (partition, range) in ranges {
                    let part = Ranges::from([(partition, range)]);
                    self.replay(member, &format!("{id}-{partition}"), &part).await?;
                }
            }
        }
        Ok(starts)
    }

    async fn replay(
        &self,
        member: &mut dyn GroupMember,
        id: &str,
        ranges: &Ranges,
    ) -> Result<(), Interruption> {
        let mut rows = Vec::new();
        for (&partition, &(from, end)) in ranges {
            let mut reader = self.log.read_from(Topic::Decisions, partition, from).await?;
            let limit = ReadLimit { records: (end - from) as usize, ..LIMIT };
            let (_, more) = read(&mut *reader, limit).await?;
            rows.extend(more);
        }
        self.flush(member, id, ranges, &rows, true).await
    }

    async fn gather(
        &self,
        starts: &mut BTreeMap<u32, Offset>,
    ) -> Result<(Ranges, Vec<Row>), Interruption> {
        let (mut ranges, mut rows) = (Ranges::new(), Vec::new());
        for (&partition, start) in starts {
            let mut reader = self.log.read_from(Topic::Decisions, partition, *start).await?;
            let (end, more) = read(&mut *reader, LIMIT).await?;
            if end > *start {
                ranges.insert(partition, (*start, end));
                rows.extend(more);
                *start = end;
            }
        }
        Ok((ranges, rows))
    }

    /// Write down, insert, commit; a crash may come between any two.
    async fn flush(
        &self,
        member: &mut dyn GroupMember,
        id: &str,
        ranges: &Ranges,
        rows: &[Row],
        is_written_down: bool,
    ) -> Result<(), Interruption> {
        let of = ranges.len();
        let positions = |at: &dyn Fn(Offset, Offset) -> (Offset, String)| {
            let position = |(&partition, &(from, end)): (&u32, &(Offset, Offset))| {
                let (next_offset, note) = at(from, end);
                Position { topic: Topic::Decisions, partition, next_offset, note }
            };
            ranges.iter().map(position).collect::<Vec<_>>()
        };
        let done = positions(&|_, end| (end, String::new()));
        if self.commits_first {
            member.commit(done.clone()).await?;
            tokio::task::yield_now().await;
        } else if !is_written_down {
            member.commit(positions(&|from, end| (from, format!("{id} {end} {of}")))).await?;
            tokio::task::yield_now().await;
        }
        while !lock(&self.tables).insert(id, rows) {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        if !self.commits_first {
            member.commit(done).await?;
        }
        self.note_done(&ranges.iter().map(|(partition, (_, end))| (*partition, *end)).collect());
        Ok(())
    }

    /// Rows before these offsets are in, as the committed offsets say.
    fn note_done(&self, ends: &BTreeMap<u32, Offset>) {
        let mut progress = lock(&self.progress);
        for (partition, end) in ends {
            let known = progress.done.entry(*partition).or_default();
            *known = (*known).max(*end);
        }
    }
}

/// One change of what is ours; false when there is none.
async fn take_notice(
    member: &mut dyn GroupMember,
    owned: &mut BTreeMap<u32, Position>,
) -> Result<bool, Interruption> {
    match member.next_event(Duration::ZERO).await? {
        None => return Ok(false),
        Some(GroupEvent::Assigned(positions)) => {
            owned.extend(positions.into_iter().map(|position| (position.partition, position)));
        }
        Some(GroupEvent::Revoked(places)) => {
            for (_, partition) in places {
                owned.remove(&partition);
            }
        }
    }
    Ok(true)
}

async fn read(
    reader: &mut dyn Reader,
    limit: ReadLimit,
) -> Result<(Offset, Vec<Row>), Interruption> {
    let batch = reader.read(limit).await?;
    let mut rows = Vec::new();
    for stored in &batch.records {
        let decision = split(&stored.record.value).and_then(|(version, kind, body)| {
            assert_eq!(kind, Decision::KIND, "only decisions are in this topic");
            parse_body::<Decision>(version, body)
        });
        match decision {
            Ok(decision) => rows.extend(Row::of(&decision)),
            Err(error) => {
                let broken = Broken::new("every decision can be read", error.to_string());
                return Err(Interruption::Broken(broken));
            }
        }
    }
    Ok((batch.next_offset, rows))
}

fn read_note(note: &str) -> Result<(String, Offset, usize), Interruption> {
    let mut words = note.split(' ');
    let read = (|| {
        let id = words.next()?.to_owned();
        Some((id, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    })();
    read.ok_or_else(|| Interruption::Broken(Broken::new("notes can be read", note.to_owned())))
}
