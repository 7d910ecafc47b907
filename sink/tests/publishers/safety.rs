//! What no publisher's URL can reach.

use crate::receiver::Receiver;
use crate::world::{World, conversion, get};
use schemas::DeliveryProblem;
use serde_json::json;
use sink::publishers::connect::Names;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[tokio::test]
async fn private_addresses_are_not_called_however_they_are_written() {
    let mut world = World::new();
    let receiver = Receiver::start().await;
    world.config.allow.clear();
    let port = receiver.port;
    let hosts = [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "0x7f000001",
        "127.0.0.1.",
        "0",
        "[::]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "2852039166",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "100.64.0.1",
        "10.0.0.1",
    ];
    let postbacks: Vec<_> = hosts
        .iter()
        .enumerate()
        .map(|(index, host)| get(&format!("n{index}"), &format!("http://{host}:{port}/")))
        .collect();
    world.configure(json!(postbacks), json!([])).await;
    let running = world.start();
    world.decide(vec![conversion(1, 1, "Success")]).await;
    for _ in 0..6_000 {
        let tried = world.attempts().await.iter().filter(|it| it.attempt > 0).count();
        if tried >= hosts.len() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let attempts = world.attempts().await;
    assert_eq!(receiver.seen().len(), 0);
    for (index, host) in hosts.iter().enumerate() {
        let name = format!("publisher/p/n{index}");
        let tried =
            attempts.iter().find(|it| it.attempt == 1 && it.destination.to_string() == name);
        let problem = tried.and_then(|it| it.problem).map(|it| it.code()).unwrap_or_default();
        // Shorthand that the system's resolver does not know is no address at all.
        assert!(["address", "resolve"].contains(&problem), "{host}: {problem:?}");
    }
    running.stop().await;
}

/// Answers public first and private afterwards, as those do who want to reach inside.
fn rebinding(answers: Vec<Vec<&'static str>>) -> (Names, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let names = Names::new(Duration::ZERO, move |_| {
        let nth = count.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        let addresses = answers[nth].iter().map(|it| it.parse().unwrap()).collect();
        Box::pin(std::future::ready(addresses))
    });
    (names, asked)
}

/// 127.0.0.2 stands for what is public, 127.0.0.1 for what is inside; both have a server at the
/// same port.
async fn inside_and_outside() -> (Receiver, Receiver) {
    loop {
        let outside = Receiver::at("127.0.0.2:0").await.unwrap();
        if let Ok(inside) = Receiver::at(&format!("127.0.0.1:{}", outside.port)).await {
            return (inside, outside);
        }
    }
}

#[tokio::test]
async fn a_name_that_changes_its_address_leads_to_none_that_was_not_checked() {
    let (inside, outside) = inside_and_outside().await;
    let mut world = World::new();
    world.config.allow = vec!["127.0.0.2/32".parse().unwrap()];
    let (names, asked) = rebinding(vec![vec!["127.0.0.2"], vec!["127.0.0.1"]]);
    world.config.names = names;
    let url = format!("http://rebound.example:{}/", outside.port);
    world.configure(json!([get("main", &url)]), json!([])).await;
    let running = world.start();
    // Looked up once and called there: nobody asks again between the check and the connection.
    world.decide(vec![conversion(1, 1, "Success")]).await;
    world.until("delivered", 1).await;
    assert_eq!((asked.load(Ordering::Relaxed), outside.seen().len()), (1, 1));
    running.stop().await;
    // A new connection asks anew, is told the inside, and is not made.
    let running = world.start();
    world.decide(vec![conversion(2, 1, "Success")]).await;
    let attempts = world.until("failed", 1).await;
    assert_eq!(attempts.last().unwrap().problem, Some(DeliveryProblem::Address));
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    running.stop().await;
    assert_eq!((inside.seen().len(), outside.seen().len()), (0, 1));
}

#[tokio::test]
async fn of_several_addresses_only_public_ones_are_called() {
    let (inside, outside) = inside_and_outside().await;
    let mut world = World::new();
    world.config.allow = vec!["127.0.0.2/32".parse().unwrap()];
    let mixed = vec!["127.0.0.1", "::ffff:127.0.0.1", "::1", "169.254.169.254", "127.0.0.2"];
    world.config.names = rebinding(vec![mixed]).0;
    let url = format!("http://mixed.example:{}/", outside.port);
    world.configure(json!([get("main", &url)]), json!([])).await;
    let running = world.start();
    world.decide(vec![conversion(1, 1, "Success")]).await;
    world.until("delivered", 1).await;
    running.stop().await;
    assert_eq!((inside.seen().len(), outside.seen().len()), (0, 1));
}
