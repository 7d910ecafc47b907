//! Finds everything about an id: a click id, a postback's or a conversion's.

use super::facts::{Asked, ClickRow, Facts, PostbackRow, RevisionRow, Token, TokenClick};
use super::redecisions;
use crate::error::Error;
use crate::warehouse::{Question, Warehouse};
use keyring::Keyring;
use schemas::{Catalog, ConversionId, Micros, PostbackId, UnixMillis};

/// Postbacks that are told of one click.
const POSTBACKS_MAX: usize = 500;
/// Revisions that are told of one click.
const REVISIONS_MAX: usize = 2_000;
/// Longest id that is looked for.
const ID_BYTES_MAX: usize = 1024;

const CLICK: &str = "SELECT toUnixTimestamp64Milli(clicked_at) AS clicked_at_ms, offer_id, \
    share_id, publisher_id, country, platform, \
    [sub1, sub2, sub3, sub4, sub5, sub6, sub7, sub8, sub9, sub10, sub11, sub12, sub13, sub14, \
    sub15] AS subs, test, flags FROM clicks_unique WHERE click_id = {id:String} LIMIT 1";

const POSTBACK_COLUMNS: &str = "toString(postback_id) AS id, tenant, advertiser_id, \
    toUnixTimestamp64Milli(received_at) AS received_at_ms, click_id, event_id, outcome, reason, \
    conversion_id, arrayMap(p -> [p.1, p.2], parameters) AS pairs, flags, test";

const REVISION_COLUMNS: &str = "conversion_id, revision, tenant, click_id, offer_id, event_id, \
    event_name, sequence, status, reason, note, \
    toUnixTimestamp64Milli(received_at) AS received_at_ms, \
    toUnixTimestamp64Milli(due_at) AS due_at_ms, \
    toUnixTimestamp64Milli(decided_at) AS decided_at_ms, toString(c.revenue) AS revenue_text, \
    toString(c.payout) AS payout_text, currency, toString(c.reward) AS reward_text, reward_unit, \
    toString(c.sale_amount) AS sale_text, sale_currency, transaction_id, flags, test";

/// As selected: aliases differ from the columns' names, so that no condition can mean an alias.
#[derive(serde::Deserialize)]
struct PostbackAnswer {
    id: String,
    tenant: String,
    advertiser_id: String,
    received_at_ms: i64,
    click_id: String,
    event_id: String,
    outcome: String,
    reason: String,
    conversion_id: String,
    pairs: Vec<(String, String)>,
    flags: Vec<String>,
    test: bool,
}

#[derive(serde::Deserialize)]
struct RevisionAnswer {
    conversion_id: String,
    revision: u32,
    tenant: String,
    click_id: String,
    offer_id: String,
    event_id: String,
    event_name: String,
    sequence: Option<u32>,
    status: String,
    reason: String,
    note: String,
    received_at_ms: i64,
    due_at_ms: Option<i64>,
    decided_at_ms: i64,
    revenue_text: String,
    payout_text: String,
    currency: String,
    reward_text: String,
    reward_unit: String,
    sale_text: Option<String>,
    sale_currency: String,
    transaction_id: String,
    flags: Vec<String>,
    test: bool,
}

/// Where to look.
pub struct Sources<'a> {
    pub warehouse: &'a Warehouse,
    pub keyring: &'a Keyring,
    pub catalog: &'a Catalog,
    pub now: UnixMillis,
}

/// Fetches what is known. An id that nothing is known of is an error that says where else to look.
pub async fn fetch(
    sources: &Sources<'_>,
    id: &str,
    time_zone: Option<&str>,
) -> Result<Facts, Error> {
    let id = id.trim();
    if id.is_empty() || id.len() > ID_BYTES_MAX {
        return Err(Error::bad_request("this is no id")
            .with_hint("give a gk_click_id, a postback id (a UUID) or a conversion id"));
    }
    if let Ok(postback) = id.parse::<PostbackId>() {
        return by_postback(sources, id, postback, time_zone).await;
    }
    if let Ok(conversion) = ConversionId::new(id) {
        return by_conversion(sources, id, &conversion, time_zone).await;
    }
    by_click(sources, id, Asked::Click, id, time_zone).await
}

