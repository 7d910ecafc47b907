//! A set of flags in a few bits.

use schemas::{Flag, FlagsView};

/// The bit of a flag is its place in [`Flag::ALL`], which therefore only ever grows at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlagSet(pub u64);

impl FlagSet {
    pub fn add(&mut self, flag: Flag) {
        self.0 |= 1 << flag as u64;
    }

    pub fn remove(&mut self, flag: Flag) {
        self.0 &= !(1 << flag as u64);
    }

    pub fn has(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u64) != 0
    }

    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// As decisions show them, behind those that were received already.
    pub fn view(self, received: &[Flag]) -> FlagsView<'_> {
        FlagsView { received, added: self.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_keep_their_bits() {
        for (place, flag) in Flag::ALL.iter().enumerate() {
            assert_eq!(*flag as usize, place);
        }
        let mut set = FlagSet::default();
        set.add(Flag::OverLimit);
        set.add(Flag::InvalidRevenue);
        assert_eq!(
            set.view(&[]).iter().collect::<Vec<_>>(),
            [Flag::InvalidRevenue, Flag::OverLimit]
        );
    }
}
