//! Postbacks as an ingester writes them, in any number, straight into the log.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use eventlog::kafka::{KafkaConfig, KafkaLog};
use eventlog::{EventLog, Record};
use keyring::Keyring;
use schemas::topic::partition_of;
use schemas::{
    AdvertiserId, ClickKey, OfferId, Platform, Postback, PostbackId, ResolvedClick, ShareId,
    SubIds, TenantId, Topic, UnixMillis, codec,
};
use std::fmt::Write as _;
use std::path::Path;
use tests::stack::{MASTER_KEYS, PARTITIONS, Stack};
use uuid::Uuid;

pub const OFFERS: u64 = 16;
const EVENTS: [&str; 2] = ["Install", "level"];
/// Records handed to the log at once.
const PORTION: usize = 2_000;
/// More than any click id has.
const TOKEN_CHARS_MAX: usize = 2_000;

/// The offers of a benchmark: two events each, no caps that are reached.
pub struct Offers {
    /// In force when they were applied; click ids name it.
    config_version: u64,
}

impl Offers {
    /// Puts them in force.
    pub fn apply(stack: &Stack, scratch: &Path) -> Result<Self> {
        let mut text = String::new();
        for number in 0..OFFERS {
            write!(
                text,
                "---\nkind: Offer\nid: bench-{number}\nadvertiser: brain-games\nname: Bench {number}\n\
                 integration: adjust\nlink: https://app.adjust.com/b{number}\nlaunch: 2025-11-01\n\
                 currency: USD\nbudget: \"900000000.00\"\nevents:\n\
                 \x20 - {{id: Install, name: Install, sequence: 1, pending_time: 0, revenue: 0.50, \
                 caps: {{daily: 900000000}}}}\n\
                 \x20 - {{id: level, name: Level, sequence: 2, pending_time: 7d, revenue: 2.00}}\n\
                 ---\nkind: Share\nid: bench-share-{number}\noffer: bench-{number}\n\
                 publisher: acme-rewards\n"
            )?;
        }
        let path = scratch.join("offers.yaml");
        std::fs::write(&path, text)?;
        let applied = stack.gokart_json(&["apply", &path.display().to_string()])?;
        let config_version =
            applied["version"].as_u64().with_context(|| format!("no version in {applied}"))?;
        Ok(Self { config_version })
    }
}

/// Appends two postbacks for each of so many new clicks, first all of the first event. The same
/// `round` makes the same clicks.
pub async fn fill(
    stack: &Stack,
    brokers: &str,
    offers: &Offers,
    round: u64,
    clicks: u64,
) -> Result<()> {
    let state = tempfile::tempdir()?;
    let mut config = KafkaConfig::new(brokers, PARTITIONS, state.path());
    config.topic_prefix = stack.topic_prefix().to_owned();
    let log = KafkaLog::connect(config).await?;
    let keyring = Keyring::parse(MASTER_KEYS)?;
    let now = UnixMillis(jiff::Timestamp::now().as_millisecond());
    let ids: Vec<OfferId> =
        (0..OFFERS).map(|it| OfferId::new(&format!("bench-{it}"))).collect::<Result<_, _>>()?;
    let (tenant, advertiser) = (TenantId::new("brownboots")?, AdvertiserId::new("brain-games")?);
    let tokens: Vec<(u32, String)> = (0..clicks)
        .map(|number| {
            let offer = (number % OFFERS) as usize;
            let click = ResolvedClick {
                key: ClickKey::new(now, ((round << 40) | number).to_be_bytes()),
                root_offer: ids[offer].clone(),
                share: ShareId::new(&format!("bench-share-{offer}"))?,
                config_version: offers.config_version,
                country: Some(*b"US"),
                platform: Some(Platform::Ios),
                member: None,
                test: false,
                subs: SubIds::default(),
                details: false,
            };
            let sealed = keyring.seal(&click, now, TOKEN_CHARS_MAX)?;
            Ok((partition_of(&ids[offer], PARTITIONS), sealed.token))
        })
        .collect::<Result<_>>()?;
    for event in EVENTS {
        let mut portions: Vec<Vec<Record>> = vec![Vec::new(); PARTITIONS as usize];
        for (partition, token) in &tokens {
            let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            let postback = Postback {
                postback_id: PostbackId(Uuid::now_v7()),
                tenant: tenant.clone(),
                advertiser: advertiser.clone(),
                received_at: now,
                parameters: vec![
                    pair("gk_click_id", token),
                    pair("cnv_event_id", event),
                    pair("gaid", "38400000-8cf0-11bd-b23e-10b96e40000d"),
                ],
                flags: Vec::new(),
            };
            let portion = &mut portions[*partition as usize];
            let value = codec::encode(&postback).into();
            portion.push(Record { key: Bytes::new(), value, at: now });
            if portion.len() == PORTION {
                log.append(Topic::Postbacks, *partition, std::mem::take(portion)).await?;
            }
        }
        for (partition, portion) in (0..PARTITIONS).zip(portions) {
            if !portion.is_empty() {
                log.append(Topic::Postbacks, partition, portion).await?;
            }
        }
    }
    log.close().await;
    Ok(())
}
