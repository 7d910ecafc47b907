//! What `gokart up` says when it is ready: what listens where, and lines to paste.

use crate::cli::roles::Up;
use eventlog::EventLog;
use eventlog::follow::catalog::CatalogFeed;
use keyring::Keyring;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemas::{Catalog, Offer, Share};
use service::ServiceError;
use std::fmt::Write;

/// Offers shown; the rest is a command away.
const OFFERS_SHOWN: usize = 2;
/// Unreserved characters stand as they are.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Prints where everything is and how to try it.
pub async fn print(up: &Up, log: &dyn EventLog, keyring: &Keyring) -> Result<(), ServiceError> {
    let feed = CatalogFeed::start(log)
        .await
        .map_err(|error| ServiceError::Failed(format!("the configuration: {error}")))?;
    let catalog = feed.subscribe().borrow().clone();
    println!("{}", text(up, &catalog, keyring));
    Ok(())
}

fn text(up: &Up, catalog: &Catalog, keyring: &Keyring) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        let _ = writeln!(text, "{line}");
    };
    line("");
    line("gokart is ready.");
    line("");
    line(&format!("  tracking links and postbacks  {}://{}", up.ingest.scheme(), up.ingest.listen));
    line(&format!("  admin API                     http://{}", up.admin.admin_listen));
    line(&format!("  ClickHouse                    http://{}", up.warehouse.warehouse_listen));
    line(&format!("  metrics and health            http://{}/metrics", up.metrics.metrics_listen));
    line(&format!("  data                          {}", up.data.data.display()));
    let mut shown = 0;
    for offer in catalog.offers() {
        let Some(share) = catalog.shares().find(|share| share.offer == offer.id) else { continue };
        if shown == OFFERS_SHOWN {
            line("");
            line("Further offers: gokart tracking-link and gokart postback-url.");
            break;
        }
        shown += 1;
        line(&try_offer(up, catalog, keyring, offer, share));
    }
    if shown == 0 {
        line("");
        line("Nothing is configured yet: gokart apply examples");
    }
    line("");
    line("Then: gokart report funnel --offer ID, gokart explain CLICK_ID. Ctrl-C stops.");
    text
}

/// The parameter of a link that carries the click id.
fn click_parameter(link: &str) -> &str {
    let before = link.split("={gk_click_id}").next().unwrap_or_default();
    before.rsplit(['?', '&']).next().unwrap_or_default()
}

/// Lines to paste for one offer.
fn try_offer(
    up: &Up,
    catalog: &Catalog,
    keyring: &Keyring,
    offer: &Offer,
    share: &Share,
) -> String {
    let mut text = format!("\n{} ({})\n", offer.name, offer.id);
    let base = up.domains.base_domains.first().map_or("localhost", String::as_str);
    let host = format!("api.{}.{base}:{}", offer.tenant, up.ingest.listen.port());
    let scheme = up.ingest.scheme();
    // Any name under localhost leads here, but not every resolver knows that.
    let resolve = format!("--resolve '{host}:{}'", up.ingest.listen.ip());
    let _ = writeln!(text, "  # a click, by publisher {}; keep its id", share.publisher);
    let _ = writeln!(
        text,
        "  CLICK=$(curl -s -o /dev/null -w '%{{redirect_url}}' {resolve} '{scheme}://{host}/c/{}?sub1=demo' | sed 's/.*[?&]{}=\\([^&]*\\).*/\\1/')",
        share.id,
        click_parameter(share.link.as_ref().unwrap_or(&offer.link)),
    );
    let version = catalog
        .advertiser(offer.advertiser.as_str())
        .and_then(|advertiser| advertiser.credential_versions.last().copied());
    let credentials = version.and_then(|version| {
        keyring.credentials(&offer.tenant, &offer.advertiser, version).into_iter().next()
    });
    let Some(credentials) = credentials else { return text };
    for event in &offer.events {
        let _ = writeln!(text, "  # {}", event.name);
        let id = utf8_percent_encode(event.id.as_str(), ENCODED);
        let _ = writeln!(
            text,
            "  curl -sS -w '\\n' {resolve} \"{scheme}://{host}/api/v1/{}/?signature={}&cnv_event_id={id}&gk_click_id=$CLICK\"",
            credentials.segments().join("/"),
            credentials.signature()
        );
    }
    text.pop();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_click_id_is_looked_for_where_the_link_has_it() {
        let check = |link: &str, expected: &str| assert_eq!(click_parameter(link), expected);
        check("https://a.example/x?gk_click_id={gk_click_id}", "gk_click_id");
        check("https://a.example/x?pub={publisher_id}&subid={gk_click_id}&z=1", "subid");
    }
}
