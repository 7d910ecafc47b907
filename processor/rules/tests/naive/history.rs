//! Random histories, as proptest makes and shrinks them.

use proptest::prelude::*;
use schemas::time::{DAY_MS, HOUR_MS, MINUTE_MS};

pub const CLICKS: usize = 6;
pub const EVENTS: [&str; 8] = [
    "Install",
    "Open",
    "s2s_level 200",
    "s2s_level 400",
    "SignUp",
    "purchase",
    "bonus",
    "no such event",
];

/// What a postback says, before it is put into parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub click: usize,
    pub event: &'static str,
    pub status: Option<&'static str>,
    /// Cents; none of them a number when it is not one.
    pub amount: Option<&'static str>,
    pub transaction: Option<&'static str>,
    /// The sender's time, before the time of arrival.
    pub sent_before_ms: Option<i64>,
    pub sandbox: bool,
    pub stranger: bool,
    /// How far this ingester's clock is behind.
    pub skew_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    Caps(Option<u64>),
    ShareCap(Option<u64>),
    Budget(Option<i64>),
    Pending(i64),
    Revenue(i64),
    Close,
    Reopen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    Window,
    Deadline,
    Reversal,
    NextDue,
    Midnight,
    Expiry,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Report(Report),
    /// An earlier postback again, the same or from its sender.
    Again {
        back: usize,
        same_id: bool,
    },
    Approve {
        row: usize,
        over_limit: bool,
    },
    Reject {
        row: usize,
    },
    /// An earlier postback is put back for decision, whatever became of it.
    Redecide {
        back: usize,
        preview: bool,
    },
    Configure(Setting),
    /// A user follows the link again: from now on it is another click.
    Fresh {
        click: usize,
    },
    Wait(i64),
    /// To a moment before, at or after a boundary.
    Until {
        click: usize,
        boundary: Boundary,
        delta: i64,
    },
}

/// How an offer is set up for a whole history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    pub all_of_level: bool,
    pub sequenced_bonus: bool,
    pub minimum: bool,
    pub at_postback: bool,
    pub zone: &'static str,
    pub cap: Option<u64>,
    pub budget: Option<i64>,
}

pub fn any_setup() -> impl Strategy<Value = Setup> {
    let zones = prop::sample::select(vec!["UTC", "America/New_York", "Africa/Cairo"]);
    let limits = (prop::option::of(1u64..4), prop::option::of(3i64..20));
    (any::<[bool; 4]>(), zones, limits).prop_map(|(bits, zone, (cap, budget))| Setup {
        all_of_level: bits[0],
        sequenced_bonus: bits[1],
        minimum: bits[2],
        at_postback: bits[3],
        zone,
        cap,
        budget,
    })
}

/// One click more than the others, so that histories get somewhere.
fn any_click() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(0), 2 => 0..CLICKS]
}

/// A user who does one thing after another.
fn any_funnel() -> impl Strategy<Value = Vec<Op>> {
    (0..CLICKS, 2usize..=4).prop_map(|(click, steps)| {
        let report = |event: &&'static str| {
            Op::Report(Report {
                click,
                event,
                status: None,
                amount: None,
                transaction: None,
                sent_before_ms: None,
                sandbox: false,
                stranger: false,
                skew_ms: 0,
            })
        };
        EVENTS[..steps].iter().map(report).collect()
    })
}

fn any_report() -> impl Strategy<Value = Report> {
    let event = prop_oneof![
        24 => prop::sample::select(EVENTS[..4].to_vec()),
        16 => prop::sample::select(EVENTS[..7].to_vec()),
        1 => Just(EVENTS[7]),
        1 => Just(""),
        1 => Just("{event_name}"),
    ];
    let status = prop_oneof![
        16 => Just(None),
        1 => Just(Some("approved")),
        3 => Just(Some("rejected")),
        1 => Just(Some("odd")),
    ];
    let amount = prop_oneof![
        8 => Just(None),
        2 => Just(Some("500")),
        1 => Just(Some("-500")),
        1 => Just(Some("-200")),
        1 => Just(Some("x")),
    ];
    let transaction = prop_oneof![
        3 => Just(None),
        3 => prop::sample::select(vec![Some("T1"), Some("T2")]),
        1 => Just(Some("null")),
    ];
    let sent = prop_oneof![
        5 => Just(None),
        1 => prop::sample::select(vec![-5 * MINUTE_MS - 1, -5 * MINUTE_MS, 0, MINUTE_MS, HOUR_MS,
            DAY_MS, DAY_MS + 1]).prop_map(Some),
    ];
    let skew = prop_oneof![8 => Just(0), 1 => Just(333_667), 1 => Just(7_919)];
    let odd = (prop::bool::weighted(0.04), prop::bool::weighted(0.03));
    (any_click(), event, status, amount, transaction, sent, odd, skew).prop_map(
        |(click, event, status, amount, transaction, sent_before_ms, odd, skew_ms)| Report {
            click,
            event,
            status,
            amount,
            transaction,
            sent_before_ms,
            sandbox: odd.0,
            stranger: odd.1,
            skew_ms,
        },
    )
}

fn any_setting() -> impl Strategy<Value = Setting> {
    prop_oneof![
        prop::option::of(0u64..4).prop_map(Setting::Caps),
        prop::option::of(0u64..3).prop_map(Setting::ShareCap),
        prop::option::of(0i64..15).prop_map(Setting::Budget),
        prop::sample::select(vec![0, HOUR_MS, 7 * DAY_MS]).prop_map(Setting::Pending),
        (0i64..5).prop_map(Setting::Revenue),
        Just(Setting::Close),
        Just(Setting::Reopen),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    let boundary = prop::sample::select(vec![
        Boundary::Window,
        Boundary::Deadline,
        Boundary::Reversal,
        Boundary::NextDue,
        Boundary::NextDue,
        Boundary::NextDue,
        Boundary::NextDue,
        Boundary::Midnight,
        Boundary::Midnight,
        Boundary::Expiry,
    ]);
    let short = vec![1, MINUTE_MS, 11 * MINUTE_MS, HOUR_MS, HOUR_MS + 1, 12 * HOUR_MS];
    let long = vec![DAY_MS, 25 * HOUR_MS, 7 * DAY_MS, 31 * DAY_MS, 61 * DAY_MS];
    let wait = prop_oneof![4 => prop::sample::select(short), 1 => prop::sample::select(long)];
    prop_oneof![
        24 => any_report().prop_map(Op::Report),
        2 => (0usize..6, any::<bool>()).prop_map(|(back, same_id)| Op::Again { back, same_id }),
        1 => (0usize..8, any::<bool>()).prop_map(|(row, over_limit)| Op::Approve { row, over_limit }),
        1 => (0usize..8).prop_map(|row| Op::Reject { row }),
        2 => (0usize..8, prop::bool::weighted(0.1))
            .prop_map(|(back, preview)| Op::Redecide { back, preview }),
        2 => any_setting().prop_map(Op::Configure),
        2 => wait.prop_map(Op::Wait),
        2 => (0..CLICKS).prop_map(|click| Op::Fresh { click }),
        2 => (0..CLICKS, boundary, -1i64..=1)
            .prop_map(|(click, boundary, delta)| Op::Until { click, boundary, delta }),
    ]
}

pub fn any_history() -> impl Strategy<Value = Vec<Op>> {
    let ops = prop_oneof![12 => any_op().prop_map(|op| vec![op]), 1 => any_funnel()];
    prop::collection::vec(ops, 1..80).prop_map(|parts| parts.concat())
}
