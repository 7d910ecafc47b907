//! Who is told what, how often, in which order.

use crate::receiver::{Mood, Receiver};
use crate::world::{START, World, conversion, get};
use keyring::Keyring;
use schemas::time::{DAY_MS, HOUR_MS};
use schemas::{
    Decision, DeliveryKind, DeliveryOrder, DeliveryOutcome, PublisherId, PublisherMessage, TenantId,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Long enough for anything wrong to happen.
const QUIET: Duration = Duration::from_millis(250);

#[tokio::test]
async fn a_success_is_told_once_and_signed() {
    let mut world = World::new();
    let receiver = Receiver::start().await;
    let url = receiver.url("/p?c={sub1}&pay={payout}&key=k-secret");
    world.configure(json!([get("main", &url)]), json!([])).await;
    let running = world.start();
    world.decide(vec![conversion(1, 1, "Pending")]).await;
    world.decide(vec![conversion(1, 2, "Success"), conversion(1, 2, "Success")]).await;
    // A flag was added: nothing new for the publisher.
    world.decide(vec![conversion(1, 3, "Success")]).await;
    let attempts = world.until("delivered", 1).await;
    tokio::time::sleep(QUIET).await;
    let seen = receiver.seen();
    assert_eq!(seen.len(), 1);
    let query = "c=user%201%26x%3D%0D%0A1&pay=1.25&key=k-secret";
    assert_eq!(
        (seen[0].method.as_str(), seen[0].target.as_str()),
        ("GET", &*format!("/p?{query}"))
    );
    assert_eq!(seen[0].headers["idempotency-key"], seen[0].id());

    let keyring = Keyring::parse(crate::world::MASTER).unwrap();
    let ids = (TenantId::new("t").unwrap(), PublisherId::new("p").unwrap());
    let timestamp = START / 1_000;
    assert_eq!(seen[0].headers["webhook-timestamp"], timestamp.to_string());
    let expected: Vec<String> = [1, 2]
        .iter()
        .map(|version| {
            let secret = keyring.webhook_secrets(&ids.0, &ids.1, *version).remove(0);
            secret.sign(seen[0].id(), timestamp, query.as_bytes())
        })
        .collect();
    assert_eq!(seen[0].headers["webhook-signature"], expected.join(" "));

    let outcomes: Vec<DeliveryOutcome> = attempts.iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [DeliveryOutcome::Waiting, DeliveryOutcome::Delivered]);
    assert!(attempts.iter().all(|it| &*it.delivery_id == seen[0].id()));
    assert!(attempts.iter().all(|it| !it.url.contains("k-secret") && it.url.contains("{sub1}")));
    running.stop().await;
}

#[tokio::test]
async fn each_destination_hears_what_it_wants() {
    let mut world = World::new();
    let receiver = Receiver::start().await;
    let named = |name: &str| get(name, &receiver.url(&format!("/{name}?s={{status}}")));
    let with = |mut postback: Value, key: &str, value: Value| {
        postback[key] = value;
        postback
    };
    let all = json!(["Pending", "Success", "Rejected"]);
    world
        .configure(
            json!([
                named("global"),
                with(named("tests"), "test", json!(true)),
                with(named("other-event"), "events", json!(["f"])),
            ]),
            json!([with(with(named("share"), "statuses", all), "events", json!(["e"]))]),
        )
        .await;
    let running = world.start();
    let mut secret = conversion(2, 1, "Success");
    secret.event_id = schemas::EventId::new("secret").unwrap();
    let mut test = conversion(3, 1, "Success");
    test.test = true;
    world
        .decide(vec![
            conversion(1, 1, "Pending"),
            conversion(1, 2, "Success"),
            conversion(1, 3, "Rejected"),
            secret,
            test,
        ])
        .await;
    world.until("delivered", 5).await;
    tokio::time::sleep(QUIET).await;
    let mut targets: Vec<String> = receiver.seen().into_iter().map(|it| it.target).collect();
    let share: Vec<String> =
        targets.iter().filter(|it| it.starts_with("/share")).cloned().collect();
    assert_eq!(share, ["/share?s=Pending", "/share?s=Success", "/share?s=Rejected"], "in order");
    targets.sort();
    assert_eq!(
        targets,
        [
            "/global?s=Success",
            "/share?s=Pending",
            "/share?s=Rejected",
            "/share?s=Success",
            "/tests?s=Success",
        ]
    );
    running.stop().await;
}

