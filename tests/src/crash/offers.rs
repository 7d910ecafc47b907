//! What the load is about: offers with everything that has a memory (levels, holds, grace, caps,
//! a budget), spread over the partitions.

use std::fmt::Write as _;

pub const ADVERTISER: &str = "brain-games";
pub const PUBLISHER: &str = "acme-rewards";
/// In order of their level.
pub const EVENTS: [&str; 3] = ["Install", "s2s_level 200", "s2s_level 400"];
/// A cap on a level: event and most conversions that may stand.
pub const CAP: (&str, &str, usize) = ("capped", "s2s_level 200", 60);

/// What is particular about an offer.
struct Screw {
    id: &'static str,
    install: &'static str,
    level_200: &'static str,
    level_400: &'static str,
    offer: &'static str,
}

const PLAIN: Screw =
    Screw { id: "plain-1", install: "", level_200: "", level_400: "pending_time: 7d", offer: "" };

const SCREWS: [Screw; 8] = [
    PLAIN,
    Screw { id: "plain-2", ..PLAIN },
    Screw { id: "plain-3", ..PLAIN },
    Screw { id: CAP.0, level_200: "caps: {total: 60}", ..PLAIN },
    Screw { id: "daily", level_400: "pending_time: 7d\n    caps: {daily: 25}", ..PLAIN },
    Screw { id: "held", install: "pending_time: 2h", ..PLAIN },
    Screw { id: "budget", offer: "budget: \"150.00\"", ..PLAIN },
    Screw { id: "paid-late", level_200: "pending_time: 3d", level_400: "", ..PLAIN },
];

/// The ids of the offers, each its own root.
pub fn ids() -> impl Iterator<Item = &'static str> {
    SCREWS.iter().map(|screw| screw.id)
}

/// The documents that `gokart apply` takes.
#[must_use]
pub fn documents() -> String {
    let mut text = format!(
        "kind: Tenant\nid: brownboots\nname: Brown Boots\ntime_zone: UTC\n\
         fallback_link: https://www.example.com/offers\n---\n\
         kind: Advertiser\nid: {ADVERTISER}\ntenant: brownboots\nname: Brain Games\n---\n\
         kind: Publisher\nid: {PUBLISHER}\ntenant: brownboots\nname: Acme Rewards\n"
    );
    for Screw { id, install, level_200, level_400, offer } in SCREWS {
        let _ = write!(
            text,
            "---\nkind: Offer\nid: {id}\nadvertiser: {ADVERTISER}\nname: {id}\n\
             integration: adjust\nlink: https://app.adjust.com/abc123?campaign={id}\n\
             launch: 2025-11-01\ncurrency: USD\nreward_unit: coins\n{offer}\nevents:\n"
        );
        let levels = [(install, "0.50"), (level_200, "2.00"), (level_400, "7.50")];
        for (number, (event, (more, revenue))) in EVENTS.iter().zip(levels).enumerate() {
            let sequence = number + 1;
            let _ = write!(
                text,
                "  - id: {event}\n    name: {event}\n    sequence: {sequence}\n    \
                 revenue: {revenue}\n    reward: 10\n    {more}\n"
            );
        }
        let _ =
            write!(text, "---\nkind: Share\nid: {id}-acme\noffer: {id}\npublisher: {PUBLISHER}\n");
    }
    text
}
