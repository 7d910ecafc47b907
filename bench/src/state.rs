//! State in bulk: the changelog's entries about one click, again and again for other clicks.
//!
//! | entry | key | value |
//! | --- | --- | --- |
//! | the click | `s` `c` click (time 6 bytes, random 8) | 3 bytes, expiry (3 bytes, hours), and what is relative to its time |
//! | its expiry | `s` `t` due (6 bytes) kind `c` click | |
//!
//! A copy is what the rules would have written about a click of that time, and a postback of it
//! finds it. The expiry is in whole hours, so a copy's may be an hour late.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use eventlog::kafka::KafkaLog;
use eventlog::{EventLog, ReadLimit, Record};
use indicatif::ProgressBar;
use schemas::Topic;
use schemas::time::{DAY_MS, HOUR_MS};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Clicks in bulk were made over so long, so their expiry is spread as well.
pub const SPREAD_MS: u64 = 20 * DAY_MS as u64;
const BATCH_CLICKS: usize = 500;
/// Batches on their way.
const IN_FLIGHT: usize = 16;
const READ: ReadLimit =
    ReadLimit { records: 10_000, bytes: 8 << 20, wait: Duration::from_millis(100) };

const CLICK: &[u8] = b"sc";
const TIMER: &[u8] = b"st";
const TIME_BYTES: usize = 6;
const CLICK_BYTES: usize = 14;
/// Before the lane and the click in the key of its expiry: tag, due time, kind.
const TIMER_HEAD: usize = 2 + TIME_BYTES + 1;
/// Where the expiry stands in the value of a click.
const EXPIRY_HOURS: std::ops::Range<usize> = 3..6;

/// What tells one copy from another.
#[derive(Debug, Clone, Copy)]
pub struct Copied {
    /// It was made so much earlier than the click that is copied.
    pub earlier_ms: u64,
    /// The random part of its key.
    pub random: [u8; 8],
}

/// The entries of one click as the changelog has them.
pub struct Template {
    click: Record,
    timer: Record,
}

impl Template {
    /// Finds them among the records of a partition's changelog, which is of one click.
    ///
    /// # Errors
    /// When there is another number of clicks, or when the click is more than these two entries.
    pub fn read(records: Vec<Record>) -> Result<Self> {
        let mut last: BTreeMap<Bytes, Record> = BTreeMap::new();
        for record in records {
            last.insert(record.key.clone(), record);
        }
        last.retain(|_, record| !record.value.is_empty());
        let is_click = |key: &[u8]| key.starts_with(CLICK) && key.len() == 2 + CLICK_BYTES;
        let mut clicks = last.values().filter(|record| is_click(&record.key));
        let click = clicks.next().context("the changelog has no click")?;
        ensure!(clicks.next().is_none(), "more than one click in a partition");
        ensure!(click.value.len() > EXPIRY_HOURS.end, "the click has no expiry in it");
        let slot = &click.key[1..];
        let mut timers = last.values().filter(|record| {
            record.key.starts_with(TIMER)
                && record.key.len() == TIMER_HEAD + slot.len()
                && record.key.ends_with(slot)
        });
        let timer = timers.next().context("the click has no expiry")?;
        ensure!(timers.next().is_none(), "the click is more than two entries");
        Ok(Self { click: click.clone(), timer: timer.clone() })
    }

    /// Reads a partition's changelog, which is of one click, and finds them there.
    ///
    /// # Errors
    /// As [`Self::read`], and when the log cannot be read.
    pub async fn of(log: &Arc<KafkaLog>, partition: u32) -> Result<Self> {
        let bounds = log.bounds(Topic::ProcessorState, partition).await?;
        let mut reader = log.read_from(Topic::ProcessorState, partition, bounds.first).await?;
        let (mut at, mut records) = (bounds.first, Vec::new());
        while at < bounds.end {
            let batch = reader.read(READ).await?;
            at = batch.next_offset;
            records.extend(batch.records.into_iter().map(|stored| stored.record));
        }
        Self::read(records)
    }

