//! Messages as rows: one struct a table, its fields the table's columns. The rows borrow from the
//! messages, and [`crate::columns`] checks names and types against the table.
//!
//! Empty text stands for what a message does not have; times are Unix milliseconds
//! (`DateTime64(3)`), amounts micros (`Decimal64(6)`), just as the messages have them.

use crate::kept::Kept;
use clickhouse::{Row, RowWrite};
use schemas::decision::CommandOutcome;
use schemas::{
    Click, Conversion, DeadLetter, DeliveryAttempt, Flag, PostbackOutcome, Redecision, Refusal,
    SubIds,
};
use serde::Serialize;
use uuid::Uuid;

/// A message that is a row of a table.
pub trait Record: Send + Sync + Sized + 'static {
    const TABLE: &'static str;
    type Row: Row + RowWrite + 'static;
    /// Where a row of this kind must be found after it was inserted.
    const KEPT: &'static [Kept<Self>];

    fn row(&self) -> <Self::Row as Row>::Value<'_>;
}

/// ClickHouse has a UUID as its two halves.
type UuidHalves = (u64, u64);

fn flags(flags: &[Flag]) -> Vec<&'static str> {
    flags.iter().map(|flag| flag.code()).collect()
}

fn sub(subs: &SubIds, number: usize) -> &str {
    subs.get(number).unwrap_or_default()
}

fn pairs(parameters: &[(String, String)]) -> Vec<(&str, &str)> {
    parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn halves(uuid: &Uuid) -> UuidHalves {
    uuid.as_u64_pair()
}

#[derive(Debug, Row, Serialize)]
pub struct ClickRow<'a> {
    pub click_id: &'a str,
    pub tenant: &'a str,
    pub advertiser_id: &'a str,
    pub offer_id: &'a str,
    pub root_offer_id: &'a str,
    pub share_id: &'a str,
    pub publisher_id: &'a str,
    pub clicked_at: i64,
    pub country: &'a str,
    pub platform: &'a str,
    pub sub1: &'a str,
    pub sub2: &'a str,
    pub sub3: &'a str,
    pub sub4: &'a str,
    pub sub5: &'a str,
    pub sub6: &'a str,
    pub sub7: &'a str,
    pub sub8: &'a str,
    pub sub9: &'a str,
    pub sub10: &'a str,
    pub sub11: &'a str,
    pub sub12: &'a str,
    pub sub13: &'a str,
    pub sub14: &'a str,
    pub sub15: &'a str,
    pub offer_version: u64,
    pub test: bool,
    pub flags: Vec<&'static str>,
}

impl Record for Click {
    const TABLE: &'static str = "clicks";
    type Row = ClickRow<'static>;
    const KEPT: &'static [Kept<Self>] = &[Kept {
        table: "clicks",
        identity: |it| it.click_id.clone(),
        identity_sql: "click_id",
        time: |it| it.clicked_at.0,
        time_sql: "clicked_at",
        rank: |_| 0,
        rank_sql: "0",
    }];

    fn row(&self) -> ClickRow<'_> {
        ClickRow {
            click_id: &self.click_id,
            tenant: self.tenant.as_str(),
            advertiser_id: self.advertiser_id.as_str(),
            offer_id: self.offer_id.as_str(),
            root_offer_id: self.root_offer_id.as_str(),
            share_id: self.share_id.as_str(),
            publisher_id: self.publisher_id.as_str(),
            clicked_at: self.clicked_at.0,
            country: self.country.as_deref().unwrap_or_default(),
            platform: self.platform.map_or("", |platform| platform.code()),
            sub1: sub(&self.subs, 1),
            sub2: sub(&self.subs, 2),
            sub3: sub(&self.subs, 3),
            sub4: sub(&self.subs, 4),
            sub5: sub(&self.subs, 5),
            sub6: sub(&self.subs, 6),
            sub7: sub(&self.subs, 7),
            sub8: sub(&self.subs, 8),
            sub9: sub(&self.subs, 9),
            sub10: sub(&self.subs, 10),
            sub11: sub(&self.subs, 11),
            sub12: sub(&self.subs, 12),
            sub13: sub(&self.subs, 13),
            sub14: sub(&self.subs, 14),
            sub15: sub(&self.subs, 15),
            offer_version: self.offer_version,
            test: self.test,
            flags: flags(&self.flags),
        }
    }
}

