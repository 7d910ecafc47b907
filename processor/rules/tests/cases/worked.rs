//! The worked cases of the domain page, by number. 2 and 3 are about credentials and hosts, which
//! are checked before a postback gets here; 13 is the state surviving, for which see below.

use crate::support::checked::Checked;
use crate::support::world::World;
use rules::{ClickReference, MoreDue, fire_due, step};
use schemas::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use schemas::{CommandEffect, CommandKind, ConversionStatus, Outcome, Reason};

const SUCCESS: (&str, &str) = ("Success", "");

#[test]
fn case_1_in_order() {
    let mut world = World::new();
    let click = world.click();
    let outcome = world.send(&click, "Install");
    assert_eq!((outcome.outcome, outcome.reason), (Outcome::Accepted, None));
    assert_eq!(world.stands(&click, "Install"), SUCCESS);
}

#[test]
fn case_4_case_counts() {
    let mut world = World::new();
    let click = world.click();
    let outcome = world.send(&click, "install");
    assert_eq!(outcome.reason, Some(Reason::UnknownEvent));
    assert_eq!(outcome.event_id, "install");
    assert!(world.rows.is_empty());
}

#[test]
fn case_5_spaces_match() {
    let mut world = World::new();
    let click = world.click();
    world.send(&click, "Install");
    assert_eq!(world.send(&click, "s2s_level 200").outcome, Outcome::Accepted);
}

#[test]
fn case_6_macro() {
    let mut world = World::new();
    let click = world.click();
    assert_eq!(world.send(&click, "{event_name}").reason, Some(Reason::MacroNotReplaced));
}

#[test]
fn cases_7_and_8_once_only() {
    for repeats in [7, 100] {
        let mut world = World::new();
        let click = world.click();
        let outcomes: Vec<_> = (0..repeats).map(|_| world.send(&click, "Install")).collect();
        assert_eq!(world.rows.len(), 1);
        for outcome in &outcomes[1..] {
            assert_eq!(outcome.reason, Some(Reason::Duplicate));
            assert_eq!(outcome.conversion_id.as_ref(), Some(&world.rows[0].conversion_id));
        }
    }
}

#[test]
fn case_9_early_then_released() {
    let mut world = World::new();
    let click = world.click();
    let early = world.send(&click, "s2s_level 200");
    assert_eq!((early.outcome, early.reason), (Outcome::Waiting, Some(Reason::WaitingSequence)));
    world.wait(10 * MINUTE_MS);
    world.send(&click, "Install");
    assert_eq!(world.stands(&click, "Install"), SUCCESS);
    assert_eq!(world.stands(&click, "s2s_level 200"), SUCCESS);
    assert!(world.wait(30 * DAY_MS).is_empty());
}

#[test]
fn case_10_never_released() {
    let mut world = World::new();
    let click = world.click();
    world.send(&click, "s2s_level 200");
    assert!(world.wait(DAY_MS - 1).is_empty());
    assert_eq!(world.wait(1).len(), 1);
    assert_eq!(world.stands(&click, "s2s_level 200"), ("Rejected", "SEQUENCE_NOT_MET"));
}

#[test]
fn case_11_level_skipped() {
    let mut world = World::new();
    let click = world.click();
    world.send(&click, "Install");
    world.send(&click, "s2s_level 400");
    assert_eq!(world.stands(&click, "s2s_level 400"), ("Pending", "WAITING_SEQUENCE"));
}

fn all_in_order(world: &mut World) -> schemas::ResolvedClick {
    let click = world.click();
    for event in ["Install", "s2s_level 200", "s2s_level 400"] {
        world.send(&click, event);
    }
    assert_eq!(world.stands(&click, "s2s_level 400"), ("Pending", "HOLD"));
    click
}

#[test]
fn case_12_held_for_seven_days() {
    let mut world = World::new();
    let click = all_in_order(&mut world);
    let sent_at = world.now;
    assert!(world.wait(7 * DAY_MS - 1).is_empty());
    assert_eq!(world.wait(1).len(), 1);
    assert_eq!(world.stands(&click, "s2s_level 400"), SUCCESS);
    let row = world.row(&click, "s2s_level 400").unwrap();
    assert_eq!((row.decided_at, row.revision), (sent_at.plus_ms(7 * DAY_MS), 2));
    assert_eq!(row.revenue.0, 5_000_000);
    assert!(world.wait(30 * DAY_MS).is_empty());
}

/// 13: whatever part of the work was lost with the process, the state that was committed fires
/// each timer once, at its time.
#[test]
fn case_13_restart_across_the_due_time() {
    let mut world = World::new();
    let click = all_in_order(&mut world);
    world.now = world.now.plus_ms(8 * DAY_MS);
    let committed = world.store.clone();
    let first = world.fire();
    world.store = committed;
    world.out = Checked::default();
    let again = world.fire_unchecked();
    assert_eq!(first, again);
    assert_eq!(first.len(), 1);
    assert!(world.fire_unchecked().is_empty());
    assert_eq!(world.row(&click, "s2s_level 400").unwrap().revision, 2);
}

