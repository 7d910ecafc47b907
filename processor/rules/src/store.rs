//! The partition's state as the rules see it.

/// A sorted map of bytes. The runtime lays a batch's changes over the committed state, so a step
/// that failed leaves nothing behind once its batch is thrown away.
pub trait Store {
    /// What reading or writing can end in; a damaged value is one of them, because going on
    /// without it could pay twice.
    type Error: From<Damaged>;

    /// Fills `value` and gives true when the key is there.
    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, Self::Error>;

    /// Puts a value, over any that is there.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Self::Error>;

    /// Deletes a key, whether it is there or not.
    fn delete(&mut self, key: &[u8]) -> Result<(), Self::Error>;

    /// The smallest key with `from <= key < end`, with its value.
    fn first_in(
        &mut self,
        from: &[u8],
        end: &[u8],
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool, Self::Error>;
}

/// An entry of the state that does not read as what it should be: stop, and restore the state from
/// the log; deciding on a guess would pay wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the processor's state is damaged or of a newer build: {what} cannot be read; run the build that wrote it, or rebuild the state from the log"
)]
pub struct Damaged {
    /// Which kind of entry.
    pub what: &'static str,
}
