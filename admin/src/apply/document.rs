//! The documents as people write them: which fields there are and what kind of value each takes.
//! The JSON Schemas are made from these types; `validate` makes the checked configuration.

use super::fields::{At, Fields};
use super::postback_document::PostbackDocument;
use super::value::{
    Amount, AmountsAtChoice, Count, Country, CurrencyCode, Duration, EventName, Flag,
    IntegrationChoice, Level, LongText, Name, PlatformChoice, SequenceRuleChoice, Slug, State,
    When, Zone,
};
use schemars::JsonSchema;

/// A customer of the system, with the subdomain `api.<id>.<base domain>`.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TenantDocument {
    #[schemars(required)]
    pub id: Option<At<Slug>>,
    #[schemars(required)]
    pub name: Option<At<Name>>,
    /// Days, launches and cap periods begin at midnight of this IANA time zone.
    #[schemars(required)]
    pub time_zone: Option<At<Zone>>,
    /// Where users go whose offer is not live.
    pub fallback_link: Option<At<LongText>>,
}

impl TenantDocument {
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            id: fields.required("id"),
            name: fields.required("name"),
            time_zone: fields.required("time_zone"),
            fallback_link: fields.optional("fallback_link"),
        }
    }
}

/// Owns offers and has postback credentials of its own.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AdvertiserDocument {
    #[schemars(required)]
    pub id: Option<At<Slug>>,
    #[schemars(required)]
    pub tenant: Option<At<Slug>>,
    #[schemars(required)]
    pub name: Option<At<Name>>,
    /// The credential versions that are accepted, `[1]` unless given. To rotate: `[1, 2]`, hand
    /// out the credentials of 2, then `[2]`.
    pub credential_versions: Option<Vec<At<Count>>>,
}

impl AdvertiserDocument {
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            id: fields.required("id"),
            tenant: fields.required("tenant"),
            name: fields.required("name"),
            credential_versions: fields.list("credential_versions"),
        }
    }
}

/// Sends users and is paid for its share of an offer.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PublisherDocument {
    #[schemars(required)]
    pub id: Option<At<Slug>>,
    #[schemars(required)]
    pub tenant: Option<At<Slug>>,
    #[schemars(required)]
    pub name: Option<At<Name>>,
    /// Versions of the secret that its postbacks are signed with, `[1]` unless given. To rotate:
    /// `[1, 2]` (both sign), hand out the secret of 2, then `[2]`.
    pub secret_versions: Option<Vec<At<Count>>>,
    /// URLs that are told of its conversions.
    pub postbacks: Option<Vec<PostbackDocument>>,
}

impl PublisherDocument {
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            id: fields.required("id"),
            tenant: fields.required("tenant"),
            name: fields.required("name"),
            secret_versions: fields.list("secret_versions"),
            postbacks: fields.maps("postbacks", PostbackDocument::read),
        }
    }
}

/// What an advertiser pays for.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct OfferDocument {
    #[schemars(required)]
    pub id: Option<At<Slug>>,
    /// The advertiser's id; the offer belongs to its tenant.
    #[schemars(required)]
    pub advertiser: Option<At<Slug>>,
    /// The offer this one was made from. Budget, caps and uniqueness count at its root.
    pub clone_of: Option<At<Slug>>,
    /// A clone whose budget, caps and uniqueness are its own.
    pub detached: Option<At<Flag>>,
    /// What partners see.
    #[schemars(required)]
    pub name: Option<At<Name>>,
    pub campaign: Option<At<Name>>,
    pub headline: Option<At<Name>>,
    pub description: Option<At<LongText>>,
    pub categories: Option<Vec<At<Name>>>,
    /// A picture's address.
    pub creative: Option<At<LongText>>,
    /// Which system sends the postbacks.
    #[schemars(required)]
    pub integration: Option<At<IntegrationChoice>>,
    /// How to read the postbacks of a `custom` integration.
    pub profile: Option<ProfileDocument>,
    /// Count reattributions, reinstalls and the like too.
    pub convert_ignored: Option<At<Flag>>,
    /// Where users go: http(s), with macros such as `{gk_click_id}`.
    #[schemars(required)]
    pub link: Option<At<LongText>>,
    /// Live unless given.
    pub state: Option<At<State>>,
    /// When it was closed; the time of the apply unless given.
    pub closed_at: Option<At<When>>,
    /// First day, from 00:00 in the tenant's zone; at once unless given.
    pub launch: Option<At<When>>,
    #[schemars(required)]
    pub currency: Option<At<CurrencyCode>>,
    /// Against revenue, over all clones and shares; none unless given.
    pub budget: Option<At<Amount>>,
    /// Earnings per click, shown to publishers.
    pub epc: Option<At<Amount>>,
    /// What rewards are counted in, e.g. `coins`.
    pub reward_unit: Option<At<Name>>,
    pub targeting: Option<TargetingDocument>,
    #[schemars(required)]
    pub events: Option<Vec<EventDocument>>,
    /// `any` (unless given) or `all` events of the level below.
    pub sequence_rule: Option<At<SequenceRuleChoice>>,
    /// How long an early event waits for the level below; 24h unless given.
    pub sequence_grace: Option<At<Duration>>,
    /// From click to first event; 30d unless given.
    pub attribution_window: Option<At<Duration>>,
    /// Days after closing in which conversions still count; 60 unless given.
    pub honour_days: Option<At<Count>>,
    /// How long after Success an advertiser may reverse it; 60d unless given.
    pub reversal_window: Option<At<Duration>>,
    /// The offer version whose amounts count: the one at the `click` (unless given) or `postback`.
    pub amounts_at: Option<At<AmountsAtChoice>>,
    /// Zone of the cap periods; the tenant's unless given.
    pub time_zone: Option<At<Zone>>,
}

