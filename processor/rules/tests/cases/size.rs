//! How much state a click takes.

use crate::support::world::World;
use schemas::time::{DAY_MS, HOUR_MS};

/// The target: a click with two events, with its expiry timer.
const CLICK_BYTES_MAX: usize = 120;

/// Bytes of the entries that belong to the clicks alone: not the counters of the offer, nor the
/// ids that are remembered for minutes.
fn click_bytes(world: &World) -> usize {
    let of_click = |key: &[u8]| matches!(key[0], b'c' | b'm' | b't') && key.get(7) != Some(&4);
    world.store.0.iter().filter(|(k, _)| of_click(k)).map(|(k, v)| k.len() + v.len()).sum()
}

#[test]
fn a_click_with_two_events() {
    let mut sizes = Vec::new();
    for member in [None, Some([5; 8])] {
        let mut world = World::new();
        let mut click = world.click();
        click.member = member;
        world.wait(3 * HOUR_MS);
        world.send(&click, "Install");
        world.wait(2 * DAY_MS);
        world.send(&click, "s2s_level 200");
        sizes.push(click_bytes(&world));
    }
    println!("state of a click with two events: {} bytes, with a member {}", sizes[0], sizes[1]);
    assert!(sizes[0] <= CLICK_BYTES_MAX, "{sizes:?}");
}

#[test]
fn a_held_conversion_costs_its_context_only_while_it_is_held() {
    let mut world = World::new();
    let click = world.click();
    for event in ["Install", "s2s_level 200"] {
        world.send(&click, event);
    }
    let before = click_bytes(&world);
    world.send(&click, "s2s_level 400");
    let held = click_bytes(&world);
    world.wait(7 * DAY_MS);
    let after = click_bytes(&world);
    println!("state: {before} bytes, {held} with a held conversion, {after} when it succeeded");
    assert!(after < before + 40 && held > after, "{before} {held} {after}");
}

#[test]
fn everything_of_a_click_goes() {
    let mut world = World::new();
    let mut click = world.click();
    click.member = Some([1; 8]);
    for (event, transaction) in
        [("Install", ""), ("s2s_level 200", ""), ("s2s_level 400", ""), ("purchase", "T")]
    {
        world.send_with(&click, event, &[("transaction_id", transaction)]);
    }
    world.send(&click, "purchase");
    assert!(click_bytes(&world) > 0);
    world.wait(400 * DAY_MS);
    let kept = world.left_of_clicks();
    assert!(kept.is_empty(), "{kept:?}");
    // What comes later never pays.
    let late = world.send(&click, "Install");
    assert_eq!(late.reason, Some(schemas::Reason::ClickWindowExpired));
}
