//! `postback-url` and `tracking-link`.

use super::{Failure, output};
use crate::cli::asking::{Format, PostbackUrl, TrackingLink};
use crate::client::{Client, Target};

pub async fn postback_url(ask: &PostbackUrl) -> Result<(), Failure> {
    let client = Client::connect(&ask.connection)?;
    let target = Target::new(&["postback-url"])
        .with("advertiser", Some(&ask.advertiser))
        .flag("reveal", ask.reveal);
    let answer = client.get(target).await?;
    // The names that the senders' set-up pages ask for.
    let names = [
        ("advertiser_name", "Advertiser"),
        ("domain", "Domain"),
        ("postback_security_segment", "Postback Security Segment"),
        ("signature", "Signature"),
        ("url", "Postback URL"),
    ];
    let mut text = output::fields(ask.output.format, &answer, &names)?;
    if ask.output.format == Format::Table {
        let hint = if ask.reveal {
            "Put the sender's own macros in place of {gk_click_id} and {event_name}."
        } else {
            "The credentials are masked; show them with --reveal."
        };
        text.push_str(&format!("\n{hint}\n"));
    }
    output::print(&text)
}

pub async fn tracking_link(ask: &TrackingLink) -> Result<(), Failure> {
    let client = Client::connect(&ask.connection)?;
    let target = Target::new(&["tracking-link"])
        .with("offer", Some(&ask.offer))
        .with("publisher", Some(&ask.publisher))
        .flag("test", ask.test);
    let answer = client.get(target).await?;
    let names = [
        ("offer_name", "Offer"),
        ("publisher_name", "Publisher"),
        ("share", "Share"),
        ("tracking_link", "Tracking link"),
    ];
    let mut text = output::fields(ask.output.format, &answer, &names)?;
    if ask.output.format == Format::Table && ask.test {
        text.push_str("\nClicks of this link are tests: they touch no cap, budget or statement.\n");
    }
    output::print(&text)
}
