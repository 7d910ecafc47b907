//! How much is taken: slots for work in flight, rates for advertisers, clicks and addresses. Every
//! table has a bound.

use crate::config::Settings;
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use schemas::AdvertiserId;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// All limits of one ingester.
pub struct Limits {
    /// Authenticated postbacks.
    pub postbacks: Arc<InFlight>,
    /// Bodies of requests that are not authenticated yet.
    pub unauthenticated_bodies: Arc<InFlight>,
    /// Clicks that are written down.
    pub clicks: Arc<InFlight>,
    pub click_rate: DefaultDirectRateLimiter,
    pub unauthenticated: AddressLimiter,
    pub click_addresses: AddressLimiter,
    /// Bounded by the advertisers there are: only authenticated ones get here.
    advertisers: DefaultKeyedRateLimiter<AdvertiserId>,
}

impl Limits {
    pub(crate) fn new(settings: &Settings) -> Self {
        let config = &settings.config;
        Self {
            postbacks: InFlight::new("postbacks", config.postbacks_in_flight),
            unauthenticated_bodies: InFlight::new("bodies", config.unauthenticated_bodies),
            clicks: InFlight::new("clicks", config.clicks_in_flight),
            click_rate: RateLimiter::direct(settings.click_quota),
            unauthenticated: AddressLimiter::new(settings.unauthenticated_quota, config.addresses),
            click_addresses: AddressLimiter::new(settings.click_address_quota, config.addresses),
            advertisers: RateLimiter::keyed(settings.advertiser_quota),
        }
    }

    /// Whether an advertiser is within its rate.
    pub fn allows_advertiser(&self, advertiser: &AdvertiserId) -> bool {
        self.advertisers.check_key(advertiser).is_ok()
    }

    /// Forgets addresses that have been quiet. To be called every few seconds.
    pub fn sweep(&self) {
        self.unauthenticated.sweep();
        self.click_addresses.sweep();
    }
}

/// A number of slots.
pub struct InFlight {
    taken: AtomicUsize,
    limit: usize,
    gauge: metrics::Gauge,
}

/// A slot, given back when dropped.
pub struct Slot(Arc<InFlight>);

/// How much of all the slots a piece of work may count on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    /// All of them.
    Full,
    /// Three quarters: this is shed first.
    Lesser,
}

impl InFlight {
    fn new(name: &'static str, limit: usize) -> Arc<Self> {
        let gauge = metrics::gauge!("gokart_ingest_in_flight", "kind" => name);
        Arc::new(Self { taken: AtomicUsize::new(0), limit, gauge })
    }

    /// A slot, if there is one for work of this importance. Never waits.
    pub fn enter(self: &Arc<Self>, importance: Importance) -> Option<Slot> {
        let limit = match importance {
            Importance::Full => self.limit,
            Importance::Lesser => self.limit - self.limit / 4,
        };
        let before = self.taken.fetch_add(1, Ordering::AcqRel);
        // From here on the slot is given back, also when it was one too many.
        let slot = Slot(Arc::clone(self));
        self.gauge.increment(1.0);
        (before < limit).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        self.0.gauge.decrement(1.0);
    }
}

/// A rate for each address; IPv6 by network (/64), since whoever has one address there has all.
pub struct AddressLimiter {
    table: DefaultKeyedRateLimiter<u128>,
    addresses: usize,
    /// Shared by all addresses that the table has no room for.
    overflow: DefaultDirectRateLimiter,
}

impl AddressLimiter {
    fn new(quota: Quota, addresses: usize) -> Self {
        Self { table: RateLimiter::keyed(quota), addresses, overflow: RateLimiter::direct(quota) }
    }

    pub fn allows(&self, address: IpAddr) -> bool {
        if self.table.len() >= self.addresses {
            return self.overflow.check().is_ok();
        }
        self.table.check_key(&key(address)).is_ok()
    }

    fn sweep(&self) {
        self.table.retain_recent();
        self.table.shrink_to_fit();
    }
}

fn key(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    /// One now, the next in many minutes: no test waits for it.
    fn one() -> Quota {
        Quota::per_hour(NonZeroU32::MIN)
    }

    #[test]
    fn slots_are_given_back() {
        let work = InFlight::new("test", 4);
        let slots: Vec<_> = (0..3).map(|_| work.enter(Importance::Lesser).unwrap()).collect();
        assert!(work.enter(Importance::Lesser).is_none(), "the last quarter is for others");
        let last = work.enter(Importance::Full).unwrap();
        assert!(work.enter(Importance::Full).is_none());
        drop((slots, last));
        assert_eq!(work.taken.load(Ordering::Acquire), 0);
    }

    #[test]
    fn addresses_do_not_disturb_each_other() {
        let limiter = AddressLimiter::new(one(), 10);
        let check = |text: &str, expected| {
            assert_eq!(limiter.allows(text.parse().unwrap()), expected, "{text}");
        };
        check("192.0.2.1", true);
        check("192.0.2.1", false);
        check("::ffff:192.0.2.1", false);
        check("192.0.2.2", true);
        check("2001:db8::1", true);
        check("2001:db8::2", false);
        check("2001:db8:0:1::1", true);
    }

    #[test]
    fn the_table_is_bounded() {
        let limiter = AddressLimiter::new(one(), 3);
        let allowed = (0..100u32).filter(|n| limiter.allows(IpAddr::V4((*n).into()))).count();
        assert_eq!((allowed, limiter.table.len()), (4, 3), "three addresses, and one for the rest");
    }
}
