//! Postbacks as an ingester writes them, in any number: to be decided, or straight into the log.

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
use std::path::Path;
use tests::stack::{MASTER_KEYS, PARTITIONS, Stack};
use uuid::Uuid;

pub const OFFERS: u64 = 16;
pub const EVENTS: [&str; 2] = ["Install", "level"];
pub const THIRD: &str = "top";
/// What is written of each click before anything of the next pass: of one whose events come once,
/// and of one whose events come twice.
const PASSES: [[&[&str]; 2]; 2] =
    [[&[EVENTS[0]], &[EVENTS[0]]], [&[EVENTS[1]], &[EVENTS[1], EVENTS[0], EVENTS[1]]]];
/// The parameter with which [`Extras::offer_is_told`].
const OFFER_PARAMETER: &str = "offer_id";
/// Records handed to the log at once, or a few more.
const PORTION: usize = 2_000;
/// More than any click id has.
const TOKEN_CHARS_MAX: usize = 2_000;

/// The offers of a benchmark; they belong to the example installation.
#[derive(Debug, Clone, Copy)]
pub struct Offers {
    pub count: u64,
    /// [`THIRD`] follows, and is the one whose conversions are held: a click with [`EVENTS`] waits
    /// for nothing.
    pub third: bool,
}

impl Offers {
    pub const FEW: Self = Self { count: OFFERS, third: false };

    /// As documents: two events each or three, with caps that are counted and never reached.
    #[must_use]
    pub fn documents(self) -> String {
        (0..self.count).map(|number| self.document(number)).collect()
    }

    /// One of them, and its share.
    #[must_use]
    pub fn document(self, number: u64) -> String {
        let (second, third) = if self.third {
            ("0", "\x20 - {id: top, name: Top, sequence: 3, pending_time: 7d, revenue: 7.50}\n")
        } else {
            ("7d", "")
        };
        format!(
            "---\nkind: Offer\nid: bench-{number}\nadvertiser: brain-games\nname: Bench {number}\n\
             integration: adjust\nlink: https://app.adjust.com/b{number}\nlaunch: 2025-11-01\n\
             currency: USD\nbudget: \"900000000.00\"\nevents:\n\
             \x20 - {{id: Install, name: Install, sequence: 1, pending_time: 0, revenue: 0.50, \
             caps: {{daily: 900000000}}}}\n\
             \x20 - {{id: level, name: Level, sequence: 2, pending_time: {second}, revenue: 2.00}}\n\
             {third}---\nkind: Share\nid: bench-share-{number}\noffer: bench-{number}\n\
             publisher: acme-rewards\n"
        )
    }
}

/// Puts [`Offers::FEW`] in force and gives the configuration's version.
pub fn apply(stack: &Stack, scratch: &Path) -> Result<u64> {
    let path = scratch.join("offers.yaml");
    std::fs::write(&path, Offers::FEW.documents())?;
    let applied = stack.gokart_json(&["apply", &path.display().to_string()])?;
    applied["version"].as_u64().with_context(|| format!("no version in {applied}"))
}

/// Makes the postbacks of clicks that are numbered: the same number is the same click.
pub struct Maker {
    pub keyring: Keyring,
    pub now: UnixMillis,
    config_version: u64,
    offers: Vec<OfferId>,
    tenant: TenantId,
    advertiser: AdvertiserId,
}

impl Maker {
    /// For clicks of this version of the configuration, made now, on so many offers in turn.
    pub fn new(config_version: u64, offers: u64) -> Result<Self> {
        let offers = (0..offers).map(|it| OfferId::new(&format!("bench-{it}")));
        Ok(Self {
            keyring: Keyring::parse(MASTER_KEYS)?,
            now: UnixMillis(jiff::Timestamp::now().as_millisecond()),
            config_version,
            offers: offers.collect::<Result<_, _>>()?,
            tenant: TenantId::new("brownboots")?,
            advertiser: AdvertiserId::new("brain-games")?,
        })
    }

    fn offer(&self, number: u64) -> usize {
        (number % self.offers.len() as u64) as usize
    }

    /// Where a click's postbacks go, among so many partitions.
    pub fn partition(&self, number: u64, partitions: u32) -> u32 {
        partition_of(&self.offers[self.offer(number)], partitions)
    }