async fn by_postback(
    sources: &Sources<'_>,
    id: &str,
    postback: PostbackId,
    time_zone: Option<&str>,
) -> Result<Facts, Error> {
    let found = postbacks(sources, "postback_id = {id:UUID}", &postback.to_string()).await?;
    let Some(found) = found.into_iter().next() else {
        return Err(Error::not_found(format!("no postback {id} is known")).with_hint(
            "it shows here about a second after it was answered with 200; a refused one (403) is \
             in `gokart refused`",
        ));
    };
    if found.click_id.is_empty() {
        // Nothing to follow: it stands for itself.
        return finish(sources, id, Asked::Postback, "", vec![found], Vec::new(), time_zone).await;
    }
    let click_id = found.click_id.clone();
    by_click(sources, id, Asked::Postback, &click_id, time_zone).await
}

async fn by_conversion(
    sources: &Sources<'_>,
    id: &str,
    conversion: &ConversionId,
    time_zone: Option<&str>,
) -> Result<Facts, Error> {
    let found = revisions(sources, "conversion_id = {id:String}", conversion.as_str()).await?;
    let Some(found) = found.into_iter().next() else {
        return Err(Error::not_found(format!("no conversion {id} is known"))
            .with_hint("look for it with `gokart report conversions`"));
    };
    by_click(sources, id, Asked::Conversion, &found.click_id, time_zone).await
}

async fn by_click(
    sources: &Sources<'_>,
    id: &str,
    asked: Asked,
    click_id: &str,
    time_zone: Option<&str>,
) -> Result<Facts, Error> {
    let postbacks = postbacks(sources, "click_id = {id:String}", click_id).await?;
    let revisions = revisions(sources, "click_id = {id:String}", click_id).await?;
    finish(sources, id, asked, click_id, postbacks, revisions, time_zone).await
}

async fn finish(
    sources: &Sources<'_>,
    id: &str,
    asked: Asked,
    click_id: &str,
    mut postbacks: Vec<PostbackRow>,
    mut revisions: Vec<RevisionRow>,
    time_zone: Option<&str>,
) -> Result<Facts, Error> {
    let more_revisions = revisions.len() > REVISIONS_MAX;
    revisions.truncate(REVISIONS_MAX);
    let more_postbacks = postbacks.len() > POSTBACKS_MAX;
    postbacks.truncate(POSTBACKS_MAX);
    redecisions::add(sources.warehouse, click_id, &mut postbacks).await?;
    let token = open(sources.keyring, click_id);
    let click = match &token {
        Token::Valid(_) => {
            let question = Question::new(CLICK).bind("id", click_id);
            sources.warehouse.rows::<ClickRow>(question).await?.into_iter().next()
        }
        Token::Invalid(_) | Token::Absent => None,
    };
    if let (Token::Invalid(why), true, true) = (&token, postbacks.is_empty(), revisions.is_empty())
    {
        return Err(Error::not_found(format!("nothing is known of {id:?}: {why}")).with_hint(
            "a click id is in the offer link that the user was sent to; postback and conversion \
             ids are in the reports; a refused postback (403) is in `gokart refused`",
        ));
    }
    let catalog = sources.catalog;
    let share = match &token {
        Token::Valid(click) => catalog.share(&click.share_id),
        _ => None,
    };
    let offer = share.and_then(|share| catalog.offer(share.offer.as_str())).cloned();
    let publisher = share.and_then(|share| catalog.publisher(share.publisher.as_str()));
    let advertiser = offer.as_ref().and_then(|offer| catalog.advertiser(offer.advertiser.as_str()));
    let tenant = share
        .map(|share| share.tenant.as_str())
        .or(postbacks.first().map(|postback| postback.tenant.as_str()))
        .and_then(|tenant| catalog.tenant(tenant));
    let tenant_zone = tenant.map_or("UTC", |tenant| tenant.time_zone.as_str());
    Ok(Facts {
        id: id.to_owned(),
        asked,
        click_id: click_id.to_owned(),
        token,
        click,
        publisher_name: publisher.map(|it| it.name.clone()),
        advertiser_name: advertiser.map(|it| it.name.clone()),
        time_zone: time_zone.unwrap_or(tenant_zone).to_owned(),
        offer,
        postbacks,
        more_postbacks,
        revisions,
        more_revisions,
        now_ms: sources.now.0,
    })
}

