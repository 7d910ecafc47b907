//! Ingesters and the senders in front of them: whatever is not acknowledged is sent again, through
//! another ingester, as another postback.

use super::Broken;
use super::Flaw;
use super::history::lock;
use super::offers::{
    ADVERTISER, AMOUNTS, CLICK_POOL, EVENT_NAMES, PARTITIONS, TENANT, TRANSACTIONS,
};
use super::story::INGESTERS;
use bytes::Bytes;
use eventlog::simulated::SimulatedLog;
use eventlog::{AppendError, EventLog, Record};
use schemas::codec::encode;
use schemas::time::MINUTE_MS;
use schemas::topic::partition_of;
use schemas::{
    AdvertiserId, ClickDetails, Command, CommandKind, Conversion, Postback, PostbackId, Redecide,
    TenantId, Topic, UnixMillis,
};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// Adjust sends again six times.
const ATTEMPTS: usize = 7;
/// How long before its postback an event says that it happened, where it says so.
const EVENT_BEFORE_MS: i64 = 5 * MINUTE_MS;

/// A record that was acknowledged: it must be there for ever.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    pub partition: u32,
    pub value: Bytes,
    pub received_at: UnixMillis,
}

/// What all ingesters share: the way to the log and the time.
pub struct Outside {
    pub log: Arc<SimulatedLog>,
    pub wall_ms: i64,
    pub skew_ms: [i64; INGESTERS],
    pub acknowledged: Vec<Acknowledged>,
    pub in_flight: usize,
    /// Identities given out.
    pub ids: u128,
    pub flaw: Flaw,
    pub broken: Option<Broken>,
}

pub type SharedOutside = Arc<Mutex<Outside>>;

impl Outside {
    fn next_id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128((self.ids << 16) | 0x7000)
    }

    fn clock(&self, attempt: usize) -> UnixMillis {
        let ingester = (self.ids as usize + attempt) % INGESTERS;
        UnixMillis(self.wall_ms + self.skew_ms[ingester])
    }
}

/// What is sent.
#[derive(Debug, Clone)]
pub enum Parcel {
    Postback {
        click: usize,
        event: usize,
        transaction: u64,
        rejects: bool,
    },
    Details {
        click: usize,
    },
    Command {
        conversion: Box<Conversion>,
        kind: CommandKind,
    },
    Redecide {
        postback: Box<Postback>,
        preview: bool,
    },
    /// Bytes as they are, into a partition.
    Bytes {
        partition: u32,
        value: Bytes,
    },
}

/// Sends until it is acknowledged or the sender gives up. The caller has counted it in.
pub async fn send(outside: SharedOutside, parcel: Parcel) {
    for attempt in 0..ATTEMPTS {
        if deliver(&outside, &parcel, attempt).await {
            break;
        }
        for _ in 0..8 * (attempt + 1) {
            tokio::task::yield_now().await;
        }
    }
    lock(&outside).in_flight -= 1;
}

/// One request; true when it was answered 200.
async fn deliver(outside: &SharedOutside, parcel: &Parcel, attempt: usize) -> bool {
    let (log, partition, record, flaw) = {
        let mut outside = lock(outside);
        let id = outside.next_id();
        let at = outside.clock(attempt);
        let (partition, value) = parcel.pack(id, at);
        let record = Record { key: Bytes::new(), value, at };
        (Arc::clone(&outside.log), partition, record, outside.flaw)
    };
    let acknowledged =
        Acknowledged { partition, value: record.value.clone(), received_at: record.at };
    if flaw == Flaw::AnswersTooEarly {
        lock(outside).acknowledged.push(acknowledged.clone());
    }
    let answer = log.append(Topic::Postbacks, partition, vec![record]).await;
    match answer {
        Ok(_) => {
            lock(outside).acknowledged.push(acknowledged);
            true
        }
        Err(AppendError::Unavailable(_) | AppendError::Unknown(_)) => flaw == Flaw::AnswersTooEarly,
        Err(error @ (AppendError::Full(_) | AppendError::Refused(_))) => {
            let broken = Broken::new("the log takes well-formed records", error.to_string());
            lock(outside).broken.get_or_insert(broken);
            true
        }
    }
}

impl Parcel {
    /// Its partition and its bytes as an ingester writes them.
    fn pack(&self, id: Uuid, at: UnixMillis) -> (u32, Bytes) {
        match self {
            Self::Postback { click, event, transaction, rejects } => {
                let click = &CLICK_POOL[*click];
                let postback = Postback {
                    postback_id: PostbackId(id),
                    tenant: TenantId::new(TENANT).expect("a slug"),
                    advertiser: AdvertiserId::new(ADVERTISER).expect("a slug"),
                    received_at: at,
                    parameters: parameters(&click.token, *event, *transaction, *rejects, at),
                    flags: Vec::new(),
                };
                let home = partition_of(&click.resolved.root_offer, PARTITIONS);
                (home, encode(&postback).into())
            }
            Self::Details { click } => {
                let click = &CLICK_POOL[*click].resolved;
                let details = ClickDetails {
                    click: click.key,
                    root_offer: click.root_offer.clone(),
                    clicked_at: click.clicked_at(),
                    subs: click.subs.clone(),
                };
                (partition_of(&click.root_offer, PARTITIONS), encode(&details).into())
            }
            Self::Command { conversion, kind } => {
                let command = Command {
                    command_id: id,
                    issued_at: at,
                    conversion_id: conversion.conversion_id.clone(),
                    click_id: conversion.click_id.to_string(),
                    kind: *kind,
                    reason: "because".to_owned(),
                };
                let home = partition_of(&conversion.root_offer_id, PARTITIONS);
                (home, encode(&command).into())
            }
            Self::Redecide { postback, preview } => {
                let token = postback.parameter("gk_click_id");
                let click = CLICK_POOL.iter().find(|click| Some(click.token.as_str()) == token);
                let command = Redecide {
                    command_id: id,
                    run_id: id,
                    issued_at: at,
                    config_version: 0,
                    preview: *preview,
                    operator: "somebody".to_owned(),
                    reason: "because".to_owned(),
                    postbacks: vec![Postback::clone(postback)],
                };
                let root = &click.expect("one of the pool").resolved.root_offer;
                (partition_of(root, PARTITIONS), encode(&command).into())
            }
            Self::Bytes { partition, value } => (*partition, value.clone()),
        }
    }
}

fn parameters(
    token: &str,
    event: usize,
    transaction: u64,
    rejects: bool,
    at: UnixMillis,
) -> Vec<(String, String)> {
    let mut pairs = vec![("gk_click_id", token.to_owned())];
    pairs.push(("cnv_event_id", EVENT_NAMES[event].to_owned()));
    match transaction {
        0 => {}
        // A refund of whatever had this transaction.
        3 if rejects => {
            pairs.push(("transaction_id", TRANSACTIONS[0].to_owned()));
            pairs.push(("revenue", AMOUNTS[3].to_owned()));
        }
        number => {
            let index = number as usize - 1;
            pairs.push(("transaction_id", TRANSACTIONS[index].to_owned()));
            pairs.push(("revenue", AMOUNTS[index].to_owned()));
        }
    }
    if transaction == 2 {
        // It happened a while before it was sent; at some clicks before the click itself.
        pairs.push(("event_time", (at.0 - EVENT_BEFORE_MS).to_string()));
    }
    pairs.push(("currency", "USD".to_owned()));
    if rejects && transaction != 3 {
        pairs.push(("status", "rejected".to_owned()));
    }
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
