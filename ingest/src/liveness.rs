//! Whether a tracking link leads to its offer now (domain rules, "Tracking link"). Pure.

use schemas::{
    Availability, AvailabilityScope, Catalog, Flag, LiveState, Offer, Platform, Share, TenantId,
    UnixMillis,
};
use std::collections::HashMap;
use std::sync::Arc;

/// What the processor says is used up, by scope.
pub type UsedUp = HashMap<AvailabilityScope, Availability>;

/// What is known of a user who follows a link.
#[derive(Debug, Clone, Copy)]
pub struct Visit<'r> {
    pub tenant: Option<&'r TenantId>,
    /// As it stands in the path.
    pub share: &'r str,
    pub country: Option<[u8; 2]>,
    pub platform: Option<Platform>,
    pub now: UnixMillis,
}

/// The link's share and offer.
#[derive(Debug, Clone)]
pub struct Landing {
    pub share: Arc<Share>,
    pub offer: Arc<Offer>,
}

/// The share behind a link; none when the tenant has no such link.
#[must_use]
pub fn find(catalog: &Catalog, visit: &Visit<'_>) -> Option<Landing> {
    let share = catalog.share(visit.share)?;
    let offer = catalog.offer(share.offer.as_str())?;
    (visit.tenant == Some(&share.tenant))
        .then(|| Landing { share: Arc::clone(share), offer: Arc::clone(offer) })
}

/// Why a link does not lead to its offer; the metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    NotLive,
    NotLaunched,
    UsedUp,
    Country,
    Platform,
}

impl Obstacle {
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NotLive => "not_live",
            Self::NotLaunched => "not_launched",
            Self::UsedUp => "used_up",
            Self::Country => "country",
            Self::Platform => "platform",
        }
    }
}

/// Judges a user's click: the flags it gets, or what is in its way.
pub fn judge(
    landing: &Landing,
    used_up: &UsedUp,
    visit: &Visit<'_>,
) -> Result<Vec<Flag>, Obstacle> {
    judge_test(landing)?;
    let Landing { share, offer } = landing;
    if visit.now < offer.launch_at {
        return Err(Obstacle::NotLaunched);
    }
    let scopes = [
        AvailabilityScope::RootOffer(offer.root.clone()),
        AvailabilityScope::Offer(offer.id.clone()),
        AvailabilityScope::Share(share.id.clone()),
    ];
    let is_available =
        |scope| used_up.get(scope).is_none_or(|known: &Availability| known.is_available(visit.now));
    if !scopes.iter().all(is_available) {
        return Err(Obstacle::UsedUp);
    }
    targeting(offer, visit)
}

/// Judges a test click: it touches no cap and no budget, and an integration is tested before its
/// launch, from wherever the tester sits.
pub fn judge_test(landing: &Landing) -> Result<(), Obstacle> {
    let live = landing.share.state == LiveState::Live && landing.offer.state == LiveState::Live;
    if live { Ok(()) } else { Err(Obstacle::NotLive) }
}

/// A known mismatch is an obstacle; what is not known passes, flagged.
fn targeting(offer: &Offer, visit: &Visit<'_>) -> Result<Vec<Flag>, Obstacle> {
    let mut flags = Vec::new();
    let targeting = &offer.targeting;
    if !targeting.countries.is_empty() {
        match visit.country {
            None => flags.push(Flag::UnknownCountry),
            Some(code) if targeting.countries.iter().any(|c| c.as_bytes() == code) => {}
            Some(_) => return Err(Obstacle::Country),
        }
    }
    if !targeting.platforms.is_empty() {
        match visit.platform {
            None => flags.push(Flag::UnknownPlatform),
            Some(platform) if targeting.platforms.contains(&platform) => {}
            Some(_) => return Err(Obstacle::Platform),
        }
    }
    Ok(flags)
}
