//! A batch's state changes, as the rules see them.

use eventlog::{PartitionState, ReadError};

/// Why the state could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Damaged(#[from] rules::Damaged),
}

/// The changes over what is committed.
pub struct Overlay<'a>(eventlog::overlay::Overlay<'a>);

impl<'a> Overlay<'a> {
    #[must_use]
    pub fn new(committed: &'a dyn PartitionState) -> Self {
        Self(eventlog::overlay::Overlay::with_ascending(committed, &rules::ASCENDING))
    }

    /// How many keys have changed.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.0.changes()
    }

    /// What has changed, by key.
    #[must_use]
    pub fn into_changes(self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        self.0.into_changes()
    }
}

impl rules::Store for Overlay<'_> {
    type Error = StateError;

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StateError> {
        Ok(self.0.get(key, value)?)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        self.0.put(key, value);
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StateError> {
        self.0.delete(key);
        Ok(())
    }

    fn first_in(
        &mut self,
        from: &[u8],
        end: &[u8],
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool, StateError> {
        Ok(self.0.first_in(from, end, key, value)?)
    }
}
