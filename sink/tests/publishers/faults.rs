//! Publishers that misbehave, and a deliverer that dies.

use crate::receiver::{Mood, Raw, Receiver, raw};
use crate::world::{World, conversion, get};
use schemas::time::MINUTE_MS;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[tokio::test]
async fn whatever_a_server_does_it_is_tried_again() {
    let mut world = World::new();
    let well = Arc::new(AtomicBool::new(false));
    let mut postbacks = Vec::new();
    for kind in [Raw::Reset, Raw::Garbage, Raw::Drip, Raw::EndlessHead] {
        let port = raw(kind, Arc::clone(&well)).await;
        let name = format!("{kind:?}").to_lowercase();
        postbacks.push(get(&name, &format!("http://127.0.0.1:{port}/")));
    }
    let hanging = Receiver::start().await;
    hanging.set(Mood::Hang);
    postbacks.push(get("hanging", &hanging.url("/")));
    // A port where nobody listens.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    postbacks.push(get("closed", &format!("http://127.0.0.1:{port}/")));
    world.configure(Value::from(postbacks), json!([])).await;
    let running = world.start();
    world.decide(vec![conversion(1, 1, "Success")]).await;
    let attempts = world.until("retrying", 6).await;
    let problem = |name: &str| {
        let destination = format!("publisher/p/{name}");
        let found = attempts
            .iter()
            .find(|it| it.problem.is_some() && it.destination.to_string() == destination);
        found.and_then(|it| it.problem).map(|it| it.code())
    };
    assert_eq!(problem("hanging"), Some("timeout"));
    assert_eq!(problem("drip"), Some("timeout"));
    assert_eq!(problem("closed"), Some("connect"));
    assert_eq!(problem("garbage"), Some("garbage"));
    assert!(problem("endlesshead").is_some() && problem("reset").is_some());
    well.store(true, Ordering::Relaxed);
    hanging.set(Mood::Status(200));
    world.advance(MINUTE_MS);
    world.until("delivered", 5).await;
    running.stop().await;
}

/// Half of a thousand publishers are dead, and the deliverer is killed again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_success_arrives_once_in_effect_though_half_are_dead_and_we_die_too() {
    const POSTBACKS: usize = 1_000;
    const CONVERSIONS: u32 = 3;
    let mut world = World::new();
    let (alive, dead) = (Receiver::start().await, Receiver::start().await);
    dead.set(Mood::Hang);
    let publishers: Vec<(String, Value)> = (0..POSTBACKS)
        .map(|n| {
            let receiver = if n % 2 == 0 { &alive } else { &dead };
            let url = receiver.url(&format!("/{n}?c={{conversion_id}}"));
            (format!("p{n}"), json!([get("main", &url)]))
        })
        .collect();
    world.configure_many(publishers, json!([])).await;
    let mut running = world.start();
    for n in 0..CONVERSIONS {
        let told = (0..POSTBACKS).map(|p| {
            let mut it = conversion(n * 10_000 + p as u32, 1, "Success");
            it.publisher_id = schemas::PublisherId::new(&format!("p{p}")).unwrap();
            it
        });
        world.decide(told.collect()).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        running.kill().await;
        running = world.start();
    }
    let wanted = POSTBACKS / 2 * CONVERSIONS as usize;
    for _ in 0..1_800 {
        let ids: BTreeSet<String> = alive.seen().iter().map(|it| it.id().to_owned()).collect();
        if ids.len() >= wanted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seen = alive.seen();
    let ids: BTreeSet<String> = seen.iter().map(|it| it.id().to_owned()).collect();
    let conversions: BTreeSet<String> = seen.iter().map(|it| it.target.clone()).collect();
    assert_eq!(ids.len(), wanted, "each is there, by its id");
    assert_eq!(conversions.len(), wanted, "and each id is one conversion");
    assert!(seen.len() < 2 * wanted, "{} requests for {wanted}", seen.len());
    running.stop().await;
}

/// Nothing comes while nothing should, for as long as anything wrong would take.
async fn stays_at(receiver: &Receiver, requests: usize, why: &str) {
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(receiver.seen().len(), requests, "{why}");
}