impl OfferDocument {
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            id: fields.required("id"),
            advertiser: fields.required("advertiser"),
            clone_of: fields.optional("clone_of"),
            detached: fields.optional("detached"),
            name: fields.required("name"),
            campaign: fields.optional("campaign"),
            headline: fields.optional("headline"),
            description: fields.optional("description"),
            categories: fields.list("categories"),
            creative: fields.optional("creative"),
            integration: fields.required("integration"),
            profile: fields.map("profile", ProfileDocument::read),
            convert_ignored: fields.optional("convert_ignored"),
            link: fields.required("link"),
            state: fields.optional("state"),
            closed_at: fields.optional("closed_at"),
            launch: fields.optional("launch"),
            currency: fields.required("currency"),
            budget: fields.optional("budget"),
            epc: fields.optional("epc"),
            reward_unit: fields.optional("reward_unit"),
            targeting: fields.map("targeting", TargetingDocument::read),
            events: fields.maps("events", EventDocument::read),
            sequence_rule: fields.optional("sequence_rule"),
            sequence_grace: fields.optional("sequence_grace"),
            attribution_window: fields.optional("attribution_window"),
            honour_days: fields.optional("honour_days"),
            reversal_window: fields.optional("reversal_window"),
            amounts_at: fields.optional("amounts_at"),
            time_zone: fields.optional("time_zone"),
        }
    }
}

/// Whom an offer is for. Countries and platforms are enforced; gender and age are shown.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TargetingDocument {
    pub countries: Option<Vec<At<Country>>>,
    pub platforms: Option<Vec<At<PlatformChoice>>>,
    pub gender: Option<At<Name>>,
    pub age: Option<At<Name>>,
}

impl TargetingDocument {
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            countries: fields.list("countries"),
            platforms: fields.list("platforms"),
            gender: fields.optional("gender"),
            age: fields.optional("age"),
        }
    }
}

/// A step of an offer.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct EventDocument {
    /// Line of the event; not a field.
    #[schemars(skip)]
    pub line: u32,
    /// Exactly what `cnv_event_id` carries. An install event is `Install`.
    #[schemars(required)]
    pub id: Option<At<EventName>>,
    /// Other exact spellings.
    pub aliases: Option<Vec<At<EventName>>>,
    /// What users see.
    #[schemars(required)]
    pub name: Option<At<Name>>,
    /// The level, from 1; `none` for an event outside of the sequence.
    #[schemars(required)]
    pub sequence: Option<At<Level>>,
    /// How long a conversion is held before it counts; 0 unless given.
    pub pending_time: Option<At<Duration>>,
    /// Latest time after the click; 180d unless given.
    pub deadline: Option<At<Duration>>,
    /// Earliest time after the previous level; 0 unless given.
    pub minimum_time: Option<At<Duration>>,
    /// What the advertiser pays; 0 unless given.
    pub revenue: Option<At<Amount>>,
    /// What the publisher is paid; the revenue unless given.
    pub payout: Option<At<Amount>>,
    /// What the end user receives, in `reward_unit`; 0 unless given.
    pub reward: Option<At<Amount>>,
    /// Can convert more than once for a click.
    pub repeatable: Option<At<Flag>>,
    /// Never told to publishers.
    pub private: Option<At<Flag>>,
    pub caps: Option<CapsDocument>,
}

impl EventDocument {
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            line: fields.line,
            id: fields.required("id"),
            aliases: fields.list("aliases"),
            name: fields.required("name"),
            sequence: fields.required("sequence"),
            pending_time: fields.optional("pending_time"),
            deadline: fields.optional("deadline"),
            minimum_time: fields.optional("minimum_time"),
            revenue: fields.optional("revenue"),
            payout: fields.optional("payout"),
            reward: fields.optional("reward"),
            repeatable: fields.optional("repeatable"),
            private: fields.optional("private"),
            caps: fields.map("caps", CapsDocument::read),
        }
    }
}

