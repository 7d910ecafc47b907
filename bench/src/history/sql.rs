//! The statements. Everything in a row follows from the number of its click: hashes of it, one for
//! each purpose, choose among the possibilities.

use super::documents::{HELD_FROM, HOLD_DAYS, REVENUE_CENTS};
use super::{
    BEGIN_MS, CLICKS, DAY_MS, DAYS, EVENTS, FAMILY, History, OTHERS, Offer, PUBLISHERS, TENANT,
    offers,
};

/// The longest time from a click to its last event, in days, and from there to the last revision.
const EVENTS_DAYS: i64 = 7;
const REVISIONS_DAYS: i64 = HOLD_DAYS + 9;

/// A table and the columns that a statement fills, in the order of its `SELECT`.
pub struct Filled {
    pub table: &'static str,
    pub columns: Vec<(&'static str, String)>,
    /// The rows that the columns' expressions are of.
    pub from: String,
}

impl Filled {
    pub fn insert(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        let values: Vec<&str> = self.columns.iter().map(|(_, value)| value.as_str()).collect();
        format!(
            "INSERT INTO {} ({}) SELECT {} FROM {}",
            self.table,
            names.join(", "),
            values.join(", "),
            self.from
        )
    }
}

fn list(values: impl IntoIterator<Item = String>) -> String {
    let quoted: Vec<String> = values.into_iter().map(|value| format!("'{value}'")).collect();
    format!("[{}]", quoted.join(", "))
}

fn of_offer(value: impl Fn(&Offer) -> String) -> String {
    format!("{}[offer + 1]", list(offers().iter().map(value)))
}

fn of_event(value: impl Fn(usize) -> String) -> String {
    let values: Vec<String> = (0..EVENTS.len()).map(value).collect();
    format!("[{}][level]", values.join(", "))
}

impl History {
    /// A hash of the click's number (`n`) for one purpose.
    fn hash(&self, purpose: u64) -> String {
        let salt = self
            .seed
            .wrapping_add(purpose)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(17)
            .wrapping_mul(0xbf58_476d_1ce4_e5b9);
        format!("intHash64(bitXor(n, {salt}))")
    }

    /// The same for one event of a click.
    fn event_hash(&self, purpose: u64) -> String {
        format!("intHash64({} + level)", self.hash(purpose))
    }

    /// A number below `count`, the small ones far more often.
    fn skewed(&self, purpose: u64, count: usize) -> String {
        format!("toUInt32({count} * pow({} % 65536 / 65536, 2))", self.hash(purpose))
    }

    /// What is known of click `n` wherever it shows, by name.
    fn click(&self) -> Vec<(&'static str, String)> {
        let bytes = |from: u64| -> Vec<String> {
            (from..from + 4).map(|n| format!("sipHash128(n, {}, {n})", self.seed)).collect()
        };
        vec![
            (
                "offer",
                format!(
                    "if({} % 5 < 4, {}, {FAMILY} + {})",
                    self.hash(1),
                    self.skewed(2, FAMILY),
                    self.skewed(3, OTHERS)
                ),
            ),
            ("publisher", self.skewed(4, PUBLISHERS)),
            ("at_ms", format!("{BEGIN_MS} + toInt64(n * {} / {})", DAYS * DAY_MS, self.clicks)),
            // As long as a sealed click without sub-ids is, and as little compressible.
            (
                "click",
                format!(
                    "base64URLEncode(concat(char(1), {}, substring(sipHash128(n, {}), 1, 10)))",
                    bytes(1).join(", "),
                    self.seed
                ),
            ),
            (
                "land",
                format!(
                    "['US','US','US','DE','GB','BR','BR','FR','IN','IN','JP','ZA','']\
                 [{} % 13 + 1]",
                    self.hash(5)
                ),
            ),
            (
                "device",
                format!(
                    "['android','android','ios','android','ios','web','']\
                 [{} % 7 + 1]",
                    self.hash(6)
                ),
            ),
            ("user", format!("concat('user-', toString({} % {}))", self.hash(7), CLICKS / 3)),
            ("source", format!("concat('source-', toString({} % 40))", self.hash(8))),
            (
                "placement",
                format!(
                    "if(publisher % 2 = 0, concat('placement-', toString({} % 200)), '')",
                    self.hash(9)
                ),
            ),
            ("is_test", format!("{} % 500 = 0", self.hash(10))),
        ]
    }

