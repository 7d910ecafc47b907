//! Publisher postbacks by hand: what is configured and with which secret, sending deliveries again,
//! and trying a postback with an invented conversion. Both go the way of a decision, through the
//! log to the deliverer, so they are made from where all requests are made.

use crate::error::Error;
use crate::report::filter::{Scope, View};
use crate::warehouse::{Question, Warehouse};
use bytes::Bytes;
use eventlog::{EventLog, Record};
use keyring::Keyring;
use schemas::postback::Template;
use schemas::topic::partition_of;
use schemas::{
    Catalog, Decision, DeliveryKind, DeliveryOrder, Destination, Micros, Publisher,
    PublisherMessage, PublisherPostback, Share, Topic, UnixMillis, codec,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Deliveries that are sent again in one go.
pub const RESEND_MAX: u32 = 10_000;
/// Conversions asked for in one question.
const CONVERSIONS_PER_QUESTION: usize = 500;
/// Orders in one record of the log.
const ORDERS_PER_RECORD: usize = 200;
/// How long the outcome of a sample may take to show, and how often it is looked for.
const SAMPLE_WAIT: Duration = Duration::from_secs(25);
const POLL: Duration = Duration::from_millis(100);
/// Characters of a secret that stay visible when it is masked.
const SHOWN_CHARS: usize = 9;

/// A publisher's postbacks, as they are configured.
#[derive(Debug, Serialize)]
pub struct PublisherPostbacks {
    pub publisher: String,
    pub publisher_name: String,
    /// Of the newest version; receivers check `webhook-signature` with it.
    pub secret: String,
    pub secret_version: u32,
    /// Versions that sign beside it while they are being rotated.
    pub other_versions: Vec<u32>,
    pub revealed: bool,
    pub postbacks: Vec<Shown>,
}

/// One postback without its secrets.
#[derive(Debug, Serialize)]
pub struct Shown {
    pub destination: String,
    pub method: &'static str,
    pub url: String,
    pub statuses: String,
    pub test: bool,
}

fn find<'c>(catalog: &'c Catalog, publisher: &str) -> Result<&'c Arc<Publisher>, Error> {
    catalog.publisher(publisher).ok_or_else(|| {
        let shown: String = publisher.chars().take(64).collect();
        Error::not_found(format!("there is no publisher {shown:?}"))
            .with_hint("ids are in the configuration documents, letter for letter")
    })
}

/// Everywhere that a publisher is told, with the share that a sample would be of.
fn destinations<'c>(
    catalog: &'c Catalog,
    publisher: &'c Publisher,
) -> Vec<(Destination, &'c PublisherPostback, Option<&'c Arc<Share>>)> {
    let shares: Vec<&Arc<Share>> =
        catalog.shares().filter(|share| share.publisher == publisher.id).collect();
    let first = shares.first().copied();
    let own = publisher
        .postbacks
        .iter()
        .map(move |it| (Destination::Publisher(publisher.id.clone(), it.name.clone()), it, first));
    let of_share = |share: &'c Arc<Share>| {
        let with = move |it: &'c PublisherPostback| {
            (Destination::Share(share.id.clone(), it.name.clone()), it, Some(share))
        };
        share.postbacks.iter().map(with)
    };
    own.chain(shares.into_iter().flat_map(of_share)).collect()
}

/// A publisher's secret and postbacks; the secret masked unless `reveal`.
pub fn publisher_postbacks(
    catalog: &Catalog,
    keyring: &Keyring,
    publisher: &str,
    reveal: bool,
) -> Result<PublisherPostbacks, Error> {
    let found = find(catalog, publisher)?;
    let version = found.secret_versions.iter().copied().max().unwrap_or(1);
    let secrets = keyring.webhook_secrets(&found.tenant, &found.id, version);
    let secret = secrets.first().ok_or_else(|| Error::Internal("there is no master key".into()))?;
    let mask = |secret: String| -> String {
        let hide = |(index, c)| if index < SHOWN_CHARS { c } else { '•' };
        secret.chars().enumerate().map(hide).collect()
    };
    let shown = |(destination, postback, _): (Destination, &PublisherPostback, _)| Shown {
        destination: destination.to_string(),
        method: postback.form.method(),
        url: postback.url.without_secrets(),
        statuses: postback.statuses.iter().map(|it| it.code()).collect::<Vec<_>>().join(" "),
        test: postback.test,
    };
    Ok(PublisherPostbacks {
        publisher: found.id.to_string(),
        publisher_name: found.name.clone(),
        secret: if reveal { secret.reveal() } else { mask(secret.reveal()) },
        secret_version: version,
        other_versions: found.secret_versions.iter().copied().filter(|it| *it != version).collect(),
        revealed: reveal,
        postbacks: destinations(catalog, found).into_iter().map(shown).collect(),
    })
}