/// At most so many conversions of an event in a period; no limit unless given.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CapsDocument {
    pub daily: Option<At<Count>>,
    pub weekly: Option<At<Count>>,
    pub monthly: Option<At<Count>>,
    pub total: Option<At<Count>>,
}

impl CapsDocument {
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            daily: fields.optional("daily"),
            weekly: fields.optional("weekly"),
            monthly: fields.optional("monthly"),
            total: fields.optional("total"),
        }
    }
}

/// How to read a custom sender's postbacks. What is not given is as the postback contract says.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ProfileDocument {
    /// Line of the profile; not a field.
    #[schemars(skip)]
    pub line: u32,
    pub amounts: Option<Vec<AmountDocument>>,
    pub currencies: Option<Vec<At<Name>>>,
    pub transactions: Option<Vec<At<Name>>>,
    pub times: Option<Vec<At<Name>>>,
    pub converts: Option<Vec<MarkerDocument>>,
    pub rejects: Option<Vec<MarkerDocument>>,
    pub ignores: Option<Vec<MarkerDocument>>,
    pub sandbox: Option<Vec<MarkerDocument>>,
}

impl ProfileDocument {
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            line: fields.line,
            amounts: fields.maps("amounts", AmountDocument::read),
            currencies: fields.list("currencies"),
            transactions: fields.list("transactions"),
            times: fields.list("times"),
            converts: fields.maps("converts", MarkerDocument::read),
            rejects: fields.maps("rejects", MarkerDocument::read),
            ignores: fields.maps("ignores", MarkerDocument::read),
            sandbox: fields.maps("sandbox", MarkerDocument::read),
        }
    }
}

/// A parameter with an amount.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AmountDocument {
    #[schemars(required)]
    pub name: Option<At<Name>>,
    /// 2 when it is in cents, 0 (unless given) in whole units.
    pub decimals: Option<At<Count>>,
}

impl AmountDocument {
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self { name: fields.required("name"), decimals: fields.optional("decimals") }
    }
}

/// A parameter and the values of it that class a postback.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct MarkerDocument {
    #[schemars(required)]
    pub parameter: Option<At<Name>>,
    #[schemars(required)]
    pub values: Option<Vec<At<Name>>>,
}

impl MarkerDocument {
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self { parameter: fields.required("parameter"), values: fields.list("values") }
    }
}

/// An offer handed to one publisher.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ShareDocument {
    /// The code in the tracking link `/c/<id>`.
    #[schemars(required)]
    pub id: Option<At<Slug>>,
    #[schemars(required)]
    pub offer: Option<At<Slug>>,
    #[schemars(required)]
    pub publisher: Option<At<Slug>>,
    /// The offer's name unless given.
    pub name: Option<At<Name>>,
    /// The offer's link unless given.
    pub link: Option<At<LongText>>,
    /// The tenant's unless given.
    pub fallback_link: Option<At<LongText>>,
    /// Live unless given.
    pub state: Option<At<State>>,
    /// When it was closed; the time of the apply unless given.
    pub closed_at: Option<At<When>>,
    /// What this share changes of the offer's events.
    pub events: Option<Vec<OverrideDocument>>,
    /// URLs that are told of this share's conversions, beside the publisher's own.
    pub postbacks: Option<Vec<PostbackDocument>>,
}

impl ShareDocument {
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            id: fields.required("id"),
            offer: fields.required("offer"),
            publisher: fields.required("publisher"),
            name: fields.optional("name"),
            link: fields.optional("link"),
            fallback_link: fields.optional("fallback_link"),
            state: fields.optional("state"),
            closed_at: fields.optional("closed_at"),
            events: fields.maps("events", OverrideDocument::read),
            postbacks: fields.maps("postbacks", PostbackDocument::read),
        }
    }
}

/// What a share changes of one event.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct OverrideDocument {
    /// The event's ID.
    #[schemars(required)]
    pub event: Option<At<EventName>>,
    pub name: Option<At<Name>>,
    pub revenue: Option<At<Amount>>,
    pub payout: Option<At<Amount>>,
    pub reward: Option<At<Amount>>,
    /// On top of the offer's caps.
    pub caps: Option<CapsDocument>,
}

impl OverrideDocument {
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            event: fields.required("event"),
            name: fields.optional("name"),
            revenue: fields.optional("revenue"),
            payout: fields.optional("payout"),
            reward: fields.optional("reward"),
            caps: fields.map("caps", CapsDocument::read),
        }
    }
}
