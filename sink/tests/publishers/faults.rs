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
    for _ in 0..600 {
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
