//! What a step led to.

use schemas::{Availability, Decision};

/// The results of steps, appended in order; the caller takes them and calls [`Output::clear`].
/// Kept from step to step, so that its buffers are.
#[derive(Debug, Default)]
pub struct Output {
    /// At most one for each input, one for each timer that changed something.
    pub decisions: Vec<Decision>,
    /// Offers and shares that became used up, or available again.
    pub availability: Vec<Availability>,
    pub(crate) scratch: Scratch,
}

/// Buffers for keys and values on their way from and to the store.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

impl Output {
    /// Forgets the results and keeps the buffers.
    pub fn clear(&mut self) {
        self.decisions.clear();
        self.availability.clear();
    }
}