    /// The sealed click id.
    pub fn token(&self, number: u64) -> Result<String> {
        self.earlier_token(number, 0)
    }

    /// The sealed id of a click that was made so much earlier.
    pub fn earlier_token(&self, number: u64, earlier_ms: u64) -> Result<String> {
        let offer = self.offer(number);
        let clicked_at = self.now.plus_ms(-earlier_ms.cast_signed());
        let click = ResolvedClick {
            key: ClickKey::new(clicked_at, number.to_be_bytes()),
            root_offer: self.offers[offer].clone(),
            share: ShareId::new(&format!("bench-share-{offer}"))?,
            config_version: self.config_version,
            country: Some(*b"US"),
            platform: Some(Platform::Ios),
            member: None,
            test: false,
            subs: SubIds::default(),
            details: false,
        };
        Ok(self.keyring.seal(&click, self.now, TOKEN_CHARS_MAX)?.token)
    }

    /// An event of a click.
    pub fn postback(&self, token: &str, event: &str) -> Postback {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Postback {
            postback_id: PostbackId(Uuid::now_v7()),
            tenant: self.tenant.clone(),
            advertiser: self.advertiser.clone(),
            received_at: self.now,
            parameters: vec![
                pair("gk_click_id", token),
                pair("cnv_event_id", event),
                pair("gaid", "38400000-8cf0-11bd-b23e-10b96e40000d"),
            ],
            flags: Vec::new(),
        }
    }

    /// The same as a record of `postbacks`.
    pub fn record(&self, token: &str, event: &str) -> Record {
        self.record_of(&self.postback(token, event))
    }

    fn record_of(&self, postback: &Postback) -> Record {
        Record { key: Bytes::new(), value: codec::encode(postback).into(), at: self.now }
    }

    /// The offer that the token of this click seals, in the open.
    fn offer_parameter(&self, number: u64) -> (String, String) {
        (OFFER_PARAMETER.to_owned(), self.offers[(number % OFFERS) as usize].to_string())
    }
}

/// What the postbacks of a run have beside one of each of [`EVENTS`] for each click.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extras {
    /// A further parameter names the offer, for those who cannot open a click id.
    pub offer_is_told: bool,
    /// Of each so manieth click every event comes twice.
    pub repeated_every: Option<u64>,
}

impl Extras {
    fn repeats(self, number: u64) -> bool {
        self.repeated_every.is_some_and(|every| number.is_multiple_of(every))
    }

    /// How many postbacks come twice, of the clicks with these numbers.
    #[must_use]
    pub fn repeated(self, clicks: std::ops::Range<u64>) -> u64 {
        clicks.filter(|number| self.repeats(*number)).count() as u64 * EVENTS.len() as u64
    }
}

/// Appends two postbacks for each of the clicks, first all of the first event, and what is to be
/// there beside them: repeats come with the second event.
pub async fn fill(
    stack: &Stack,
    brokers: &str,
    config_version: u64,
    clicks: std::ops::Range<u64>,
    extras: Extras,
) -> Result<()> {
    let state = tempfile::tempdir()?;
    let mut config = KafkaConfig::new(brokers, PARTITIONS, state.path());
    config.topic_prefix = stack.topic_prefix().to_owned();
    let log = KafkaLog::connect(config).await?;
    let maker = Maker::new(config_version, OFFERS)?;
    let tokens: Vec<(u64, String)> =
        clicks.map(|number| Ok((number, maker.token(number)?))).collect::<Result<_>>()?;
    for pass in PASSES {
        let mut portions: Vec<Vec<Record>> = vec![Vec::new(); PARTITIONS as usize];
        for (number, token) in &tokens {
            let partition = maker.partition(*number, PARTITIONS);
            let portion = &mut portions[partition as usize];
            for event in pass[usize::from(extras.repeats(*number))] {
                let mut postback = maker.postback(token, event);
                if extras.offer_is_told {
                    postback.parameters.push(maker.offer_parameter(*number));
                }
                portion.push(maker.record_of(&postback));
            }
            if portion.len() >= PORTION {
                log.append(Topic::Postbacks, partition, std::mem::take(portion)).await?;
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