    /// The same for another click.
    fn copy(&self, Copied { earlier_ms, random }: Copied) -> [Record; 2] {
        let earlier_hours = earlier_ms / HOUR_MS as u64;
        let mut key = self.click.key.to_vec();
        shift(&mut key[2..2 + TIME_BYTES], earlier_ms);
        key[2 + TIME_BYTES..].copy_from_slice(&random);
        let mut value = self.click.value.to_vec();
        shift(&mut value[EXPIRY_HOURS], earlier_hours);
        let mut timer = self.timer.key.to_vec();
        shift(&mut timer[2..2 + TIME_BYTES], earlier_hours * HOUR_MS as u64);
        timer[TIMER_HEAD..].copy_from_slice(&key[1..]);
        let at = self.click.at;
        [
            Record { key: key.into(), value: value.into(), at },
            Record { key: timer.into(), ..self.timer.clone() },
        ]
    }
}

/// A number of at most eight bytes, highest first, less so much.
fn shift(bytes: &mut [u8], less: u64) {
    let mut wide = [0; 8];
    let begin = wide.len() - bytes.len();
    wide[begin..].copy_from_slice(bytes);
    let number = u64::from_be_bytes(wide).saturating_sub(less);
    bytes.copy_from_slice(&number.to_be_bytes()[begin..]);
}

/// Appends copies to a partition of the changelog.
///
/// # Errors
/// When the log does not take them.
pub async fn write(
    log: &Arc<KafkaLog>,
    partition: u32,
    template: &Template,
    clicks: impl Iterator<Item = Copied>,
    bar: &ProgressBar,
) -> Result<()> {
    let mut appends = JoinSet::new();
    let mut clicks = clicks.peekable();
    while clicks.peek().is_some() {
        let batch = clicks.by_ref().take(BATCH_CLICKS);
        let records: Vec<Record> = batch.flat_map(|it| template.copy(it)).collect();
        bar.inc(records.len() as u64 / 2);
        appends.spawn(log.append(Topic::ProcessorState, partition, records));
        while appends.len() >= IN_FLIGHT {
            appends.join_next().await.context("no append")???;
        }
    }
    while let Some(done) = appends.join_next().await {
        done??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::UnixMillis;

    const DUE: i64 = 9 << 24;

    #[test]
    fn a_copy_is_another_click_with_its_own_times() {
        let record = |key: &[&[u8]], value: &'static [u8]| Record {
            key: key.concat().into(),
            value: value.into(),
            at: UnixMillis(0),
        };
        let (time, due) = ([0, 0, 0, 0, 2, 0], [0, 0, 9, 0, 0, 0]);
        let click = [&time[..], &[7; 8]].concat();
        let records = vec![
            record(&[b"p"], b"12345678"),
            record(&[b"sc", &click], b"\x01\x01\0\0\0\x09old"),
            record(&[b"st", &due, b"\x01c", &click], b"\x01"),
            record(&[b"st", &due, b"\x01c", &[9; 14]], b"\x01"),
            record(&[b"sc", &[5; 14]], b""),
            record(&[b"sc", &click], b"\x01\x01\0\0\x01\x09new"),
        ];
        let template = Template::read(records).unwrap();
        let copied = |earlier_ms| template.copy(Copied { earlier_ms, random: [8; 8] });
        let [copy, timer] = copied(1);
        assert_eq!(copy.value, &b"\x01\x01\0\0\x01\x09new"[..]);
        let key = [&[0, 0, 0, 0, 1, 255][..], &[8; 8]].concat();
        assert_eq!(copy.key, [b"sc", &key[..]].concat());
        assert_eq!(timer.key, [b"st", &due[..], b"\x01c", &key].concat());
        // Ten hours and a bit: the expiry is in hours, in both places.
        let [copy, timer] = copied(10 * HOUR_MS as u64 + 5);
        assert_eq!(copy.value, &b"\x01\x01\0\0\0\xffnew"[..]);
        assert_eq!(timer.key[2..8], (DUE - 10 * HOUR_MS).to_be_bytes()[2..]);
        assert!(Template::read(Vec::new()).is_err());
    }
}