#[derive(Debug, Row, Serialize)]
pub struct PostbackRow<'a> {
    pub postback_id: UuidHalves,
    pub tenant: &'a str,
    pub advertiser_id: &'a str,
    pub received_at: i64,
    pub click_id: &'a str,
    pub event_id: &'a str,
    pub outcome: &'a str,
    pub reason: &'a str,
    pub conversion_id: &'a str,
    pub offer_id: &'a str,
    pub publisher_id: &'a str,
    pub parameters: Vec<(&'a str, &'a str)>,
    pub flags: Vec<&'static str>,
    pub test: bool,
    pub config_version: u64,
}

impl Record for PostbackOutcome {
    const TABLE: &'static str = "postbacks";
    type Row = PostbackRow<'static>;
    const KEPT: &'static [Kept<Self>] = &[Kept {
        table: "postbacks",
        identity: |it| it.postback_id.0.to_string(),
        identity_sql: "toString(postback_id)",
        time: |it| it.received_at.0,
        time_sql: "received_at",
        rank: |_| 0,
        rank_sql: "0",
    }];

    fn row(&self) -> PostbackRow<'_> {
        PostbackRow {
            postback_id: halves(&self.postback_id.0),
            tenant: self.tenant.as_str(),
            advertiser_id: self.advertiser_id.as_str(),
            received_at: self.received_at.0,
            click_id: &self.click_id,
            event_id: &self.event_id,
            outcome: self.outcome.code(),
            reason: self.reason.map_or("", |reason| reason.code()),
            conversion_id: self.conversion_id.as_ref().map_or("", |id| id.as_str()),
            offer_id: self.offer_id.as_ref().map_or("", |id| id.as_str()),
            publisher_id: self.publisher_id.as_ref().map_or("", |id| id.as_str()),
            parameters: pairs(&self.parameters),
            flags: flags(&self.flags),
            test: self.test,
            config_version: self.config_version,
        }
    }
}

#[derive(Debug, Row, Serialize)]
pub struct ConversionRow<'a> {
    pub conversion_id: &'a str,
    pub revision: u32,
    pub click_id: &'a str,
    pub clicked_at: i64,
    pub tenant: &'a str,
    pub advertiser_id: &'a str,
    pub offer_id: &'a str,
    pub root_offer_id: &'a str,
    pub share_id: &'a str,
    pub publisher_id: &'a str,
    pub event_id: &'a str,
    pub event_name: &'a str,
    pub sequence: Option<u32>,
    pub status: &'a str,
    pub reason: &'a str,
    pub note: &'a str,
    pub received_at: i64,
    pub due_at: Option<i64>,
    pub decided_at: i64,
    pub revenue: i64,
    pub payout: i64,
    pub currency: &'a str,
    pub reward: i64,
    pub reward_unit: &'a str,
    pub sale_amount: Option<i64>,
    pub sale_currency: &'a str,
    pub transaction_id: &'a str,
    pub offer_version: u64,
    pub country: &'a str,
    pub platform: &'a str,
    pub sub1: &'a str,
    pub sub2: &'a str,
    pub sub3: &'a str,
    pub sub4: &'a str,
    pub sub5: &'a str,
    pub sub6: &'a str,
    pub sub7: &'a str,
    pub sub8: &'a str,
    pub sub9: &'a str,
    pub sub10: &'a str,
    pub sub11: &'a str,
    pub sub12: &'a str,
    pub sub13: &'a str,
    pub sub14: &'a str,
    pub sub15: &'a str,
    pub test: bool,
    pub flags: Vec<&'static str>,
    pub postback_id: Option<UuidHalves>,
}