async fn reaches(receiver: &Receiver, requests: usize) {
    for _ in 0..6_000 {
        if receiver.seen().len() >= requests {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} of {requests} requests", receiver.seen().len());
}

#[tokio::test]
async fn a_dead_destination_sees_few_requests_however_much_waits() {
    const WAITING: u32 = 50;
    let mut world = World::new();
    let receiver = Receiver::start().await;
    receiver.set(Mood::Status(500));
    world.configure(json!([get("main", &receiver.url("/"))]), json!([])).await;
    let running = world.start();
    world.decide((1..=WAITING).map(|n| conversion(n, 1, "Success")).collect()).await;
    // Once its row is there, a failure has been taken note of: only then may time pass.
    world.until("retrying", 5).await;
    stays_at(&receiver, 5, "five failures in a row open the breaker").await;
    world.advance(29_000);
    stays_at(&receiver, 5, "it stays open for half a minute").await;
    world.advance(2_000);
    world.until("retrying", 6).await;
    stays_at(&receiver, 6, "one request tries").await;
    world.advance(59_000);
    stays_at(&receiver, 6, "and failing, keeps it open for twice as long").await;
    world.advance(2_000);
    world.until("retrying", 7).await;
    receiver.set(Mood::Status(200));
    world.advance(2 * MINUTE_MS);
    world.until("delivered", WAITING as usize).await;
    running.stop().await;
    assert_eq!(receiver.seen().len(), 7 + WAITING as usize, "one answer closes it");
}

#[tokio::test]
async fn no_more_a_second_than_the_destination_wants() {
    const PER_SECOND: u32 = 20;
    let mut world = World::new();
    let (slow, free) = (Receiver::start().await, Receiver::start().await);
    let mut limited = get("limited", &slow.url("/"));
    limited["per_second"] = json!(PER_SECOND);
    world.configure(json!([limited, get("free", &free.url("/"))]), json!([])).await;
    let running = world.start();
    let began = std::time::Instant::now();
    world.decide((1..=3 * PER_SECOND).map(|n| conversion(n, 1, "Success")).collect()).await;
    reaches(&free, 3 * PER_SECOND as usize).await;
    reaches(&slow, 3 * PER_SECOND as usize).await;
    // A second's worth at once, and the rest as it may: no machine is too fast or too slow for this.
    assert!(began.elapsed() >= Duration::from_millis(1_950), "{:?}", began.elapsed());
    running.stop().await;
}

#[tokio::test]
async fn a_destination_that_flaps_gets_everything_in_order() {
    const CONVERSIONS: u32 = 12;
    let mut world = World::new();
    let receiver = Receiver::start().await;
    receiver.set(Mood::Flap);
    let mut postback = get("main", &receiver.url("/?c={conversion_id}&r={revision}"));
    postback["statuses"] = json!(["Pending", "Success", "Rejected"]);
    world.configure(json!([postback]), json!([])).await;
    let running = world.start();
    for (revision, status) in [(1, "Pending"), (2, "Success"), (3, "Rejected")] {
        world.decide((1..=CONVERSIONS).map(|n| conversion(n, revision, status)).collect()).await;
    }
    let wanted = 3 * CONVERSIONS as usize;
    for _ in 0..2_000 {
        let done =
            world.attempts().await.iter().filter(|it| it.outcome.code() == "delivered").count();
        if done == wanted {
            break;
        }
        world.advance(10_000);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.until("delivered", wanted).await;
    running.stop().await;
    let seen = receiver.seen();
    let ids: BTreeSet<&str> = seen.iter().map(|it| it.id()).collect();
    assert_eq!(ids.len(), wanted);
    for n in 1..=CONVERSIONS {
        let of = format!("c=offer.{n:0>26}&");
        let targets: Vec<&str> =
            seen.iter().map(|it| it.target.as_str()).filter(|it| it.contains(&of)).collect();
        let revisions = targets.iter().map(|it| it.rsplit('=').next().unwrap());
        assert!(revisions.is_sorted(), "{targets:?}");
    }
}

#[tokio::test]
async fn an_answer_counts_though_its_body_never_ends() {
    let mut world = World::new();
    let port = raw(Raw::DripBody, Arc::default()).await;
    world.configure(json!([get("main", &format!("http://127.0.0.1:{port}/"))]), json!([])).await;
    let running = world.start();
    world.decide((1..=5).map(|n| conversion(n, 1, "Success")).collect()).await;
    world.until("delivered", 5).await;
    running.stop().await;
}
