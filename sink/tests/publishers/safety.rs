//! What no publisher's URL can reach.

use crate::receiver::Receiver;
use crate::world::{World, conversion, get};
use serde_json::json;

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
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
    ];
    let postbacks: Vec<_> = hosts
        .iter()
        .enumerate()
        .map(|(index, host)| get(&format!("n{index}"), &format!("http://{host}:{port}/")))
        .collect();
    world.configure(json!(postbacks), json!([])).await;
    let running = world.start();
    world.decide(vec![conversion(1, 1, "Success")]).await;
    for _ in 0..400 {
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
