//! A partition's clock (domain rules, "Timers and time"): the greatest `received_at` read, or, once
//! the end is reached, wall clock minus an allowance; never above wall clock, never backwards.
//! So a processor that was away for a day first reads what arrived, and only then expires what
//! did not.

use schemas::UnixMillis;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionClock(UnixMillis);

impl PartitionClock {
    /// Where the key of the clock stands in the partition's state. The rules' keys never begin
    /// with a zero byte.
    pub(crate) const STATE_KEY: &'static [u8] = b"\0clock";

    pub(crate) fn from_state(value: Option<&[u8]>) -> Self {
        let ms = value.and_then(|bytes| bytes.try_into().ok()).map_or(0, i64::from_be_bytes);
        Self(UnixMillis(ms))
    }

    pub(crate) fn to_state(self) -> Vec<u8> {
        self.0.0.to_be_bytes().to_vec()
    }

    pub(crate) fn now(self) -> UnixMillis {
        self.0
    }

    /// A record received at `received_at` has been read while it is `wall`.
    pub(crate) fn see_record(&mut self, received_at: UnixMillis, wall: UnixMillis) {
        self.0 = self.0.max(received_at.min(wall));
    }

    /// The end of the partition has been reached while it is `wall`.
    pub(crate) fn see_end(&mut self, wall: UnixMillis, allowance_ms: i64) {
        self.0 = self.0.max(wall.plus_ms(-allowance_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_by_records_then_by_the_wall_and_never_back() {
        let mut clock = PartitionClock::from_state(None);
        clock.see_record(UnixMillis(100), UnixMillis(5_000));
        assert_eq!(clock.now(), UnixMillis(100), "behind: the records' time counts");
        clock.see_record(UnixMillis(90), UnixMillis(5_000));
        assert_eq!(clock.now(), UnixMillis(100), "an older record does not turn it back");
        clock.see_end(UnixMillis(5_000), 1_000);
        assert_eq!(clock.now(), UnixMillis(4_000));
        clock.see_record(UnixMillis(9_000), UnixMillis(5_000));
        assert_eq!(clock.now(), UnixMillis(5_000), "a record from the future does not count");
        clock.see_end(UnixMillis(5_100), 1_000);
        assert_eq!(clock.now(), UnixMillis(5_000));
        let stored = clock.to_state();
        assert_eq!(PartitionClock::from_state(Some(&stored)), clock);
    }
}
