//! What advertisers and publishers are given: postback URLs and tracking links.

use crate::config::PublicUrl;
use crate::error::Error;
use keyring::Keyring;
use schemas::Catalog;
use serde::{Deserialize, Serialize};

/// Characters of a secret that stay visible when it is masked.
const SHOWN_CHARS: usize = 3;

/// An advertiser's postback credentials, in the words of the senders' set-up pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostbackUrl {
    pub advertiser: String,
    pub advertiser_name: String,
    /// The tenant, as part of the host.
    pub domain: String,
    pub postback_security_segment: String,
    pub signature: String,
    /// With placeholders for the event ID and the click id.
    pub url: String,
    pub credential_version: u32,
    /// Versions that are accepted beside it while they are being rotated.
    pub other_versions: Vec<u32>,
    pub revealed: bool,
}

/// The credentials of an advertiser's newest version; masked unless `reveal`.
pub fn postback_url(
    catalog: &Catalog,
    keyring: &Keyring,
    public: &PublicUrl,
    advertiser: &str,
    reveal: bool,
) -> Result<PostbackUrl, Error> {
    let found = catalog.advertiser(advertiser).ok_or_else(|| {
        missing("advertiser", advertiser, catalog.advertisers().map(|it| it.id.as_str()))
    })?;
    // The newest version is the one to hand out; the others are being taken out of use.
    let version = found
        .credential_versions
        .iter()
        .copied()
        .max()
        .ok_or_else(|| Error::Internal(format!("{advertiser} has no credential version")))?;
    let credentials = keyring.credentials(&found.tenant, &found.id, version);
    let credentials =
        credentials.first().ok_or_else(|| Error::Internal("there is no master key".to_owned()))?;
    let shown = |secret: &str| if reveal { secret.to_owned() } else { mask(secret) };
    let segment = credentials.segments().map(shown).join("/") + "/";
    let signature = shown(credentials.signature());
    let path = format!(
        "/api/v1/{segment}?signature={signature}&gk_click_id={{gk_click_id}}&cnv_event_id={{event_name}}"
    );
    Ok(PostbackUrl {
        advertiser: found.id.to_string(),
        advertiser_name: found.name.clone(),
        domain: found.tenant.to_string(),
        postback_security_segment: segment,
        signature,
        url: public.link(found.tenant.as_str(), &path),
        credential_version: version,
        other_versions: found
            .credential_versions
            .iter()
            .copied()
            .filter(|other| *other != version)
            .collect(),
        revealed: reveal,
    })
}

fn mask(secret: &str) -> String {
    secret.chars().enumerate().map(|(index, c)| if index < SHOWN_CHARS { c } else { '•' }).collect()
}

/// A publisher's link for an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackingLink {
    pub offer: String,
    pub offer_name: String,
    pub publisher: String,
    pub publisher_name: String,
    pub share: String,
    /// `?sub1=…` to `sub15` and `pub_member_id` can be added.
    pub tracking_link: String,
    pub test: bool,
}

pub fn tracking_link(
    catalog: &Catalog,
    keyring: &Keyring,
    public: &PublicUrl,
    offer: &str,
    publisher: &str,
    test: bool,
) -> Result<TrackingLink, Error> {
    let found_offer = catalog
        .offer(offer)
        .ok_or_else(|| missing("offer", offer, catalog.offers().map(|it| it.id.as_str())))?;
    let found_publisher = catalog.publisher(publisher).ok_or_else(|| {
        missing("publisher", publisher, catalog.publishers().map(|it| it.id.as_str()))
    })?;
    let share = catalog
        .shares()
        .find(|it| it.offer == found_offer.id && it.publisher == found_publisher.id)
        .ok_or_else(|| {
            Error::not_found(format!("the offer {offer} is not shared with {publisher}"))
                .with_hint("apply a document `kind: Share` with this offer and publisher")
        })?;
    let mut path = format!("/c/{}", share.id);
    if test {
        path.push_str(&format!("?gk_test={}", keyring.test_link_signature(&share.id)));
    }
    Ok(TrackingLink {
        offer: found_offer.id.to_string(),
        offer_name: share.name.clone().unwrap_or_else(|| found_offer.name.clone()),
        publisher: found_publisher.id.to_string(),
        publisher_name: found_publisher.name.clone(),
        share: share.id.to_string(),
        tracking_link: public.link(share.tenant.as_str(), &path),
        test,
    })
}

/// Ids that are named when one is not found.
const IDS_NAMED: usize = 10;

fn missing<'a>(what: &str, id: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let mut known: Vec<&str> = known.take(IDS_NAMED + 1).collect();
    let more = if known.len() > IDS_NAMED { ", …" } else { "" };
    known.truncate(IDS_NAMED);
    let error = Error::not_found(format!("there is no {what} {id:?}"));
    match known.is_empty() {
        true => error.with_hint("nothing is configured yet: `gokart apply FILE…`"),
        false => error.with_hint(format!("there are {}{more}", known.join(", "))),
    }
}
