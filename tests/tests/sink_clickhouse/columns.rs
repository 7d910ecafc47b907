//! Any rows, sent as columns, are the same in ClickHouse as when the client sends them one by one
//! and ClickHouse makes columns of them itself.

use crate::{Server, ask, execute};
use anyhow::{Result, ensure};
use clickhouse::Client;
use schemas::decision::CommandEffect;
use schemas::ids::{ConversionId, EventId, PostbackId};
use schemas::postback::{DeliveryKind, DeliveryOutcome, DeliveryProblem, Destination};
use schemas::{
    Click, CommandOutcome, Conversion, ConversionStatus, Currency, DeadLetter, DeliveryAttempt,
    Flag, Micros, Mismatch, Outcome, Platform, PostbackOutcome, Reason, Redecision,
    RedecisionEffect, Refusal, SubIds, Topic, UnixMillis,
};
use sink::client::insert_client;
use sink::columns::Tables;
use sink::decode::{Place, Placed};
use sink::rows::Record;
use sink::{TableRetention, migrate};
use tests::messages;
use tests::random::Random;
use uuid::Uuid;

const ROWS: [u64; 3] = [1, 90, 3_000];
/// So many that indexes into a dictionary have four bytes.
const CLICKS: u64 = 70_000;
const SEED: u64 = 7;
/// Times are made up.
const KEEP: &str =
    "clicks=forever,postbacks=forever,refused=forever,dead_letters=forever,deliveries=forever";

pub async fn rows_as_columns_are_the_same_rows(server: &Server) -> Result<()> {
    let columns = Tables::new(client(server, "as_columns").await?);
    let rows = client(server, "as_rows").await?;
    for (seed, count) in (SEED..).zip(ROWS) {
        let mut any = Any { random: Random(seed), different: count };
        let both = &(&columns, &rows);
        check(both, (0..count).map(|n| any.click(n)).collect()).await?;
        check(both, (0..count).map(|n| any.postback(n)).collect()).await?;
        check(both, (0..count).map(|n| any.conversion(n)).collect()).await?;
        check(both, (0..count).map(|n| any.command(n)).collect()).await?;
        check(both, (0..count).map(|n| any.redecision(n)).collect()).await?;
        check(both, (0..count).map(|n| any.refusal(n)).collect()).await?;
        check(both, (0..count).map(|n| any.dead_letter(n)).collect()).await?;
        check(both, (0..count).map(|n| any.delivery(n)).collect()).await?;
    }
    let mut any = Any { random: Random(SEED), different: CLICKS * 4 };
    check(&(&columns, &rows), (0..CLICKS).map(|n| any.click(n)).collect()).await
}

async fn client(server: &Server, database: &str) -> Result<Client> {
    let mut config = server.database(database);
    config.retention = TableRetention::parse(KEEP).map_err(anyhow::Error::msg)?;
    migrate(&config).await?;
    Ok(insert_client(&config))
}

async fn check<M: Record>(&(tables, client): &(&Tables, &Client), all: Vec<M>) -> Result<()> {
    let (table, count) = (M::TABLE, all.len());
    for client in [tables.client(), client] {
        execute(client, &format!("TRUNCATE TABLE {table}")).await?;
    }
    let token = format!("{table}-{count}");
    let mut insert =
        client.insert::<M::Row>(table).await?.with_setting("insert_deduplication_token", &token);
    for message in &all {
        insert.write(&message.row()).await?;
    }
    insert.end().await?;
    let place = Place { source: (Topic::Clicks, 0), offset: 0 };
    let all: Vec<Placed<M>> = all.into_iter().map(|message| Placed { place, message }).collect();
    let refused = sink::insert::insert(tables, &token, &all).await.refused;
    ensure!(refused.is_empty(), "{table}: {refused:?}");
    let layout = tables.layout::<M>().await?;
    let names: Vec<&str> = layout.columns().iter().map(|column| column.name).collect();
    let line = format!("formatRow('JSONCompactEachRow', {})", names.join(", "));
    let content = format!("SELECT count(), sum(cityHash64({line})) FROM {table}");
    let (one, other) = (ask(tables.client(), &content).await?, ask(client, &content).await?);
    if one != other {
        let first = format!("SELECT {line} AS line FROM {table} ORDER BY line LIMIT 5");
        let (some, others) = (ask(tables.client(), &first).await?, ask(client, &first).await?);
        anyhow::bail!("{count} {table}: {one}, not {other}\n{some}\n\n{others}");
    }
    ensure!(one.starts_with(&format!("{count}\t")), "{count} {table} are {one}");
    are_found(tables.client(), &all).await
}

