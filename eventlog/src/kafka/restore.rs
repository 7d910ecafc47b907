//! Catching the copy of a partition's state up with the committed changelog.

use super::changelog::{Entry, parse};
use super::committer::Fence;
use super::membership::Membership;
use super::processor::Resources;
use super::store::Progress;
use crate::limits::record_bytes;
use crate::local::wall_clock;
use crate::{Offset, ReadError, ReadLimit, Reader, StoredRecord};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const RESTORE_LIMIT: ReadLimit =
    ReadLimit { records: 5_000, bytes: 8 << 20, wait: Duration::from_millis(200) };
/// How long the marker of a transaction may take from the offsets to the changelog.
const MARKER_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads the changelog to where the group's committed offset is; the offset to go on from.
pub async fn catch_up(
    membership: &Membership,
    resources: &Resources,
    partition: u32,
    fence: &Fence,
) -> Result<Offset, ReadError> {
    let (input, changelog) = (resources.stage.input(), resources.stage.changelog());
    let place = (input, partition);
    let committed = membership.committed(vec![place]).await?;
    let committed = committed.into_iter().find_map(|(_, position)| position).map(|(next, _)| next);
    let began = wall_clock();
    let bounds = resources.fetch.bounds(changelog, partition).await?;
    let mut progress = match resources.store.progress(partition)? {
        Some(progress)
            if (bounds.first..=bounds.end).contains(&progress.changelog_next)
                && !progress.is_too_old(began) =>
        {
            progress
        }
        // Nothing yet, or a part of the changelog that is not in the copy is gone from the log, or
        // deletions may be.
        _ => {
            resources.store.wipe(partition)?;
            Progress { changelog_next: bounds.first, input_next: None, whole_at: began }
        }
    };
    let left = Left(partition);
    let mut reader = None;
    let mut moved = Instant::now();
    while progress.changelog_next < bounds.end || progress.input_next < committed {
        left.show(bounds.end.saturating_sub(progress.changelog_next));
        if fence.load(Ordering::Acquire) {
            return Err(ReadError::Unavailable("the partition was revoked".to_string()));
        }
        let reader = match &mut reader {
            Some(reader) => reader,
            None => {
                let from = progress.changelog_next;
                reader.insert(resources.fetch.read_from(changelog, partition, from).await?)
            }
        };
        let batch = reader.read(RESTORE_LIMIT).await?;
        if batch.next_offset > progress.changelog_next {
            progress.changelog_next = batch.next_offset;
            progress = apply(resources, partition, batch.records, progress).await?;
            moved = Instant::now();
        } else if moved.elapsed() > MARKER_TIMEOUT {
            return Err(ReadError::Unavailable(format!(
                "{changelog}/{partition} ends before the committed offset {committed:?} of \
                 {input}; if the topic was emptied by hand, the state is lost"
            )));
        }
    }
    progress.whole_at = began;
    progress = apply(resources, partition, Vec::new(), progress).await?;
    match progress.input_next {
        // What the changelog says is committed, even when the group's offsets have expired.
        Some(input_next) => Ok(input_next),
        None => Ok(resources.fetch.bounds(input, partition).await?.first),
    }
}

/// How much of the changelog is still to be read for a partition; nothing, however it ends.
struct Left(u32);

impl Left {
    fn show(&self, records: Offset) {
        let partition = self.0.to_string();
        metrics::gauge!("gokart_log_restore_records", "partition" => partition).set(records as f64);
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        self.show(0);
    }
}

/// Applies records of the changelog to the copy, with the offset after them.
async fn apply(
    resources: &Resources,
    partition: u32,
    records: Vec<StoredRecord>,
    mut progress: Progress,
) -> Result<Progress, ReadError> {
    let bytes = records.iter().map(|stored| record_bytes(&stored.record)).sum::<usize>();
    metrics::counter!("gokart_log_restored_records_total").increment(records.len() as u64);
    metrics::counter!("gokart_log_restored_bytes_total").increment(bytes as u64);
    let store = Arc::clone(&resources.store);
    let changelog = resources.stage.changelog();
    super::fetch::blocking(move || {
        let mut changes = Vec::with_capacity(records.len());
        for stored in &records {
            match parse(&stored.record) {
                Some(Entry::State { key, value }) => changes.push((key, value)),
                Some(Entry::Position(next_offset)) => progress.input_next = Some(next_offset),
                None => {
                    let offset = stored.offset;
                    return Err(ReadError::Damaged(format!(
                        "{changelog}/{partition} holds something else at offset {offset}; is \
                         another program writing to this topic?"
                    )));
                }
            }
        }
        let changes = changes.iter().map(|(key, value)| (&key[..], value.as_deref()));
        store.apply(partition, changes, progress)?;
        Ok(progress)
    })
    .await
}