impl Record for Conversion {
    const TABLE: &'static str = "conversions";
    type Row = ConversionRow<'static>;
    const KEPT: &'static [Kept<Self>] = &[
        Kept {
            table: "conversions",
            identity: |it| format!("{}/{}", it.conversion_id.as_str(), it.revision),
            identity_sql: "concat(conversion_id, '/', toString(revision))",
            time: |it| it.received_at.0,
            time_sql: "received_at",
            rank: |_| 0,
            rank_sql: "0",
        },
        Kept {
            table: "conversions_latest",
            identity: |it| it.conversion_id.as_str().to_owned(),
            identity_sql: "conversion_id",
            time: |it| it.received_at.0,
            time_sql: "received_at",
            rank: |it| it.revision,
            rank_sql: "revision",
        },
    ];

    fn row(&self) -> ConversionRow<'_> {
        ConversionRow {
            conversion_id: self.conversion_id.as_str(),
            revision: self.revision,
            click_id: &self.click_id,
            clicked_at: self.clicked_at.0,
            tenant: self.tenant.as_str(),
            advertiser_id: self.advertiser_id.as_str(),
            offer_id: self.offer_id.as_str(),
            root_offer_id: self.root_offer_id.as_str(),
            share_id: self.share_id.as_str(),
            publisher_id: self.publisher_id.as_str(),
            event_id: self.event_id.as_str(),
            event_name: &self.event_name,
            sequence: self.sequence,
            status: self.status.code(),
            reason: self.reason.map_or("", |reason| reason.code()),
            note: &self.note,
            received_at: self.received_at.0,
            due_at: self.due_at.map(|at| at.0),
            decided_at: self.decided_at.0,
            revenue: self.revenue.0,
            payout: self.payout.0,
            currency: self.currency.code(),
            reward: self.reward.0,
            reward_unit: &self.reward_unit,
            sale_amount: self.sale_amount.map(|amount| amount.0),
            sale_currency: self.sale_currency.map_or("", |currency| currency.code()),
            transaction_id: self.transaction_id.as_deref().unwrap_or_default(),
            offer_version: self.offer_version,
            country: self.country.as_deref().unwrap_or_default(),
            platform: self.platform.map_or("", |platform| platform.code()),
            sub1: sub(&self.subs, 1),
            sub2: sub(&self.subs, 2),
            sub3: sub(&self.subs, 3),
            sub4: sub(&self.subs, 4),
            sub5: sub(&self.subs, 5),
            sub6: sub(&self.subs, 6),
            sub7: sub(&self.subs, 7),
            sub8: sub(&self.subs, 8),
            sub9: sub(&self.subs, 9),
            sub10: sub(&self.subs, 10),
            sub11: sub(&self.subs, 11),
            sub12: sub(&self.subs, 12),
            sub13: sub(&self.subs, 13),
            sub14: sub(&self.subs, 14),
            sub15: sub(&self.subs, 15),
            test: self.test,
            flags: flags(&self.flags),
            postback_id: self.postback_id.as_ref().map(|id| halves(&id.0)),
        }
    }
}

#[derive(Debug, Row, Serialize)]
pub struct CommandRow<'a> {
    pub command_id: UuidHalves,
    pub conversion_id: &'a str,
    pub effect: &'a str,
    pub decided_at: i64,
}

impl Record for CommandOutcome {
    const TABLE: &'static str = "commands";
    type Row = CommandRow<'static>;
    const KEPT: &'static [Kept<Self>] = &[Kept {
        table: "commands",
        identity: |it| it.command_id.to_string(),
        identity_sql: "toString(command_id)",
        time: |it| it.decided_at.0,
        time_sql: "decided_at",
        rank: |_| 0,
        rank_sql: "0",
    }];

    fn row(&self) -> CommandRow<'_> {
        CommandRow {
            command_id: halves(&self.command_id),
            conversion_id: self.conversion_id.as_str(),
            effect: self.effect.code(),
            decided_at: self.decided_at.0,
        }
    }
}

