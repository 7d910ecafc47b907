//! State in bulk: the changelog's entries about one click, again and again for other clicks.
//!
//! | entry | key | value |
//! | --- | --- | --- |
//! | the click | `s` `c` click (time 6 bytes, random 8) | as the rules wrote it, relative to its times |
//! | its expiry | `s` `t` due (6 bytes) kind `c` click | |

use ::tests::random::Random;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use eventlog::kafka::KafkaLog;
use eventlog::{EventLog, Record};
use indicatif::ProgressBar;
use schemas::{Topic, time::DAY_MS};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;

/// The clicks were made over so long, so their expiry is spread as well.
const SPREAD_MS: u64 = 20 * DAY_MS as u64;
const BATCH_CLICKS: u64 = 500;
/// Batches on their way.
const IN_FLIGHT: usize = 16;

const CLICK: &[u8] = b"sc";
const TIMER: &[u8] = b"st";
const TIME_BYTES: usize = 6;
const CLICK_BYTES: usize = 14;
/// Before the lane and the click in the key of its expiry: tag, due time, kind.
const TIMER_HEAD: usize = 2 + TIME_BYTES + 1;

/// The entries of one click as the changelog has them.
pub struct Template {
    click: Record,
    timer: Record,
}

impl Template {
    /// Finds them among the records of a partition's changelog.
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

    /// The same for a click that was made so much earlier.
    fn copy(&self, earlier_ms: u64, random: [u8; 8]) -> [Record; 2] {
        let mut key = self.click.key.to_vec();
        shift(&mut key[2..2 + TIME_BYTES], earlier_ms);
        key[2 + TIME_BYTES..].copy_from_slice(&random);
        let mut timer = self.timer.key.to_vec();
        shift(&mut timer[2..2 + TIME_BYTES], earlier_ms);
        timer[TIMER_HEAD..].copy_from_slice(&key[1..]);
        let with = |record: &Record, key: Vec<u8>| Record { key: key.into(), ..record.clone() };
        [with(&self.click, key), with(&self.timer, timer)]
    }
}

/// A time of six bytes, so much earlier.
fn shift(bytes: &mut [u8], earlier_ms: u64) {
    let mut wide = [0; 8];
    wide[8 - TIME_BYTES..].copy_from_slice(bytes);
    let time = u64::from_be_bytes(wide).saturating_sub(earlier_ms);
    bytes.copy_from_slice(&time.to_be_bytes()[8 - TIME_BYTES..]);
}

/// Appends so many clicks to a partition of the changelog.
pub async fn write(
    log: &Arc<KafkaLog>,
    partition: u32,
    template: &Template,
    clicks: u64,
    bar: &ProgressBar,
) -> Result<()> {
    let mut random = Random(u64::from(partition));
    let mut appends = JoinSet::new();
    let mut left = clicks;
    while left > 0 {
        let count = left.min(BATCH_CLICKS);
        let copies = (0..count)
            .flat_map(|_| template.copy(random.below(SPREAD_MS), random.number().to_be_bytes()));
        let records: Vec<Record> = copies.collect();
        let append = log.append(Topic::ProcessorState, partition, records);
        appends.spawn(append);
        left -= count;
        bar.inc(count);
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

    #[test]
    fn a_copy_is_another_click_with_its_own_times() {
        let record = |key: &[&[u8]], value: &'static [u8]| Record {
            key: key.concat().into(),
            value: value.into(),
            at: UnixMillis(0),
        };
        let (time, due) = ([0, 0, 0, 0, 2, 0], [0, 0, 0, 0, 9, 0]);
        let click = [&time[..], &[7; 8]].concat();
        let records = vec![
            record(&[b"p"], b"12345678"),
            record(&[b"sc", &click], b"\x01old"),
            record(&[b"st", &due, b"\x01c", &click], b"\x01"),
            record(&[b"st", &due, b"\x01c", &[9; 14]], b"\x01"),
            record(&[b"sc", &[5; 14]], b""),
            record(&[b"sc", &click], b"\x01new"),
        ];
        let template = Template::read(records).unwrap();
        let [copy, timer] = template.copy(1, [8; 8]);
        assert_eq!(copy.value, &b"\x01new"[..]);
        let key = [&[0, 0, 0, 0, 1, 255][..], &[8; 8]].concat();
        assert_eq!(copy.key, [b"sc", &key[..]].concat());
        assert_eq!(timer.key, [b"st", &[0, 0, 0, 0, 8, 255][..], b"\x01c", &key].concat());
        assert!(Template::read(Vec::new()).is_err());
    }
}
