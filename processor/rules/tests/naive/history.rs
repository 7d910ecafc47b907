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
    Configure(Setting),
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
}

pub fn any_setup() -> impl Strategy<Value = Setup> {
    (any::<[bool; 4]>(), prop::sample::select(vec!["UTC", "America/New_York", "Africa/Cairo"]))
        .prop_map(|(bits, zone)| Setup {
            all_of_level: bits[0],
            sequenced_bonus: bits[1],
            minimum: bits[2],
            at_postback: bits[3],
            zone,
        })
}

fn any_report() -> impl Strategy<Value = Report> {
    let event = prop_oneof![
        20 => prop::sample::select(EVENTS[..7].to_vec()),
        1 => Just(EVENTS[7]),
        1 => Just(""),
        1 => Just("{event_name}"),
    ];
    let status = prop_oneof![
        12 => Just(None),
        1 => Just(Some("approved")),
        4 => Just(Some("rejected")),
        1 => Just(Some("odd")),
    ];
    let amount = prop_oneof![
        6 => Just(None),
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
    (0..CLICKS, event, status, amount, transaction, sent, odd, skew).prop_map(
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
        Boundary::Midnight,
        Boundary::Expiry,
    ]);
    let wait = prop::sample::select(vec![
        1,
        MINUTE_MS,
        11 * MINUTE_MS,
        HOUR_MS,
        HOUR_MS + 1,
        12 * HOUR_MS,
        DAY_MS,
        25 * HOUR_MS,
        7 * DAY_MS,
        31 * DAY_MS,
        61 * DAY_MS,
    ]);
    prop_oneof![
        14 => any_report().prop_map(Op::Report),
        2 => (0usize..6, any::<bool>()).prop_map(|(back, same_id)| Op::Again { back, same_id }),
        1 => (0usize..8, any::<bool>()).prop_map(|(row, over_limit)| Op::Approve { row, over_limit }),
        1 => (0usize..8).prop_map(|row| Op::Reject { row }),
        2 => any_setting().prop_map(Op::Configure),
        2 => wait.prop_map(Op::Wait),
        2 => (0..CLICKS, boundary, -1i64..=1)
            .prop_map(|(click, boundary, delta)| Op::Until { click, boundary, delta }),
    ]
}

pub fn any_history() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(any_op(), 1..80)
}