#[derive(Debug, Row, Serialize)]
pub struct RedecisionRow<'a> {
    pub postback_id: UuidHalves,
    pub tenant: &'a str,
    pub advertiser_id: &'a str,
    pub received_at: i64,
    pub click_id: &'a str,
    pub event_id: &'a str,
    pub outcome: &'a str,
    pub reason: &'a str,
    pub conversion_id: &'a str,
    pub offer_id: &'a str,
    pub publisher_id: &'a str,
    pub parameters: Vec<(&'a str, &'a str)>,
    pub flags: Vec<&'static str>,
    pub test: bool,
    pub config_version: u64,
    pub run_id: UuidHalves,
    pub preview: bool,
    pub effect: &'a str,
    pub operator: &'a str,
    pub note: &'a str,
    pub decided_at: i64,
    pub changes: String,
}

impl Record for Redecision {
    const TABLE: &'static str = "redecisions";
    type Row = RedecisionRow<'static>;
    const KEPT: &'static [Kept<Self>] = &[Kept {
        table: "redecisions",
        identity: |it| format!("{}/{}/{}", it.outcome.postback_id.0, it.run_id, it.preview),
        identity_sql: "concat(toString(postback_id), '/', toString(run_id), '/', toString(preview))",
        time: |it| it.outcome.received_at.0,
        time_sql: "received_at",
        rank: |_| 0,
        rank_sql: "0",
    }];

    fn row(&self) -> RedecisionRow<'_> {
        let PostbackRow {
            postback_id,
            tenant,
            advertiser_id,
            received_at,
            click_id,
            event_id,
            outcome,
            reason,
            conversion_id,
            offer_id,
            publisher_id,
            parameters,
            flags,
            test,
            config_version,
        } = self.outcome.row();
        RedecisionRow {
            postback_id,
            tenant,
            advertiser_id,
            received_at,
            click_id,
            event_id,
            outcome,
            reason,
            conversion_id,
            offer_id,
            publisher_id,
            parameters,
            flags,
            test,
            config_version,
            run_id: halves(&self.run_id),
            preview: self.preview,
            effect: self.effect.code(),
            operator: &self.operator,
            note: &self.note,
            decided_at: self.decided_at.0,
            // Texts and numbers: there is nothing that could fail.
            changes: serde_json::to_string(&self.changes).unwrap_or_default(),
        }
    }
}

#[derive(Debug, Row, Serialize)]
pub struct RefusalRow<'a> {
    pub refusal_id: UuidHalves,
    pub refused_at: i64,
    pub tenant: &'a str,
    pub address: &'a str,
    pub host: &'a str,
    pub mismatch: &'a str,
    pub parameters: Vec<(&'a str, &'a str)>,
}

impl Record for Refusal {
    const TABLE: &'static str = "refused";
    type Row = RefusalRow<'static>;
    const KEPT: &'static [Kept<Self>] = &[Kept {
        table: "refused",
        identity: |it| it.refusal_id.to_string(),
        identity_sql: "toString(refusal_id)",
        time: |it| it.refused_at.0,
        time_sql: "refused_at",
        rank: |_| 0,
        rank_sql: "0",
    }];

    fn row(&self) -> RefusalRow<'_> {
        RefusalRow {
            refusal_id: halves(&self.refusal_id),
            refused_at: self.refused_at.0,
            tenant: self.tenant.as_ref().map_or("", |tenant| tenant.as_str()),
            address: &self.address,
            host: &self.host,
            mismatch: self.mismatch.code(),
            parameters: pairs(&self.parameters),
        }
    }
}

#[derive(Debug, Row, Serialize)]
pub struct DeadLetterRow<'a> {
    pub topic: &'a str,
    pub partition: u32,
    pub offset: u64,
    pub found_at: i64,
    pub error: &'a str,
    pub value_hex: &'a str,
}