#[tokio::test]
async fn bodies_are_forms_and_json_and_hold_nothing_of_the_advertiser() {
    let mut world = World::new();
    let receiver = Receiver::start().await;
    let field = json!({"name": "user id", "value": "<{sub1}>"});
    let mut form = get("form", &receiver.url("/form"));
    form["form"] = json!({"form": [field]});
    let keyring = Keyring::parse(crate::world::MASTER).unwrap();
    let sealed = |owner: &str| {
        keyring.seal_text([owner, "x-key"], "h-secret", schemas::UnixMillis(START)).unwrap()
    };
    form["header"] = json!({"name": "x-key", "value": sealed("publisher/p")});
    let mut fields = get("fields", &receiver.url("/fields"));
    fields["form"] = json!({"json": [field]});
    let mut everything = get("everything", &receiver.url("/everything"));
    everything["form"] = json!({"json": []});
    // From before headers were sealed.
    everything["header"] = json!({"name": "x-key", "value": "h-clear"});
    // Taken from another publisher's document.
    let mut stolen = get("stolen", &receiver.url("/stolen"));
    stolen["header"] = json!({"name": "x-key", "value": sealed("publisher/other")});
    world.configure(json!([form, fields, everything, stolen]), json!([])).await;
    let running = world.start();
    world.decide(vec![conversion(1, 1, "Success")]).await;
    world.until("delivered", 3).await;
    let attempts = world.until("retrying", 1).await;
    let problem = attempts.iter().find_map(|it| it.problem);
    assert_eq!(problem, Some(schemas::DeliveryProblem::Key));
    assert!(receiver.seen().iter().all(|it| it.target != "/stolen"));
    assert_eq!(receiver.seen().iter().filter(|it| it.headers.contains_key("x-key")).count(), 2);
    let seen = receiver.seen();
    let of = |target: &str| seen.iter().find(|it| it.target == target).unwrap();
    assert_eq!(of("/form").body, "user+id=%3Cuser+1%26x%3D%0D%0A1%3E");
    assert_eq!(of("/form").headers["x-key"], "h-secret");
    let body: Value = serde_json::from_str(&of("/fields").body).unwrap();
    assert_eq!(body, json!({"user id": "<user 1&x=\r\n1>"}));
    let body: Value = serde_json::from_str(&of("/everything").body).unwrap();
    assert_eq!(body["type"], "conversion.success");
    assert_eq!(body["data"]["payout"], "1.25");
    assert_eq!(body["data"]["offer_name"], "The Offer");
    for text in seen.iter().map(|it| format!("{it:?}")) {
        assert!(!text.contains("9.99") && !text.contains("7.77"), "{text}");
    }
    for text in attempts.iter().map(|it| serde_json::to_string(it).unwrap()) {
        assert!(!text.contains("h-secret") && !text.contains("user 1"), "{text}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_failing_publisher_is_tried_for_three_days_with_the_same_id() {
    let mut world = World::new();
    let receiver = Receiver::start().await;
    receiver.set(Mood::Status(503));
    world.configure(json!([get("main", &receiver.url("/"))]), json!([])).await;
    let running = world.start();
    world.decide(vec![conversion(1, 1, "Success")]).await;
    let mut expected = 1;
    while world.now() < START + 4 * DAY_MS {
        world.until("retrying", expected.min(3)).await;
        world.advance(HOUR_MS);
        tokio::time::sleep(Duration::from_millis(20)).await;
        expected = receiver.seen().len();
        if world.attempts().await.last().unwrap().outcome == DeliveryOutcome::Expired {
            break;
        }
    }
    let attempts = world.until("expired", 1).await;
    let seen = receiver.seen();
    assert!((10..40).contains(&seen.len()), "{} attempts", seen.len());
    assert_eq!(seen.iter().map(|it| it.id().to_owned()).collect::<BTreeSet<_>>().len(), 1);
    let over = attempts.last().unwrap().attempted_at.since(attempts[0].created_at);
    assert!((2 * DAY_MS..=3 * DAY_MS + 2 * HOUR_MS).contains(&over), "{over}");
    let numbers: Vec<u32> = attempts.iter().map(|it| it.attempt).collect();
    assert_eq!(numbers, (0..attempts.len() as u32).collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test]
async fn a_wish_for_later_is_honoured() {
    let mut world = World::new();
    let receiver = Receiver::start().await;
    receiver.set(Mood::Header(429, "retry-after", "600".to_owned()));
    world.configure(json!([get("main", &receiver.url("/"))]), json!([])).await;
    let running = world.start();
    world.decide(vec![conversion(1, 1, "Success")]).await;
    let attempts = world.until("retrying", 1).await;
    assert_eq!(attempts[1].next_attempt_at.unwrap().0, START + 600_000);
    receiver.set(Mood::Status(200));
    world.advance(599_000);
    tokio::time::sleep(QUIET).await;
    assert_eq!(receiver.seen().len(), 1, "not a second too soon");
    // What is new waits too: the wish is the destination's.
    world.decide(vec![conversion(2, 1, "Success")]).await;
    tokio::time::sleep(QUIET).await;
    assert_eq!(receiver.seen().len(), 1);
    world.advance(1_000);
    world.until("delivered", 2).await;
    running.stop().await;
}

#[tokio::test]
async fn refusals_are_final_and_gone_means_gone() {
    let mut world = World::new();
    let (refusing, gone) = (Receiver::start().await, Receiver::start().await);
    let elsewhere = Receiver::start().await;
    refusing.set(Mood::Header(302, "location", elsewhere.url("/")));
    gone.set(Mood::Status(410));
    let postbacks = json!([get("refusing", &refusing.url("/")), get("gone", &gone.url("/"))]);
    world.configure(postbacks, json!([])).await;
    let running = world.start();
    world.decide(vec![conversion(1, 1, "Success")]).await;
    world.until("disabled", 1).await;
    world.until("failed", 1).await;
    refusing.set(Mood::Status(404));
    world.decide(vec![conversion(2, 1, "Success")]).await;
    world.until("failed", 2).await;
    world.until("disabled", 2).await;
    world.advance(HOUR_MS);
    tokio::time::sleep(QUIET).await;
    assert_eq!((refusing.seen().len(), gone.seen().len()), (2, 1));
    assert_eq!(elsewhere.seen().len(), 0, "redirects are not followed");
    running.stop().await;
    // Through a restart, until somebody resends.
    let running = world.start();
    world.decide(vec![conversion(3, 1, "Success")]).await;
    world.until("disabled", 3).await;
    assert_eq!(gone.seen().len(), 1);
    gone.set(Mood::Status(200));
    let attempt = world.attempts().await.into_iter().find(|it| it.outcome.code() == "disabled");
    let attempt = attempt.unwrap();
    let order = DeliveryOrder {
        delivery_id: attempt.delivery_id.clone(),
        kind: DeliveryKind::Resend,
        destination: attempt.destination.clone(),
        attempts: 5,
        asked_at: schemas::UnixMillis(world.now()),
        config_version: 0,
        message: PublisherMessage::of(&conversion(1, 1, "Success"), "The Offer"),
    };
    world.append(Decision { deliveries: vec![order], ..Decision::default() }).await;
    let attempts = world.until("delivered", 1).await;
    let delivered = attempts.iter().find(|it| it.outcome.code() == "delivered").unwrap();
    assert_eq!(delivered.delivery_id, attempt.delivery_id, "the same id as before");
    assert_eq!((delivered.attempt, delivered.kind), (6, DeliveryKind::Resend));
    running.stop().await;
}

#[tokio::test]
async fn a_postback_that_was_taken_away_is_not_called() {
    let mut world = World::new();
    let receiver = Receiver::start().await;
    receiver.set(Mood::Status(500));
    world.configure(json!([get("main", &receiver.url("/"))]), json!([])).await;
    let running = world.start();
    world.decide(vec![conversion(1, 1, "Success")]).await;
    world.until("retrying", 1).await;
    world.configure(json!([]), json!([])).await;
    world.decide(vec![conversion(2, 1, "Success")]).await;
    tokio::time::sleep(QUIET).await;
    world.advance(HOUR_MS);
    world.until("cancelled", 1).await;
    assert_eq!(receiver.seen().len(), 1);
    running.stop().await;
}
