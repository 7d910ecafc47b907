//! A set of flags in a few bits.

use schemas::Flag;

/// The bit of a flag is its place in [`Flag::ALL`], which therefore only ever grows at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlagSet(pub u64);

const _: () = assert!(Flag::ALL.len() <= 64);

impl FlagSet {
    pub fn add(&mut self, flag: Flag) {
        self.0 |= 1 << flag as u64;
    }

    pub fn has(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u64) != 0
    }

    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn iter(self) -> impl Iterator<Item = Flag> {
        Flag::ALL.iter().copied().filter(move |flag| self.has(*flag))
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
        assert_eq!(set.iter().collect::<Vec<_>>(), [Flag::InvalidRevenue, Flag::OverLimit]);
    }
}
