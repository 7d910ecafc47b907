//! The state of one stage, entry by entry, into the partitions that it belongs to.

use super::{Moved, drained, failed, homes};
use eventlog::{Commit, EventLog, OwnedPartition, Stage};
use indicatif::ProgressBar;
use schemas::{Catalog, OfferId};
use service::ServiceError;
use sink::publishers::keys::Whose;
use std::collections::BTreeMap;

/// Entries of one commit.
const CHANGES: usize = 10_000;
/// Behind every key: they begin with a letter, or with zero.
const LAST: &[u8] = &[u8::MAX];

type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

pub async fn copy(
    source: &dyn EventLog,
    target: &dyn EventLog,
    stage: Stage,
    catalog: &Catalog,
    bar: &ProgressBar,
    moved: &mut Moved,
) -> Result<(), ServiceError> {
    let (_member, old) = drained::stage(source, stage).await?;
    let (_new_member, mut new) = drained::stage(target, stage).await?;
    let counts = (source.partitions(stage.input()), target.partitions(stage.input()));
    for (from, partition) in old {
        let mut pending: BTreeMap<u32, Changes> = BTreeMap::new();
        let mut next = Vec::new();
        while let Some((key, value)) = partition.state().first_in(&next, LAST).map_err(failed)? {
            let owner = owner(stage, &*partition, catalog, &key)?;
            moved.read += 1;
            for home in homes(owner.as_ref(), from, counts.0, counts.1) {
                let changes = pending.entry(home).or_default();
                changes.push((key.to_vec(), Some(value.to_vec())));
                moved.written += 1;
                if changes.len() == CHANGES {
                    commit(&mut new, home, std::mem::take(changes)).await?;
                }
            }
            bar.inc(1);
            next = key.to_vec();
            next.push(0);
        }
        for (home, changes) in pending {
            commit(&mut new, home, changes).await?;
        }
    }
    Ok(())
}

fn owner(
    stage: Stage,
    partition: &dyn OwnedPartition,
    catalog: &Catalog,
    key: &[u8],
) -> Result<Option<OfferId>, ServiceError> {
    match stage {
        Stage::Processor => {
            processor::rekey::owner(partition.state(), partition.partition(), catalog, key)
                .map_err(|error| ServiceError::Failed(error.to_string()))
        }
        Stage::Deliverer => match sink::publishers::keys::whose(key) {
            Whose::Of(root) => Ok(Some(root)),
            Whose::Everybody => Ok(None),
            Whose::Unknown => Err(ServiceError::Failed(format!(
                "an entry of the deliverers' state cannot be read: {key:?}; run the build that wrote it"
            ))),
        },
    }
}

async fn commit(
    new: &mut BTreeMap<u32, Box<dyn OwnedPartition>>,
    home: u32,
    changes: Changes,
) -> Result<(), ServiceError> {
    let lost = || ServiceError::Failed(format!("the new partition {home} is not ours"));
    let owned = new.get_mut(&home).ok_or_else(lost)?;
    let next_offset = owned.next_offset();
    let commit = Commit { outputs: Vec::new(), state_changes: changes, next_offset };
    owned.commit(commit).await.map_err(|error| {
        ServiceError::Failed(format!(
            "{error}; delete the new topics, or choose another --to-topic-prefix, and run this again"
        ))
    })
}