    /// The columns that clicks and conversions have in common.
    fn dimensions() -> Vec<(&'static str, String)> {
        let mut columns = vec![
            ("click_id", "click".to_owned()),
            ("clicked_at", "fromUnixTimestamp64Milli(at_ms, 'UTC')".to_owned()),
            ("tenant", format!("'{TENANT}'")),
            ("advertiser_id", of_offer(|it| it.advertiser.clone())),
            ("offer_id", of_offer(|it| it.id.clone())),
            ("root_offer_id", of_offer(|it| it.root.clone())),
            ("share_id", "concat('share-', toString(offer), '-', toString(publisher))".to_owned()),
            ("publisher_id", "concat('pub-', toString(publisher))".to_owned()),
            ("country", "land".to_owned()),
            ("platform", "device".to_owned()),
            ("sub1", "user".to_owned()),
            ("sub2", "source".to_owned()),
            ("sub3", "placement".to_owned()),
        ];
        columns.extend(
            [
                "sub4", "sub5", "sub6", "sub7", "sub8", "sub9", "sub10", "sub11", "sub12", "sub13",
                "sub14", "sub15",
            ]
            .map(|name| (name, "''".to_owned())),
        );
        columns.extend([
            ("offer_version", "1".to_owned()),
            ("test", "is_test".to_owned()),
            ("flags", "if(land = '', ['UNKNOWN_COUNTRY'], [])".to_owned()),
        ]);
        columns
    }