/// Appends orders, each to the partition of its conversion's root offer.
async fn send(
    log: &dyn EventLog,
    orders: Vec<DeliveryOrder>,
    now: UnixMillis,
) -> Result<(), Error> {
    let mut by_partition: BTreeMap<u32, Vec<DeliveryOrder>> = BTreeMap::new();
    let partitions = log.partitions(Topic::Decisions);
    for order in orders {
        let partition = partition_of(&order.message.conversion_id.root_offer(), partitions);
        by_partition.entry(partition).or_default().push(order);
    }
    for (partition, orders) in by_partition {
        let record = |deliveries: &[DeliveryOrder]| {
            let decision = Decision { deliveries: deliveries.to_vec(), ..Decision::default() };
            Record { key: Bytes::new(), value: codec::encode(&decision).into(), at: now }
        };
        let records = orders.chunks(ORDERS_PER_RECORD).map(record).collect();
        log.append(Topic::Decisions, partition, records).await.map_err(|error| {
            Error::Unavailable {
                message: error.to_string(),
                hint: Some("asking again is safe: what waits already is not sent twice".to_owned()),
            }
        })?;
    }
    Ok(())
}

/// What was sent again.
#[derive(Debug, Serialize)]
pub struct Resent {
    pub resent: usize,
    /// There are more than were asked for.
    pub more: bool,
    /// Whose conversion is not in ClickHouse any more.
    pub without_conversion: usize,
}

#[derive(Deserialize)]
struct DeliveryRow {
    id: String,
    attempts: u32,
    place: String,
    conversion: String,
    rev: u32,
}

/// Sends the deliveries of a scope again, with their ids, so that receivers know what they have.
pub async fn resend(
    (log, warehouse, catalog): (&dyn EventLog, &Warehouse, &Catalog),
    scope: &Scope,
    limit: u32,
    now: UnixMillis,
) -> Result<Resent, Error> {
    let view = View::Deliveries;
    let sql = format!(
        "SELECT delivery_id AS id, attempt AS attempts, destination AS place, \
         conversion_id AS conversion, revision AS rev FROM {} WHERE {} AND kind != 'sample' \
         ORDER BY {time} DESC LIMIT {{rows:UInt32}}",
        view.name(),
        scope.conditions(view, view.time()),
        time = view.time(),
    );
    let question = scope.bind(Question::new(sql).bind("rows", limit + 1), catalog);
    let mut rows: Vec<DeliveryRow> = warehouse.rows(question).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let mut orders = Vec::new();
    for chunk in rows.chunks(CONVERSIONS_PER_QUESTION) {
        let ids: Vec<String> = chunk.iter().map(|row| row.conversion.clone()).collect();
        let messages = messages(warehouse, catalog, ids).await?;
        for row in chunk {
            let Some(message) = messages.get(&(row.conversion.clone(), row.rev)) else { continue };
            let Ok(destination) = row.place.parse() else { continue };
            orders.push(DeliveryOrder {
                delivery_id: row.id.as_str().into(),
                kind: DeliveryKind::Resend,
                destination,
                attempts: row.attempts + 1,
                asked_at: now,
                config_version: catalog.version,
                message: message.clone(),
            });
        }
    }
    let resent = orders.len();
    send(log, orders, now).await?;
    Ok(Resent { resent, more, without_conversion: rows.len() - resent })
}

const MESSAGE: &str = "SELECT conversion_id AS id, revision AS rev, click_id AS click, \
    toUnixTimestamp64Milli(c.clicked_at) AS clicked_ms, tenant AS of_tenant, \
    publisher_id AS publisher, share_id AS share, offer_id AS offer, event_id AS event, \
    event_name AS name, status AS standing, reason AS why, toString(c.payout) AS payout_text, \
    currency AS money, toString(c.reward) AS reward_text, reward_unit AS unit, \
    transaction_id AS transaction, toUnixTimestamp64Milli(c.received_at) AS received_ms, \
    toUnixTimestamp64Milli(c.decided_at) AS decided_ms, \
    toUnixTimestamp64Milli(c.due_at) AS due_ms, country AS land, platform AS device, \
    [sub1, sub2, sub3, sub4, sub5, sub6, sub7, sub8, sub9, sub10, sub11, sub12, sub13, sub14, \
    sub15] AS subs, test AS is_test FROM conversions_revisions AS c \
    WHERE conversion_id IN {ids:Array(String)}";