/// The rows are found again by what the messages say, in all the tables where they are kept: all of
/// them, and those of usual times, of which not all of a table is read.
async fn are_found<M: Record>(client: &Client, all: &[Placed<M>]) -> Result<()> {
    let usual = |row: &&Placed<M>| {
        let times = M::KEPT.iter().map(|kept| (kept.time)(&row.message));
        times.into_iter().all(|time| (1..2 * messages::RECEIVED_AT.0).contains(&time))
    };
    for mut rows in [all.iter().collect::<Vec<_>>(), all.iter().filter(usual).collect()] {
        let count = rows.len();
        sink::kept::keep_missing(client, &mut rows, 0).await;
        ensure!(rows.is_empty(), "{} of {count} {} are not found", rows.len(), M::TABLE);
    }
    Ok(())
}

/// Makes things up, the odd ones more often than the usual.
struct Any {
    random: Random,
    /// How many different texts a column may have, about.
    different: u64,
}

impl Any {
    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.random.below(all.len() as u64) as usize].clone()
    }

    fn maybe<T>(&mut self, some: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.random.below(2) == 0).then(|| some(self))
    }

    fn some<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.random.below(4)).map(|_| one(self)).collect()
    }

    fn text(&mut self) -> String {
        match self.random.below(8) {
            0 | 1 => String::new(),
            2 => self
                .one_of(&["\0", "a\0b", "'", "\\N", "\n\t", "ä€𝄞", "NULL", "\u{202e}"])
                .to_owned(),
            // Around the lengths where a length takes one byte more.
            3 => "x".repeat(126 + self.random.below(4) as usize),
            4 if self.random.below(1_000) == 0 => {
                "y".repeat(16_382 + self.random.below(4) as usize)
            }
            _ => format!("text {}", self.random.below(self.different)),
        }
    }

    fn time(&mut self) -> UnixMillis {
        let odd = [0, -1, 1, i64::MIN, i64::MAX, -2_208_988_800_001, 10_413_792_000_000];
        let near = messages::RECEIVED_AT.0 - self.random.below(5_000_000_000).cast_signed();
        UnixMillis(match self.random.below(4) {
            0 => self.one_of(&odd),
            _ => near,
        })
    }

    fn amount(&mut self) -> Micros {
        let odd = [0, -1, i64::MAX, i64::MIN, 999_999_999_999_999_999];
        let usual = self.random.number().cast_signed() >> 20;
        Micros(match self.random.below(3) {
            0 => self.one_of(&odd),
            _ => usual,
        })
    }

    fn number(&mut self) -> u64 {
        let any = self.random.number();
        self.one_of(&[0, 1, u64::MAX, any])
    }

    fn small(&mut self) -> u32 {
        let any = self.random.number() as u32;
        self.one_of(&[0, 1, u32::MAX, any])
    }

    fn uuid(&mut self, n: u64) -> Uuid {
        Uuid::from_u64_pair(n, self.random.number())
    }

    fn is(&mut self) -> bool {
        self.random.below(2) == 0
    }

    fn subs(&mut self) -> SubIds {
        SubIds(std::array::from_fn(|_| self.maybe(|it| it.text().into())))
    }

    fn flags(&mut self) -> Vec<Flag> {
        self.some(|it| it.one_of(Flag::ALL))
    }

    fn parameters(&mut self) -> Vec<(String, String)> {
        self.some(|it| (it.text(), it.text()))
    }

    fn click(&mut self, n: u64) -> Click {
        Click {
            click_id: format!("{n}{}", self.text()),
            clicked_at: self.time(),
            country: self.maybe(Self::text),
            platform: self.maybe(|it| it.one_of(Platform::ALL)),
            subs: self.subs(),
            offer_version: self.number(),
            test: self.is(),
            flags: self.flags(),
            ..messages::click(n, &format!("offer-{}", self.random.below(self.different)))
        }
    }

    fn postback(&mut self, n: u64) -> PostbackOutcome {
        let other = messages::postback(n);
        PostbackOutcome {
            postback_id: PostbackId(self.uuid(n)),
            received_at: self.time(),
            click_id: self.text(),
            event_id: self.text(),
            outcome: self.one_of(Outcome::ALL),
            reason: self.maybe(|it| it.one_of(Reason::ALL)),
            conversion_id: other.conversion_id.filter(|_| self.is()),
            offer_id: other.offer_id.filter(|_| self.is()),
            publisher_id: other.publisher_id.filter(|_| self.is()),
            parameters: self.parameters(),
            flags: self.flags(),
            test: self.is(),
            config_version: self.number(),
            ..other
        }
    }

    fn conversion(&mut self, n: u64) -> Conversion {
        let other = messages::conversion(n, 1, "pet-the-dogs");
        Conversion {
            revision: self.small(),
            click_id: self.text().into(),
            clicked_at: self.time(),
            event_name: self.text().into(),
            sequence: self.maybe(Self::small),
            status: self.one_of(ConversionStatus::ALL),
            reason: self.maybe(|it| it.one_of(Reason::ALL)),
            note: self.text(),
            received_at: self.time(),
            due_at: self.maybe(Self::time),
            decided_at: self.time(),
            revenue: self.amount(),
            payout: self.amount(),
            currency: self.one_of(&[Currency::USD, other.currency]),
            reward: self.amount(),
            reward_unit: self.text().into(),
            sale_amount: self.maybe(Self::amount),
            sale_currency: self.maybe(|_| Currency::USD),
            transaction_id: self.maybe(|it| it.text().into()),
            offer_version: self.number(),
            country: self.maybe(Self::text),
            platform: self.maybe(|it| it.one_of(Platform::ALL)),
            subs: self.subs(),
            test: self.is(),
            flags: self.flags(),
            postback_id: self.maybe(|it| PostbackId(it.uuid(n))),
            ..other
        }
    }

    fn command(&mut self, n: u64) -> CommandOutcome {
        CommandOutcome {
            command_id: self.uuid(n),
            effect: self.one_of(CommandEffect::ALL),
            decided_at: self.time(),
            ..messages::command()
        }
    }

    fn redecision(&mut self, n: u64) -> Redecision {
        Redecision {
            run_id: self.uuid(n),
            preview: self.is(),
            effect: self.one_of(RedecisionEffect::ALL),
            operator: self.text(),
            note: self.text(),
            decided_at: self.time(),
            outcome: self.postback(n),
            changes: Vec::new(),
        }
    }

    fn refusal(&mut self, n: u64) -> Refusal {
        Refusal {
            refusal_id: self.uuid(n),
            refused_at: self.time(),
            address: self.text(),
            host: self.text(),
            mismatch: self.one_of(Mismatch::ALL),
            parameters: self.parameters(),
            ..messages::refusal()
        }
    }

    fn dead_letter(&mut self, n: u64) -> DeadLetter {
        DeadLetter {
            topic: self.text(),
            partition: self.small(),
            offset: n,
            found_at: self.time(),
            error: self.text(),
            value_hex: format!("{n:x}"),
        }
    }

    fn delivery(&mut self, n: u64) -> DeliveryAttempt {
        let conversion = messages::conversion(n, 1, "pet-the-dogs");
        let name = format!("to {}", self.random.below(self.different));
        DeliveryAttempt {
            delivery_id: format!("{n}{}", self.text()).into(),
            attempt: self.small(),
            kind: self.one_of(DeliveryKind::ALL),
            created_at: self.time(),
            attempted_at: self.time(),
            destination: Destination::Publisher(conversion.publisher_id.clone(), name),
            tenant: conversion.tenant,
            publisher_id: conversion.publisher_id,
            share_id: conversion.share_id,
            offer_id: conversion.offer_id,
            event_id: EventId::new("s2s_level 200").expect("an event id"),
            click_id: self.text().into(),
            conversion_id: ConversionId::clone(&conversion.conversion_id),
            revision: self.small(),
            status: self.one_of(ConversionStatus::ALL),
            method: self.text(),
            url: self.text(),
            outcome: self.one_of(DeliveryOutcome::ALL),
            problem: self.maybe(|it| it.one_of(DeliveryProblem::ALL)),
            http_status: self.small() as u16,
            latency_ms: self.small(),
            next_attempt_at: self.maybe(Self::time),
            test: self.is(),
        }
    }
}