fn open(keyring: &Keyring, click_id: &str) -> Token {
    if click_id.is_empty() {
        return Token::Absent;
    }
    match keyring.open(click_id) {
        Ok(click) => Token::Valid(TokenClick {
            clicked_at_ms: click.clicked_at().0,
            root_offer_id: click.root_offer.to_string(),
            share_id: click.share.to_string(),
            country: click.country().map(str::to_owned),
            platform: click.platform.map(|platform| platform.text().to_owned()),
            test: click.test,
            config_version: click.config_version,
        }),
        Err(error) => Token::Invalid(error.to_string()),
    }
}

async fn postbacks(
    sources: &Sources<'_>,
    condition: &'static str,
    id: &str,
) -> Result<Vec<PostbackRow>, Error> {
    let sql = format!(
        "SELECT {POSTBACK_COLUMNS} FROM postbacks_unique WHERE {condition} \
         ORDER BY received_at, postback_id LIMIT {}",
        POSTBACKS_MAX + 1
    );
    let rows: Vec<PostbackAnswer> =
        sources.warehouse.rows(Question::new(sql).bind("id", id)).await?;
    let rows = rows.into_iter().map(|row| PostbackRow {
        postback_id: row.id,
        tenant: row.tenant,
        advertiser_id: row.advertiser_id,
        received_at_ms: row.received_at_ms,
        click_id: row.click_id,
        event_id: row.event_id,
        outcome: row.outcome,
        reason: row.reason,
        conversion_id: row.conversion_id,
        parameters: row.pairs,
        flags: row.flags,
        test: row.test,
        redecisions: Vec::new(),
    });
    Ok(rows.collect())
}

async fn revisions(
    sources: &Sources<'_>,
    condition: &'static str,
    id: &str,
) -> Result<Vec<RevisionRow>, Error> {
    let sql = format!(
        "SELECT {REVISION_COLUMNS} FROM conversions_revisions AS c WHERE {condition} \
         ORDER BY received_at, conversion_id, revision LIMIT {}",
        REVISIONS_MAX + 1
    );
    let rows: Vec<RevisionAnswer> =
        sources.warehouse.rows(Question::new(sql).bind("id", id)).await?;
    let rows = rows.into_iter().map(|row| RevisionRow {
        conversion_id: row.conversion_id,
        revision: row.revision,
        tenant: row.tenant,
        click_id: row.click_id,
        offer_id: row.offer_id,
        event_id: row.event_id,
        event_name: row.event_name,
        sequence: row.sequence,
        status: row.status,
        reason: row.reason,
        note: row.note,
        received_at_ms: row.received_at_ms,
        due_at_ms: row.due_at_ms,
        decided_at_ms: row.decided_at_ms,
        revenue: amount(row.revenue_text),
        payout: amount(row.payout_text),
        currency: row.currency,
        reward: amount(row.reward_text),
        reward_unit: row.reward_unit,
        sale_amount: row.sale_text.map(amount),
        sale_currency: row.sale_currency,
        transaction_id: row.transaction_id,
        flags: row.flags,
        test: row.test,
    });
    Ok(rows.collect())
}

/// As people write amounts: ClickHouse leaves zeros out.
fn amount(text: String) -> String {
    Micros::parse(&text).map_or(text, |micros| micros.to_string())
}