impl Record for DeadLetter {
    const TABLE: &'static str = "dead_letters";
    type Row = DeadLetterRow<'static>;
    const KEPT: &'static [Kept<Self>] = &[Kept {
        table: "dead_letters",
        identity: |it| format!("{}/{}/{}/{}", it.topic, it.partition, it.offset, it.value_hex),
        identity_sql: "concat(topic, '/', toString(partition), '/', toString(offset), '/', value_hex)",
        time: |it| it.found_at.0,
        time_sql: "found_at",
        rank: |_| 0,
        rank_sql: "0",
    }];

    fn row(&self) -> DeadLetterRow<'_> {
        DeadLetterRow {
            topic: &self.topic,
            partition: self.partition,
            offset: self.offset,
            found_at: self.found_at.0,
            error: &self.error,
            value_hex: &self.value_hex,
        }
    }
}

#[derive(Debug, Row, Serialize)]
pub struct DeliveryRow<'a> {
    pub delivery_id: &'a str,
    pub attempt: u32,
    pub kind: &'a str,
    pub created_at: i64,
    pub attempted_at: i64,
    pub tenant: &'a str,
    pub publisher_id: &'a str,
    pub share_id: &'a str,
    pub offer_id: &'a str,
    pub event_id: &'a str,
    pub click_id: &'a str,
    pub conversion_id: String,
    pub revision: u32,
    pub status: &'a str,
    pub destination: String,
    pub method: &'a str,
    pub url: &'a str,
    pub outcome: &'a str,
    pub problem: &'a str,
    pub http_status: u16,
    pub latency_ms: u32,
    pub next_attempt_at: Option<i64>,
    pub test: bool,
}

impl Record for DeliveryAttempt {
    const TABLE: &'static str = "deliveries";
    type Row = DeliveryRow<'static>;
    const KEPT: &'static [Kept<Self>] = &[Kept {
        table: "deliveries",
        identity: |it| format!("{}/{}", it.delivery_id, it.attempt),
        identity_sql: "concat(delivery_id, '/', toString(attempt))",
        time: |it| it.created_at.0,
        time_sql: "created_at",
        rank: |_| 0,
        rank_sql: "0",
    }];

    fn row(&self) -> DeliveryRow<'_> {
        DeliveryRow {
            delivery_id: &self.delivery_id,
            attempt: self.attempt,
            kind: self.kind.code(),
            created_at: self.created_at.0,
            attempted_at: self.attempted_at.0,
            tenant: self.tenant.as_str(),
            publisher_id: self.publisher_id.as_str(),
            share_id: self.share_id.as_str(),
            offer_id: self.offer_id.as_str(),
            event_id: self.event_id.as_str(),
            click_id: &self.click_id,
            conversion_id: self.conversion_id.to_string(),
            revision: self.revision,
            status: self.status.code(),
            destination: self.destination.to_string(),
            method: &self.method,
            url: &self.url,
            outcome: self.outcome.code(),
            problem: self.problem.map_or("", |problem| problem.code()),
            http_status: self.http_status,
            latency_ms: self.latency_ms,
            next_attempt_at: self.next_attempt_at.map(|at| at.0),
            test: self.test,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::sql::FILES;

    /// The columns of a table that the numbered files give it, without those that ClickHouse fills.
    fn columns(table: &str) -> Vec<String> {
        let start = format!("CREATE TABLE IF NOT EXISTS {table} ");
        let statement = FILES
            .iter()
            .find_map(|file| file.text.split_once(&start))
            .map(|(_, rest)| rest.split_once("\n)").map_or(rest, |(columns, _)| columns));
        let lines = statement.unwrap_or_default().lines().skip(2).map(str::trim);
        lines
            .filter(|line| {
                !(line.starts_with("INDEX")
                    || line.contains(" DEFAULT ")
                    || line.contains(" ALIAS "))
            })
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .collect()
    }

    fn check<M: Record>() {
        let fields: Vec<String> =
            <M::Row as Row>::COLUMN_NAMES.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(fields, columns(M::TABLE), "{}", M::TABLE);
    }

    #[test]
    fn rows_have_exactly_the_columns_of_their_tables() {
        check::<Click>();
        check::<PostbackOutcome>();
        check::<Conversion>();
        check::<CommandOutcome>();
        check::<Redecision>();
        check::<Refusal>();
        check::<DeadLetter>();
        check::<DeliveryAttempt>();
        assert_eq!(columns("conversions_latest"), columns("conversions"));
    }
}