#[test]
fn case_14_rejected_while_held() {
    let mut world = World::new();
    let click = all_in_order(&mut world);
    world.wait(3 * DAY_MS);
    let row = world.row(&click, "s2s_level 400").unwrap().clone();
    assert_eq!(world.command(&row, CommandKind::Reject, &click), CommandEffect::Applied);
    assert_eq!(world.stands(&click, "s2s_level 400"), ("Rejected", "MANUALLY_REJECTED"));
    assert_eq!(world.row(&click, "s2s_level 400").unwrap().note, "because");
    assert!(world.wait(30 * DAY_MS).is_empty());
}

#[test]
fn case_15_success_then_rejected() {
    let mut world = World::new();
    let click = world.click();
    world.send(&click, "Install");
    let outcome = world.send_with(&click, "Install", &[("status", "rejected")]);
    assert_eq!(outcome.reason, Some(Reason::ReversalRecorded));
    let [first, second] = &world.rows[..] else { panic!("{:?}", world.rows) };
    assert_eq!(first.conversion_id, second.conversion_id);
    assert_eq!(
        (second.revision, second.status, second.reason),
        (2, ConversionStatus::Rejected, Some(Reason::AdvertiserRejected))
    );
    assert_eq!(world.successes("Install"), 0);
    assert_eq!(world.send(&click, "Install").reason, Some(Reason::Duplicate));
}

#[test]
fn case_16_pending_time_edited_while_held() {
    let mut world = World::new();
    let click = all_in_order(&mut world);
    world.configure(|offer| offer.events[2].pending_ms = 0);
    assert!(world.wait(7 * DAY_MS - 1).is_empty());
    world.wait(1);
    assert_eq!(world.stands(&click, "s2s_level 400"), SUCCESS);
}

#[test]
fn case_17_a_burst_against_a_cap() {
    let mut world = World::with(|offer| offer.events[0].caps.daily = Some(100));
    let mut capped = 0;
    for _ in 0..1_000 {
        let click = world.click();
        capped += usize::from(world.send(&click, "Install").reason == Some(Reason::CapReached));
    }
    assert_eq!((world.successes("Install"), capped), (100, 900));
}

#[test]
fn case_18_no_install_nothing_pays() {
    let mut world = World::new();
    let click = world.click();
    world.send(&click, "s2s_level 200");
    world.send(&click, "s2s_level 400");
    world.wait(DAY_MS);
    assert_eq!(world.stands(&click, "s2s_level 200"), ("Rejected", "SEQUENCE_NOT_MET"));
    assert_eq!(world.stands(&click, "s2s_level 400"), ("Rejected", "SEQUENCE_NOT_MET"));
    assert!(world.rows.iter().all(|row| row.status != ConversionStatus::Success));
}

/// 19: the clock is the records', so a processor that was away reads what arrived first.
#[test]
fn case_19_away_for_a_day() {
    let mut world = World::new();
    let click = world.click();
    world.send(&click, "s2s_level 200");
    // Both were in the log already when the processor came back a day later.
    world.now = world.now.plus_ms(HOUR_MS);
    world.send(&click, "Install");
    assert!(world.wait(24 * HOUR_MS).is_empty());
    assert_eq!(world.stands(&click, "s2s_level 200"), SUCCESS);
    assert_eq!(world.stands(&click, "Install"), SUCCESS);
}

#[test]
fn case_20_level_400_on_day_38() {
    let mut world = World::new();
    let click = world.click();
    world.send(&click, "Install");
    world.send(&click, "s2s_level 200");
    world.wait(38 * DAY_MS);
    let outcome = world.send(&click, "s2s_level 400");
    assert_eq!((outcome.outcome, outcome.reason), (Outcome::Accepted, Some(Reason::Hold)));
}

/// Our own repeat says nothing; a step on a thrown away batch leaves no trace but its own.
#[test]
fn our_own_repeat_is_dropped() {
    let mut world = World::new();
    let click = world.click();
    let postback = world.postback(&[("cnv_event_id", "Install"), ("gk_click_id", "token")]);
    let click = ClickReference::Resolved(&click);
    let input = rules::StepInput::Postback { postback: &postback, click };
    assert!(world.run(input).is_some());
    let after = world.store.clone();
    assert!(world.run(input).is_none());
    assert_eq!(world.store, after);
    let mut out = Checked::default();
    step(&mut world.store, &world.catalog, input, world.now, &mut out).unwrap();
    assert!(out.decisions.is_empty());
    let more = fire_due(&mut world.store, &world.catalog, world.now, 0, &mut out).unwrap();
    assert_eq!(more, MoreDue::No);
}
