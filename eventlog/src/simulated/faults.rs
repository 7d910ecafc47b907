//! What goes wrong, and how often; the same seed gives the same faults in the same order.

/// Faults in a thousand calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Appends that answer `Unavailable` and write nothing.
    pub append_unavailable: u32,
    /// Appends that answer `Unknown`, although written.
    pub append_ack_lost: u32,
    /// Appends that answer `Unknown`, and wrote nothing.
    pub append_lost: u32,
    /// Appends whose answer comes [`ACK_DELAY_MS`] after the records are readable.
    pub append_ack_delayed: u32,
    /// Commits that answer `Unavailable` and write nothing.
    pub commit_unavailable: u32,
    /// Commits that answer `Unknown`, although written.
    pub commit_ack_lost: u32,
    /// Commits that answer `Unknown`, and wrote nothing.
    pub commit_lost: u32,
}

/// Virtual time that a delayed answer takes.
pub const ACK_DELAY_MS: i64 = 1_000;

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Succeeds,
    Unavailable,
    AckLost,
    Lost,
    AckDelayed,
}

impl Faults {
    pub(super) fn of_append(&self, random: &mut Random) -> Fate {
        random.choose(&[
            (self.append_unavailable, Fate::Unavailable),
            (self.append_ack_lost, Fate::AckLost),
            (self.append_lost, Fate::Lost),
            (self.append_ack_delayed, Fate::AckDelayed),
        ])
    }

    pub(super) fn of_commit(&self, random: &mut Random) -> Fate {
        random.choose(&[
            (self.commit_unavailable, Fate::Unavailable),
            (self.commit_ack_lost, Fate::AckLost),
            (self.commit_lost, Fate::Lost),
        ])
    }
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is small, so that the bias does not matter.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_u64() % end.max(1)
    }

    fn choose(&mut self, fates: &[(u32, Fate)]) -> Fate {
        let roll = self.below(1_000);
        let mut reached = 0;
        for (per_mille, fate) in fates {
            reached += u64::from(*per_mille);
            if roll < reached {
                return *fate;
            }
        }
        Fate::Succeeds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_its_faults_and_about_so_many() {
        let faults = Faults { append_unavailable: 100, append_lost: 300, ..Faults::default() };
        let fates = |seed| {
            let mut random = Random::new(seed);
            (0..10_000).map(|_| faults.of_append(&mut random)).collect::<Vec<_>>()
        };
        assert_eq!(fates(7), fates(7));
        assert_ne!(fates(7), fates(8));
        let count = |fate| fates(7).into_iter().filter(|f| *f == fate).count();
        assert!((800..1200).contains(&count(Fate::Unavailable)));
        assert!((2700..3300).contains(&count(Fate::Lost)));
        assert_eq!(count(Fate::AckLost), 0);
    }
}
