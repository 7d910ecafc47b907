//! The validated configuration: who the tenants, advertisers and publishers are, and what an
//! offer pays for. `admin` makes these from documents that people write; nothing else does.
//! Durations are milliseconds, amounts micros.

use crate::Platform;
use crate::ids::{AdvertiserId, EventId, OfferId, PublisherId, ShareId, TenantId};
use crate::money::{Currency, Micros};
use crate::postback::PublisherPostback;
use crate::profile::Profile;
use crate::reason::coded;
use crate::time::{DAY_MS, UnixMillis};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub const ATTRIBUTION_WINDOW_MS_DEFAULT: i64 = 30 * DAY_MS;
pub const DEADLINE_MS_DEFAULT: i64 = 180 * DAY_MS;
pub const HONOUR_MS_DEFAULT: i64 = 60 * DAY_MS;
pub const SEQUENCE_GRACE_MS_DEFAULT: i64 = DAY_MS;
pub const REVERSAL_WINDOW_MS_DEFAULT: i64 = 60 * DAY_MS;
/// No configured duration is longer: state is kept as long as it may be needed.
pub const DURATION_MS_MAX: i64 = 3 * 366 * DAY_MS;
/// Events in one offer.
pub const EVENTS_MAX: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    /// IANA name; days, launches and cap periods begin at its midnight.
    pub time_zone: String,
    /// Where users go whose offer is not live.
    pub fallback_link: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advertiser {
    pub id: AdvertiserId,
    pub tenant: TenantId,
    pub name: String,
    /// Credential versions that are accepted; more than one while they are being rotated.
    pub credential_versions: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publisher {
    pub id: PublisherId,
    pub tenant: TenantId,
    pub name: String,
    /// Versions of the secret that postbacks are signed with; two while it is being rotated.
    #[serde(default = "first_version", skip_serializing_if = "is_first_version")]
    pub secret_versions: Vec<u32>,
    /// Told of every conversion of the publisher's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub postbacks: Vec<PublisherPostback>,
}

fn first_version() -> Vec<u32> {
    vec![1]
}

fn is_first_version(versions: &[u32]) -> bool {
    versions == [1]
}

coded! {
    /// The advertiser's tracking system; see [`Profile`].
    Integration {
        Adjust = "adjust", "Adjust";
        Appsflyer = "appsflyer", "AppsFlyer";
        Branch = "branch", "Branch";
        Singular = "singular", "Singular";
        Kochava = "kochava", "Kochava";
        Custom = "custom", "a system of the advertiser's own";
    }
}

coded! {
    /// How many events of the level below must be met.
    SequenceRule {
        Any = "any", "any event of the level below";
        All = "all", "every event of the level below";
    }
}

coded! {
    /// Which offer version's amounts a conversion gets.
    AmountsAt {
        Click = "click", "the one live at click time";
        Postback = "postback", "the one live when the postback arrived";
    }
}

/// Live, paused or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LiveState {
    Live,
    /// No new clicks; conversions of earlier ones go on.
    Paused,
    /// As paused; conversions are honoured for the offer's `honour_ms` after `at`.
    Closed {
        at: UnixMillis,
    },
}

/// At most so many conversions (Pending `HOLD` or Success) of an event in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Caps {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weekly: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

impl Caps {
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub id: EventId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<EventId>,
    /// User-facing.
    pub name: Arc<str>,
    /// The level; events at the same number have no order. None: independent of any order.
    pub sequence: Option<u32>,
    /// 0: Success at once.
    pub pending_ms: i64,
    /// Latest time after the click; the boundary is in time.
    pub deadline_ms: i64,
    /// Earliest time after the previous level.
    pub minimum_ms: i64,
    pub revenue: Micros,
    pub payout: Micros,
    pub reward: Micros,
    /// Can happen more than once for a click; unique by transaction id.
    pub repeatable: bool,
    /// Never told to publishers.
    pub private: bool,
    #[serde(default, skip_serializing_if = "Caps::is_unlimited")]
    pub caps: Caps,
}

/// Whom an offer is for. Empty lists mean everybody. Age and gender are shown, not enforced.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Targeting {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub countries: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<Platform>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub gender: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub age: String,
}

/// One version of an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    pub id: OfferId,
    /// The configuration version this version came with; 0 until it is stored.
    #[serde(default)]
    pub version: u64,
    pub tenant: TenantId,
    pub advertiser: AdvertiserId,
    /// Itself, or the original's root for a clone: where budget, caps and uniqueness count.
    pub root: OfferId,
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub campaign: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub headline: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub creative: String,
    pub integration: Integration,
    /// Only for [`Integration::Custom`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_profile: Option<Profile>,
    /// Convert reattributions, reinstalls and the like, which a profile ignores otherwise.
    #[serde(default)]
    pub convert_ignored: bool,
    /// Http(s), with macros; the click-id parameter is in it.
    pub link: String,
    pub state: LiveState,
    pub launch_at: UnixMillis,
    pub currency: Currency,
    /// Against revenue, at the root offer.
    pub budget: Option<Micros>,
    pub epc: Option<Micros>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub reward_unit: Arc<str>,
    #[serde(default)]
    pub targeting: Targeting,
    pub events: Vec<Event>,
    pub sequence_rule: SequenceRule,
    pub sequence_grace_ms: i64,
    pub attribution_window_ms: i64,
    pub honour_ms: i64,
    pub reversal_window_ms: i64,
    pub amounts_at: AmountsAt,
    /// IANA name of the zone its cap periods are in: its own or the tenant's.
    pub time_zone: String,
}

impl Offer {
    /// The event with exactly this ID or alias.
    #[must_use]
    pub fn event(&self, id: &str) -> Option<&Event> {
        self.events.iter().find(|event| {
            event.id.as_str() == id || event.aliases.iter().any(|alias| alias.as_str() == id)
        })
    }

    #[must_use]
    pub fn profile(&self) -> &Profile {
        match &self.custom_profile {
            Some(profile) => profile,
            None => Profile::builtin(self.integration),
        }
    }
}

/// What a share changes of one event; none: as the offer says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventOverride {
    pub event: EventId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revenue: Option<Micros>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payout: Option<Micros>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<Micros>,
    /// On top of the offer's caps, not instead of them.
    #[serde(default, skip_serializing_if = "Caps::is_unlimited")]
    pub caps: Caps,
}

/// One version of an offer's hand-over to one publisher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    pub id: ShareId,
    /// The configuration version this version came with; 0 until it is stored.
    #[serde(default)]
    pub version: u64,
    pub tenant: TenantId,
    pub offer: OfferId,
    pub publisher: PublisherId,
    /// What the publisher's users see; the offer's name unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Instead of the offer's link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_link: Option<String>,
    pub state: LiveState,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventOverride>,
    /// Told of this share's conversions, beside the publisher's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub postbacks: Vec<PublisherPostback>,
}

impl Share {
    #[must_use]
    pub fn event(&self, id: &EventId) -> Option<&EventOverride> {
        self.events.iter().find(|event| event.event == *id)
    }
}
