//! Whose an entry of the state is, for moving it to another number of partitions.

use crate::ProcessorError;
use crate::overlay::Overlay;
use eventlog::PartitionState;
use rules::Scratch;
use schemas::{Catalog, OfferId};

/// The root offer that an entry of a partition's state belongs to; none for what every partition
/// may have a copy of. `catalog`: with every offer and share that has a limit.
///
/// # Errors
/// When the state cannot be read, or is damaged.
pub fn owner(
    state: &dyn PartitionState,
    partition: u32,
    catalog: &Catalog,
    key: &[u8],
) -> Result<Option<OfferId>, ProcessorError> {
    let mut store = Overlay::new(state);
    rules::rekey::owner(&mut store, &mut Scratch::default(), catalog, key)
        .map_err(|error| ProcessorError::from_state(partition, error))
}
