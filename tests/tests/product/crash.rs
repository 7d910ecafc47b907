//! The promise: every postback answered 2xx is decided once and shows exactly once, whatever
//! crashes. Here everything is killed at once, again and again, while senders send.

use anyhow::{Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tests::http;
use tests::stack::{Stack, TENANT_HOST};

const KILLS: usize = 3;
const SENDERS: usize = 4;
/// Postbacks that must be accepted between two kills.
const ACCEPTED_PER_ROUND: usize = 100;

/// Sends Installs for fresh clicks until told to stop; gives the ids that were answered 200.
async fn send_until(
    address: std::net::SocketAddr,
    path: String,
    clicks: Vec<String>,
    stop: Arc<AtomicBool>,
    accepted: Arc<std::sync::Mutex<BTreeMap<String, String>>>,
) {
    let mut next = clicks.iter().cycle();
    while !stop.load(Ordering::Relaxed) {
        let Some(click) = next.next() else { return };
        let target = format!("{path}&cnv_event_id=Install&gk_click_id={click}");
        match http::get(address, TENANT_HOST, &target).await {
            Ok(answer) if answer.status == 200 => {
                if let Ok(json) = answer.json()
                    && let Some(id) = json["postback_id"].as_str()
                    && let Ok(mut accepted) = accepted.lock()
                {
                    accepted.insert(id.to_owned(), click.clone());
                }
            }
            // Killed, or not up again: the sender's answer is lost, and it sends again.
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_nothing_is_lost_or_doubled() -> Result<()> {
    let Some(mut stack) = Stack::local().await? else { return Ok(()) };
    let path = stack.postback_path("brain-games")?;
    let mut clicks = Vec::new();
    for _ in 0..SENDERS * 5 {
        clicks.push(stack.click("pet-the-dogs-ios", "acme-rewards", "").await?);
    }
    let accepted = Arc::new(std::sync::Mutex::new(BTreeMap::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = clicks
        .chunks(5)
        .map(|chunk| {
            let (accepted, stop) = (Arc::clone(&accepted), Arc::clone(&stop));
            tokio::spawn(send_until(stack.ingest, path.clone(), chunk.to_vec(), stop, accepted))
        })
        .collect();
    let count = || accepted.lock().map(|accepted| accepted.len()).unwrap_or_default();
    for _ in 0..KILLS {
        let goal = count() + ACCEPTED_PER_ROUND;
        stack
            .eventually("postbacks being accepted", || async {
                Ok((count() >= goal).then_some(()))
            })
            .await?;
        stack.process("up")?.kill()?;
        stack.start_role("up").await?;
    }
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await?;
    }

    let total = count();
    let accepted = accepted.lock().map_err(|_| anyhow::anyhow!("a sender died"))?.clone();
    let rows = stack
        .eventually("every accepted postback", || async {
            let rows = stack
                .sql(
                    "SELECT toString(postback_id) AS id, toString(outcome) AS outcome, count() AS times
                     FROM postbacks FINAL GROUP BY id, outcome
                     SETTINGS output_format_json_quote_64bit_integers = 0",
                    &[],
                )
                .await?;
            // There may be more than were answered, because a lost answer means nothing; so a count
            // says nothing either.
            let ids: BTreeSet<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
            let all_there = accepted.keys().all(|id| ids.contains(id.as_str()));
            Ok(all_there.then_some(rows))
        })
        .await?;
    let seen: BTreeSet<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
    ensure!(seen.len() == rows.len(), "a postback has two outcomes");
    for click in &clicks {
        let was_accepted = accepted.values().any(|accepted| accepted == click);
        // The tables of one flush become visible one after the other.
        let conversions = stack
            .eventually(&format!("the conversion of {click}"), || async {
                let conversions = stack.conversions(click).await?;
                Ok((!was_accepted || !conversions.is_empty()).then_some(conversions))
            })
            .await?;
        ensure!(conversions.len() <= 1, "{click} converted twice: {conversions:?}");
        let converted = conversions.iter().all(|conversion| conversion.status == "Success");
        ensure!(converted, "{click} did not convert: {conversions:?}");
    }
    let repeats = stack
        .sql(
            "SELECT count() - uniqExact(postback_id) AS repeats FROM postbacks
             SETTINGS output_format_json_quote_64bit_integers = 0",
            &[],
        )
        .await?;
    println!(
        "{total} accepted over {KILLS} kills; rows repeated on disk: {}",
        repeats[0]["repeats"]
    );
    stack.stop()
}