#[derive(Deserialize)]
struct MessageRow {
    id: String,
    rev: u32,
    click: String,
    clicked_ms: i64,
    of_tenant: String,
    publisher: String,
    share: String,
    offer: String,
    event: String,
    name: String,
    standing: String,
    why: String,
    payout_text: String,
    money: String,
    reward_text: String,
    unit: String,
    transaction: String,
    received_ms: i64,
    decided_ms: i64,
    due_ms: Option<i64>,
    land: String,
    device: String,
    subs: Vec<String>,
    is_test: bool,
}

impl MessageRow {
    /// In the message's own JSON, which checks every part of it.
    fn message(&self, offer_name: &str) -> Option<PublisherMessage> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let subs: Vec<Option<String>> = self.subs.iter().map(|sub| some(sub)).collect();
        serde_json::from_value(json!({
            "conversion_id": self.id, "revision": self.rev, "click_id": self.click,
            "clicked_at": self.clicked_ms, "tenant": self.of_tenant,
            "publisher_id": self.publisher, "share_id": self.share, "offer_id": self.offer,
            "offer_name": offer_name, "event_id": self.event, "event_name": self.name,
            "status": self.standing, "reason": some(&self.why),
            "payout": Micros::parse(&self.payout_text).ok()?, "currency": self.money,
            "reward": Micros::parse(&self.reward_text).ok()?, "reward_unit": self.unit,
            "transaction_id": some(&self.transaction), "received_at": self.received_ms,
            "decided_at": self.decided_ms, "due_at": self.due_ms, "country": some(&self.land),
            "platform": some(&self.device), "subs": subs, "test": self.is_test,
        }))
        .ok()
    }
}

async fn messages(
    warehouse: &Warehouse,
    catalog: &Catalog,
    ids: Vec<String>,
) -> Result<BTreeMap<(String, u32), PublisherMessage>, Error> {
    let rows: Vec<MessageRow> =
        warehouse.rows(Question::new(MESSAGE).bind_list("ids", ids)).await?;
    let named = |row: MessageRow| {
        let share = catalog.share(&row.share).and_then(|share| share.name.clone());
        let offer = catalog.offer(&row.offer).map(|offer| offer.name.clone());
        let message = row.message(&share.or(offer).unwrap_or_default())?;
        Some(((row.id, row.rev), message))
    };
    Ok(rows.into_iter().filter_map(named).collect())
}

/// What came of a sample.
#[derive(Debug, Serialize, Deserialize)]
pub struct SampleOutcome {
    pub destination: String,
    /// Method and URL as they were filled, without what may be a key.
    pub request: String,
    pub delivery_id: String,
    pub outcome: String,
    pub problem: String,
    pub http_status: u16,
    pub latency_ms: u32,
}

#[derive(Deserialize)]
struct OutcomeRow {
    id: String,
    result: String,
    trouble: String,
    answer: u16,
    took: u32,
}