    fn with(columns: &[(&'static str, String)]) -> String {
        columns.iter().map(|(name, value)| format!(", {value} AS {name}")).collect()
    }

    /// Clicks `from..to`; of them one in `every`.
    pub fn clicks_statement(&self, from: u64, to: u64, every: u64) -> Filled {
        Filled {
            table: "clicks",
            columns: Self::dimensions(),
            from: format!(
                "(SELECT number * {every} AS n{} FROM numbers({}, {}))",
                Self::with(&self.click()),
                from.div_ceil(every),
                to.div_ceil(every).saturating_sub(from.div_ceil(every))
            ),
        }
    }

    /// Everything about the events of those who installed and whose last row may lie in these days:
    /// one row an event (`level`), with the click's and its own facts by name.
    fn events(&self, days: (i64, i64), longest_days: i64, every: u64) -> String {
        let installs = self.installs();
        let at_day = |day: i64| -> u64 {
            let day = u64::try_from(day.clamp(0, DAYS)).unwrap_or_default();
            installs * day / DAYS.unsigned_abs()
        };
        // A day more on both sides, for what rounding does.
        let (from, to) = (at_day(days.0 - longest_days - 1), at_day(days.1 + 1));
        let counts: Vec<String> = offers().iter().map(|it| it.events.to_string()).collect();
        let delays = [
            format!("60000 + {} % 7200000", self.hash(20)),
            format!("if(level > 1, {} % 86400000, 0)", self.hash(21)),
            format!("if(level > 2, {} % 172800000, 0)", self.hash(22)),
            format!("if(level > 3, {} % 172800000, 0)", self.hash(23)),
            format!("if(level > 4, {} % 86400000, 0)", self.hash(24)),
        ];
        format!(
            "(SELECT *, level, \
             at_ms + toInt64({delays}) AS received_ms, \
             {fate} % 1000 AS fate, \
             multiIf(fate < 20, 'CAP_REACHED', fate < 40 AND level = levels, 'TOO_SOON', \
             level >= {HELD_FROM}, 'HOLD', '') AS first_reason, \
             received_ms + if(first_reason = 'HOLD', {hold}, 0) AS success_ms, \
             success_ms + {DAY_MS} + toInt64({later} % {reversal}) AS reversal_ms, \
             first_reason IN ('', 'HOLD') AND {reversed} % 50 = 0 AS is_reversed, \
             {event_name} AS event, \
             concat({root}, '.', substring(translate(lower(base32Encode( \
             sipHash128(n, level, {seed}))), 'abcdefghijklmnopqrstuvwxyz234567=', \
             '0123456789abcdefghjkmnpqrstvwxyz0'), 1, 26)) AS conversion, \
             concat(leftPad(lower(hex(toUInt64(received_ms))), 16, '0'), lower(hex({uuid}))) AS raw, \
             toUUID(concat(substring(raw, 5, 8), '-', substring(raw, 13, 4), '-7', \
             substring(raw, 18, 3), '-8', substring(raw, 22, 3), '-', \
             substring(hex(sipHash128(n, level, {seed}, 1)), 1, 12))) AS postback \
             FROM (SELECT *, [{counts}][offer + 1] AS event_count, {luck} % 1000 AS luck, \
             least(event_count, 1 + (luck < 400) + (luck < 160) + (luck < 56) + (luck < 17)) \
             AS levels FROM (SELECT toUInt64(number * {every} * {clicks} / {installs}) \
             + {jitter} % 12 AS n{click} FROM numbers({first}, {count}))) \
             ARRAY JOIN range(1, levels + 1) AS level)",
            delays = delays.join(" + "),
            fate = self.event_hash(25),
            hold = HOLD_DAYS * DAY_MS,
            later = self.event_hash(26),
            reversal = 8 * DAY_MS,
            reversed = self.event_hash(27),
            event_name = of_event(|place| format!("'{}'", EVENTS[place])),
            root = of_offer(|it| it.root.clone()),
            seed = self.seed,
            uuid = self.event_hash(28),
            counts = counts.join(", "),
            luck = self.hash(29),
            clicks = self.clicks,
            jitter = "intHash64(number)",
            click = Self::with(&self.click()),
            first = from.div_ceil(every),
            count = to.div_ceil(every).saturating_sub(from.div_ceil(every)),
        )
    }

    /// The revisions that were decided in the days `days.0..days.1` of the history; of those who
    /// installed one in `every`.
    pub fn conversions_statement(&self, days: (i64, i64), every: u64) -> Filled {
        let mut columns = Self::dimensions();
        let cents = |cents: &dyn Fn(u32) -> u32| {
            let each =
                of_event(|place| format!("toDecimal64('{}e-2', 6)", cents(REVENUE_CENTS[place])));
            format!("toDecimal64({each}, 6)")
        };
        columns.extend([
            ("conversion_id", "conversion".to_owned()),
            ("revision", "revision.1".to_owned()),
            ("event_id", "event".to_owned()),
            ("event_name", "event".to_owned()),
            ("sequence", "level".to_owned()),
            ("status", "revision.2".to_owned()),
            ("reason", "revision.3".to_owned()),
            ("note", "''".to_owned()),
            ("received_at", "fromUnixTimestamp64Milli(received_ms, 'UTC')".to_owned()),
            (
                "due_at",
                "if(revision.3 = 'HOLD', fromUnixTimestamp64Milli(success_ms, 'UTC'), NULL)"
                    .to_owned(),
            ),
            ("decided_at", "fromUnixTimestamp64Milli(revision.4, 'UTC')".to_owned()),
            ("revenue", cents(&|cents| cents)),
            ("payout", cents(&|cents| cents * 8 / 10)),
            ("currency", of_offer(|it| it.currency.to_owned())),
            ("reward", cents(&|cents| cents * 100)),
            ("reward_unit", of_offer(|it| it.reward_unit.to_owned())),
            (
                "sale_amount",
                format!(
                    "if(level > 3, toDecimal64({} % 9000, 6) / 100, NULL)",
                    self.event_hash(30)
                ),
            ),
            (
                "sale_currency",
                format!(
                    "if(level > 3, ['USD', 'EUR', 'JPY'][{} % 3 + 1], '')",
                    self.event_hash(31)
                ),
            ),
            (
                "transaction_id",
                format!("if(level > 3, concat('T-', toString({})), '')", self.event_hash(32)),
            ),
            ("postback_id", "postback".to_owned()),
        ]);
        let from = format!(
            "(SELECT *, arrayFilter(it -> it.4 >= {first} AND it.4 < {last}, arrayConcat(\
             [(toUInt32(1), multiIf(first_reason = '', 'Success', first_reason = 'HOLD', 'Pending', \
             'Rejected'), first_reason, received_ms)], \
             if(first_reason = 'HOLD', [(toUInt32(2), 'Success', '', success_ms)], []), \
             if(is_reversed, [(toUInt32(if(first_reason = 'HOLD', 3, 2)), 'Rejected', \
             'ADVERTISER_REJECTED', reversal_ms)], []))) AS revisions FROM {} \
             WHERE received_ms < {last} AND reversal_ms >= {first}) \
             ARRAY JOIN revisions AS revision",
            self.events(days, EVENTS_DAYS + REVISIONS_DAYS, every),
            first = BEGIN_MS + days.0 * DAY_MS,
            last = BEGIN_MS + days.1 * DAY_MS,
        );
        Filled { table: "conversions", columns, from }
    }

    /// The postbacks that were received in these days: one an event, and some that were refused.
    pub fn postbacks_statement(&self, days: (i64, i64), every: u64) -> Filled {
        // A tenth of the installs is sent again; a few come with a name or a click that nobody knows.
        let kinds = format!(
            "arrayConcat(['first'], if(level = 1, multiIf({fate} % 100 < 10, ['repeated'], \
             {fate} % 100 < 12, ['misnamed'], {fate} % 100 < 13, ['lost'], []), []))",
            fate = self.event_hash(33)
        );
        let columns = vec![
            (
                "postback_id",
                "if(kind = 'first', postback, toUUID(concat(substring(toString(postback), 1, 19), \
                 'b', substring(toString(postback), 21))))"
                    .to_owned(),
            ),
            ("tenant", format!("'{TENANT}'")),
            ("advertiser_id", of_offer(|it| it.advertiser.clone())),
            ("received_at", "fromUnixTimestamp64Milli(received_ms, 'UTC')".to_owned()),
            ("click_id", "if(kind = 'lost', '', click)".to_owned()),
            ("event_id", "if(kind = 'misnamed', 'install', event)".to_owned()),
            (
                "outcome",
                "multiIf(kind = 'repeated', 'duplicate', kind IN ('misnamed', 'lost') OR \
                 first_reason IN ('CAP_REACHED', 'TOO_SOON'), 'rejected', 'accepted')"
                    .to_owned(),
            ),
            (
                "reason",
                "multiIf(kind = 'repeated', 'DUPLICATE', kind = 'misnamed', 'UNKNOWN_EVENT', \
                 kind = 'lost', 'MISSING_CLICK_ID', first_reason)"
                    .to_owned(),
            ),
            ("conversion_id", "if(kind IN ('misnamed', 'lost'), '', conversion)".to_owned()),
            ("offer_id", format!("if(kind = 'lost', '', {})", of_offer(|it| it.id.clone()))),
            (
                "publisher_id",
                "if(kind = 'lost', '', concat('pub-', toString(publisher)))".to_owned(),
            ),
            (
                "parameters",
                "arrayConcat(if(kind = 'lost', [], [('gk_click_id', click)]), \
                 [('cnv_event_id', if(kind = 'misnamed', 'install', event)), \
                 ('event_time', toString(intDiv(received_ms, 1000)))])"
                    .to_owned(),
            ),
            ("flags", "[]".to_owned()),
            ("test", "is_test AND kind != 'lost'".to_owned()),
            ("config_version", "1".to_owned()),
        ];
        let from = format!(
            "(SELECT *, {kinds} AS kinds FROM {} WHERE received_ms >= {} AND received_ms < {}) \
             ARRAY JOIN kinds AS kind",
            self.events(days, EVENTS_DAYS, every),
            BEGIN_MS + days.0 * DAY_MS,
            BEGIN_MS + days.1 * DAY_MS
        );
        Filled { table: "postbacks", columns, from }
    }
}
