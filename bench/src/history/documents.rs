//! The configuration that the history's rows refer to.

use super::{EVENTS, History, PUBLISHERS, TENANT, advertisers, offers, publisher};
use std::fmt::Write as _;

/// Revenue of each event, in hundredths; publishers get four fifths of it.
pub const REVENUE_CENTS: [u32; 5] = [50, 80, 200, 750, 2000];
/// Events from this level on are held.
pub const HELD_FROM: usize = 3;
pub const HOLD_DAYS: i64 = 3;

impl History {
    /// All documents, as `gokart apply` takes them.
    #[must_use]
    pub fn documents(&self) -> String {
        let mut text =
            format!("kind: Tenant\nid: {TENANT}\nname: Bench\ntime_zone: America/New_York\n");
        for id in advertisers() {
            let _ = write!(text, "---\nkind: Advertiser\nid: {id}\ntenant: {TENANT}\nname: {id}\n");
        }
        for number in 0..PUBLISHERS {
            let id = publisher(number);
            let _ = write!(text, "---\nkind: Publisher\nid: {id}\ntenant: {TENANT}\nname: {id}\n");
        }
        for offer in offers() {
            let _ = write!(
                text,
                "---\nkind: Offer\nid: {id}\nadvertiser: {advertiser}\nname: {id}\n\
                 campaign: campaign-{campaign}\nintegration: custom\n\
                 link: https://www.example.com/?c={{gk_click_id}}\nlaunch: 2026-08-01\n\
                 currency: {currency}\nreward_unit: {unit}\n",
                id = offer.id,
                advertiser = offer.advertiser,
                campaign = offer.id.len() % 5,
                currency = offer.currency,
                unit = offer.reward_unit,
            );
            if offer.id != offer.root {
                let _ = writeln!(text, "clone_of: {}", offer.root);
            }
            text.push_str("events:\n");
            for (place, event) in EVENTS.iter().take(offer.events).enumerate() {
                let cents = REVENUE_CENTS[place];
                let _ = write!(
                    text,
                    "  - id: {event}\n    name: {event}\n    sequence: {level}\n    \
                     revenue: \"{}.{:02}\"\n    payout: \"{}.{:02}\"\n    reward: {cents}\n",
                    cents / 100,
                    cents % 100,
                    cents * 8 / 1000,
                    cents * 8 / 10 % 100,
                    level = place + 1,
                );
                if place + 1 >= HELD_FROM {
                    let _ = writeln!(text, "    pending_time: {HOLD_DAYS}d");
                }
                if place == 0 {
                    text.push_str("    caps:\n      daily: 1000000\n");
                }
            }
        }
        for (number, offer) in offers().iter().enumerate() {
            let publisher = publisher(number % PUBLISHERS);
            let _ = write!(
                text,
                "---\nkind: Share\nid: share-{number}\noffer: {}\npublisher: {publisher}\n",
                offer.id
            );
        }
        text
    }
}
