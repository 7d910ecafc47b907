//! Whatever comes in: one outcome for each postback, no panic, and a state that reads again.

use crate::support::checked::Checked;
use crate::support::world::World;
use proptest::prelude::*;
use rules::{ClickReference, StepInput, configuration_changed, fire_due, next_due, step};
use schemas::*;
use uuid::Uuid;

fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => 1_767_614_400_000i64..1_800_000_000_000,
        1 => any::<i64>(),
        1 => prop::sample::select(vec![i64::MIN, -1, 0, 1, (1 << 48) - 1, 1 << 48, i64::MAX]),
    ]
}

fn any_parameter() -> impl Strategy<Value = (String, String)> {
    let names = vec![
        "cnv_event_id",
        "event_id",
        "gk_click_id",
        "status",
        "revenue",
        "revenue_float",
        "currency",
        "transaction_id",
        "event_time",
        "created_at",
        "activity_kind",
        "environment",
        "",
    ];
    let values = prop_oneof![
        prop::sample::select(vec![
            "Install",
            "s2s_level 200",
            "s2s_level 400",
            "purchase",
            "rejected",
            "approved",
            "-1",
            "1e9",
            "9223372036854775807",
            "-9223372036854.775808",
            "USD",
            "null",
            "0",
            "T",
            "sandbox",
            "uninstall",
            "99999999999999999",
            "2026-01-05 12:00:00",
            "{x}",
            "%7B%7D",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,40}",
    ];
    (prop::sample::select(names).prop_map(str::to_owned), values)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..Default::default() })]

    #[test]
    fn one_outcome_and_no_panic(
        inputs in prop::collection::vec(
            (prop::collection::vec(any_parameter(), 0..12), any_time(), any_time(), 0usize..5),
            1..20,
        ),
        clicked in any_time(),
    ) {
        let mut world = World::new();
        world.now = UnixMillis(clicked);
        let mut clicks = [world.click(), world.click_at("share-c"), world.click()];
        clicks[1].member = Some([0; 8]);
        clicks[1].test = true;
        clicks[2].config_version = u64::MAX;
        let mut clock = i64::MIN;
        let mut out = Checked::default();
        for (number, (parameters, received_at, now, click)) in inputs.into_iter().enumerate() {
            clock = clock.max(now);
            let now = UnixMillis(clock);
            let postback = Postback {
                postback_id: PostbackId(Uuid::from_u128(number as u128)),
                received_at: UnixMillis(received_at),
                parameters,
                ..world.postback(&[])
            };
            let click = match click {
                0 => ClickReference::Missing,
                1 => ClickReference::Invalid,
                it => ClickReference::Resolved(&clicks[it - 2]),
            };
            fire_due(&mut world.store, &world.catalog, now, 1_000, &mut out).unwrap();
            out.clear();
            let input = StepInput::Postback { postback: &postback, click };
            step(&mut world.store, &world.catalog, input, now, &mut out).unwrap();
            prop_assert_eq!(out.decisions.len(), 1);
            prop_assert!(out.decisions[0].postback.is_some());
            next_due(&mut world.store).unwrap();
        }
        configuration_changed(&mut world.store, &world.catalog, |_| true, UnixMillis(clock), &mut out).unwrap();
    }
}