/// Sends an invented conversion (a test, without worth) to every test URL of a publisher and waits
/// for what comes of it. Other URLs are never called with it.
pub async fn sample(
    (log, warehouse, catalog): (&dyn EventLog, &Warehouse, &Catalog),
    publisher: &str,
    now: UnixMillis,
) -> Result<Vec<SampleOutcome>, Error> {
    let found = find(catalog, publisher)?;
    let mut orders = Vec::new();
    let mut urls = BTreeMap::new();
    let all = destinations(catalog, found);
    if !all.iter().any(|(_, postback, _)| postback.test) {
        let what = if all.is_empty() { "postback" } else { "test URL" };
        return Err(Error::not_found(format!("{publisher} has no {what}, so nothing was sent"))
            .with_hint(NO_TEST_URL));
    }
    for (destination, postback, share) in all {
        if !postback.test {
            continue;
        }
        let share = share.ok_or_else(|| {
            Error::not_found(format!(
                "no offer is shared with {publisher}, so there is nothing to tell"
            ))
        })?;
        let event = catalog.offer(share.offer.as_str()).and_then(|offer| {
            let wanted = |it: &&schemas::Event| {
                !it.private && (postback.events.is_empty() || postback.events.contains(&it.id))
            };
            Some((offer, offer.events.iter().find(wanted)?))
        });
        let Some((offer, event)) = event else { continue };
        let status =
            postback.statuses.first().copied().unwrap_or(schemas::ConversionStatus::Success);
        let id = format!("{}.{}", offer.root, sample_digits());
        let message = serde_json::from_value(json!({
            "conversion_id": id, "revision": 1, "click_id": "sample-click", "clicked_at": now,
            "tenant": found.tenant, "publisher_id": found.id, "share_id": share.id,
            "offer_id": offer.id, "offer_name": share.name.clone().unwrap_or(offer.name.clone()),
            "event_id": event.id, "event_name": event.name, "status": status,
            "payout": event.payout, "currency": offer.currency, "reward": event.reward,
            "reward_unit": offer.reward_unit, "received_at": now, "decided_at": now,
            "subs": (1..=15).map(|n| format!("sample-sub{n}")).collect::<Vec<_>>(), "test": true,
        }));
        let message = message.map_err(|error| Error::Internal(error.to_string()))?;
        let delivery_id = format!("dlv_sample_{}", Uuid::now_v7().simple());
        let url = Template(postback.url.without_secrets()).fill_url(&message);
        urls.insert(delivery_id.clone(), format!("{} {url}", postback.form.method()));
        orders.push(DeliveryOrder {
            delivery_id: delivery_id.into(),
            kind: DeliveryKind::Sample,
            destination,
            attempts: 0,
            asked_at: now,
            config_version: catalog.version,
            message,
        });
    }
    let asked: BTreeMap<String, Asked> = orders
        .iter()
        .map(|order| {
            let id = order.delivery_id.to_string();
            let request = urls.remove(&id).unwrap_or_default();
            (id, Asked { destination: order.destination.to_string(), request })
        })
        .collect();
    if asked.is_empty() {
        return Err(Error::not_found(format!("no postback of {publisher} could be tried"))
            .with_hint("its test URLs want events that no offer shared with it has"));
    }
    send(log, orders, now).await?;
    outcomes(warehouse, &asked).await
}

const NO_TEST_URL: &str = "add `test_url: https://…` to one of its `postbacks:` and apply it; \
    samples and test conversions go there and nowhere else";

/// What a sample was sent as.
struct Asked {
    destination: String,
    request: String,
}

/// 26 characters of a conversion id that no conversion has.
fn sample_digits() -> String {
    let digits = Uuid::now_v7().simple().to_string();
    digits.chars().rev().take(26).collect()
}

async fn outcomes(
    warehouse: &Warehouse,
    asked: &BTreeMap<String, Asked>,
) -> Result<Vec<SampleOutcome>, Error> {
    const SQL: &str = "SELECT delivery_id AS id, outcome AS result, problem AS trouble, \
        http_status AS answer, latency_ms AS took FROM deliveries_unique \
        WHERE delivery_id IN {ids:Array(String)} AND outcome != 'waiting'";
    let look = async {
        loop {
            let ids = asked.keys().cloned().collect();
            let rows: Vec<OutcomeRow> =
                warehouse.rows(Question::new(SQL).bind_list("ids", ids)).await?;
            if rows.len() >= asked.len() {
                return Ok(rows);
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let rows = match tokio::time::timeout(SAMPLE_WAIT, look).await {
        Ok(rows) => rows?,
        Err(_) => {
            return Err(Error::TimedOut(
                "the sample was sent off, but what came of it does not show (does a sink with \
                 master keys run?); `gokart deliveries --include-test` will tell it"
                    .to_owned(),
            ));
        }
    };
    let outcome = |row: OutcomeRow| SampleOutcome {
        destination: asked.get(&row.id).map(|it| it.destination.clone()).unwrap_or_default(),
        request: asked.get(&row.id).map(|it| it.request.clone()).unwrap_or_default(),
        delivery_id: row.id,
        outcome: row.result,
        problem: row.trouble,
        http_status: row.answer,
        latency_ms: row.took,
    };
    Ok(rows.into_iter().map(outcome).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::ConversionId;

    #[test]
    fn invented_conversions_have_proper_ids() {
        let id = format!("offer.{}", sample_digits());
        assert!(ConversionId::new(&id).is_ok(), "{id}");
    }
}
