//! Clocks that differ across midnight.

use crate::support::offers::ROOT;
use crate::support::world::{START, World, token};
use rules::{ClickReference, StepInput};
use schemas::time::DAY_MS;
use schemas::*;

/// An ingester's clock is ahead of the partition's across midnight: what it took fills a day that
/// has not begun, and the ingesters are told when it does, though nothing else happens then.
#[test]
fn a_day_that_begins_used_up() {
    let share = AvailabilityScope::Share(ShareId::new("share-a").unwrap());
    let root = AvailabilityScope::RootOffer(OfferId::new(ROOT).unwrap());
    for zone in ["UTC", "America/Los_Angeles", "Pacific/Kiritimati"] {
        let mut world = World::with(|offer| {
            offer.events[0].caps.daily = Some(1);
            offer.time_zone = zone.to_owned();
        });
        let midnight = {
            let zone = jiff::tz::TimeZone::get(zone).unwrap();
            let now = jiff::Timestamp::from_millisecond(START.0).unwrap().to_zoned(zone);
            now.tomorrow().unwrap().start_of_day().unwrap().timestamp().as_millisecond()
        };
        world.wait(midnight - 1_000 - START.0);
        let click = world.click();
        let token = token(&click);
        let mut postback =
            world.postback(&[("cnv_event_id", "Install"), ("gk_click_id", token.as_str())]);
        postback.received_at = UnixMillis(midnight + 1_000);
        let opened = ClickReference::Resolved(&click);
        let decided =
            world.run(StepInput::Postback { postback: &postback, click: opened }).unwrap();
        assert_eq!(decided.postback.unwrap().outcome, Outcome::Accepted, "{zone}");
        assert!(world.takes_clicks(&root), "{zone}: today has room");
        world.wait(999);
        assert!(world.takes_clicks(&root), "{zone}: today has room to the end");
        world.wait(1);
        assert!(!world.takes_clicks(&root), "{zone}: the new day has none");
        assert!(world.takes_clicks(&share), "{zone}: the share has no cap");
        world.wait(DAY_MS);
        assert!(world.takes_clicks(&root), "{zone}: the day after has");
    }
}
