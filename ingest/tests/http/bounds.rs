//! What an ingester does when there is too much, too slow, or nowhere to write.

use crate::support::log::{MemoryLog, Mood};
use crate::support::*;
use ingest::{IngestConfig, Rate};
use schemas::*;
use service::{Clock, HttpLimits, Readiness, ServiceError, Shutdown};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// One, and the next in a second; a burst of one is all that a quick test sees.
const ONE: Rate = Rate { per_second: 1, burst: 1 };

async fn start_config(change: impl FnOnce(&mut IngestConfig)) -> Running {
    let mut config = config();
    change(&mut config);
    start_with(config, MemoryLog::default()).await
}

#[tokio::test]
async fn a_log_that_does_not_take_it_is_a_503_to_come_back_to() {
    let running = start_config(|config| config.answer_timeout = Duration::from_millis(20)).await;
    let url = running.postback_url();
    let mut bodies = Vec::new();
    for mood in [Mood::Unavailable, Mood::Full, Mood::Unknown, Mood::Refused, Mood::Hanging] {
        running.log.set_mood(Topic::Postbacks, mood);
        let answer = running.get(&url).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")), "{mood:?}");
        assert!(!answer.body.contains("log") && !answer.body.contains("test"), "{}", answer.body);
        bodies.push(answer.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "the caller does not learn what is broken");
}

#[tokio::test]
async fn nothing_is_accepted_before_it_is_durable() {
    let running = start().await;
    running.log.set_mood(Topic::Postbacks, Mood::Hanging);
    let mut client = running.connect().await;
    client.send(&format!("GET {} HTTP/1.1\r\nHost: {HOST}\r\n\r\n", running.postback_url())).await;
    let early = tokio::time::timeout(Duration::from_millis(50), client.answer(false)).await;
    assert!(early.is_err(), "{early:?}");
    running.log.set_mood(Topic::Postbacks, Mood::Well);
    assert_eq!(client.answer(false).await.unwrap().status, 200);
    assert_eq!(running.postbacks().len(), 1);
}

#[tokio::test]
async fn postbacks_without_a_click_are_shed_first() {
    let running = start_config(|config| config.postbacks_in_flight = 4).await;
    let url = running.postback_url();
    let request = |click: &str| format!("GET {url}{click} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    running.log.set_mood(Topic::Postbacks, Mood::Hanging);
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut client = running.connect().await;
        client.send(&request("&gk_click_id=x")).await;
        waiting.push(client);
    }
    // The three are in work once a further one without a click is refused; until then it may get
    // in before one of them, and goes away again.
    let shed = async {
        loop {
            let mut client = running.connect().await;
            client.send(&request("")).await;
            let answer = tokio::time::timeout(Duration::from_millis(100), client.answer(false));
            if let Ok(answer) = answer.await {
                return answer.unwrap();
            }
        }
    };
    let shed = tokio::time::timeout(PATIENCE, shed).await.expect("none is shed");
    assert_eq!((shed.status, shed.header("retry-after")), (503, Some("5")));
    let mut last = running.connect().await;
    last.send(&request("&gk_click_id=x")).await;
    running.log.set_mood(Topic::Postbacks, Mood::Well);
    assert_eq!(last.answer(false).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_advertiser_over_its_rate_is_told_503_and_others_are_not() {
    let running =
        start_config(|config| config.advertiser_rate = Rate { per_second: 1, burst: 3 }).await;
    let url = running.postback_url();
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(running.get(&url).await.status);
    }
    assert!(statuses[..3].iter().all(|status| *status == 200), "{statuses:?}");
    assert!(statuses[3..].contains(&503), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "never 429: {statuses:?}");
    let other = running.credentials("trade", "brownboots");
    let other = format!("/api/v1/{}/?signature={}", other.segments().join("/"), other.signature());
    assert_eq!(running.get(&other).await.status, 200);
}

#[tokio::test]
async fn floods_without_credentials_get_429_by_address() {
    let running = start_config(|config| config.unauthenticated_rate = ONE).await;
    let ask = async |target: &str, client: &str| {
        running
            .ask(&format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\nX-Client: {client}\r\n\r\n"))
            .await
    };
    for target in ["/api/v1/x/y/z?signature=s", "/c/nobody"] {
        let client = if target.starts_with("/c") { "192.0.2.1" } else { "192.0.2.2" };
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(ask(target, client).await);
        }
        assert!([403, 404].contains(&statuses[0].status));
        let flooded = statuses.iter().find(|answer| answer.status == 429).expect("no 429");
        assert_eq!(flooded.header("retry-after"), Some("10"));
    }
    // The same address may send what is authentic, and other addresses anything.
    assert_eq!(ask(&running.postback_url(), "192.0.2.2").await.status, 200);
    assert_eq!(ask("/c/nobody", "192.0.2.3").await.status, 404);
}

#[tokio::test]
async fn a_flood_of_clicks_loses_rows_not_users_nor_postbacks() {
    let running = start_config(|config| {
        config.clicks_in_flight = 2;
        config.click_rate = ONE;
    })
    .await;
    for _ in 0..20 {
        assert_eq!(running.click("/c/pet-acme?sub1=x").await.status, 302);
    }
    assert!(running.clicks().len() < 20);
    // Over the quota, sub-ids that do not fit cannot be promised.
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let target = format!("/c/pet-acme?sub1={}", "x".repeat(200));
        statuses.push(running.click(&target).await.status);
    }
    assert!(statuses.contains(&503), "{statuses:?}");
    assert_eq!(running.get(&running.postback_url()).await.status, 200);
}

#[tokio::test]
async fn clicks_from_one_address_have_a_rate() {
    let running = start_config(|config| config.click_address_rate = ONE).await;
    let ask = async |client: &str| {
        let request =
            format!("GET /c/pet-acme HTTP/1.1\r\nHost: {HOST}\r\nX-Client: {client}\r\n\r\n");
        running.ask(&request).await.status
    };
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(ask("192.0.2.1").await);
    }
    assert!(statuses[0] == 302 && statuses.contains(&429), "{statuses:?}");
    assert_eq!(ask("192.0.2.2").await, 302);
    for _ in 0..5 {
        assert_eq!(ask("127.0.0.1").await, 302, "a proxy or a developer");
    }
}

#[tokio::test]
async fn slow_bodies_do_not_keep_authentic_senders_waiting() {
    let running = start_config(|config| {
        config.unauthenticated_bodies = 1;
        config.body_timeout = Duration::from_millis(300);
    })
    .await;
    let url = running.postback_url();
    let head = |target: &str| {
        format!("POST {target} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10\r\n\r\n")
    };
    let mut slow = running.connect().await;
    slow.send(&head("/api/v1/x/y/z?signature=s")).await;
    let mut authentic = running.connect().await;
    authentic.send(&(head(&url) + "a=12345678")).await;
    assert_eq!(authentic.answer(false).await.unwrap().status, 200);
    let late = slow.answer(false).await.unwrap();
    assert_eq!((late.status, late.header("connection")), (408, Some("close")));
    assert!(slow.answer(false).await.is_none(), "the connection is closed");
}

#[tokio::test]
async fn slow_headers_are_hung_up_on() {
    let running = start_config(|config| {
        config.http = HttpLimits { header_timeout: Duration::from_millis(100), ..config.http };
    })
    .await;
    let mut slow = running.connect().await;
    slow.send("GET / HTTP/1.1\r\nHos").await;
    let ended = slow.answer(false).await;
    assert!(ended.is_none_or(|answer| answer.status == 408));
    assert_eq!(running.get("/").await.status, 404);
}

#[tokio::test]
async fn stopping_finishes_what_was_begun() {
    let running = start().await;
    assert_eq!(running.get("/").await.status, 404);
    assert!(running.readiness.waiting_for().is_empty());
    running.log.set_mood(Topic::Postbacks, Mood::Hanging);
    let mut client = running.connect().await;
    client.send(&format!("GET {} HTTP/1.1\r\nHost: {HOST}\r\n\r\n", running.postback_url())).await;
    // In work once the answer does not come.
    assert!(tokio::time::timeout(Duration::from_millis(200), client.answer(false)).await.is_err());
    running.shutdown.trigger();
    running.log.set_mood(Topic::Postbacks, Mood::Well);
    assert_eq!(client.answer(false).await.unwrap().status, 200);
    assert!(client.answer(false).await.is_none(), "the connection is closed");
    running.ended.await.unwrap().unwrap();
    assert_eq!(running.readiness.waiting_for().len(), 1);
    assert!(tokio::net::TcpStream::connect(running.address).await.is_err());
}

async fn begin(
    config: IngestConfig,
    log: MemoryLog,
    now: UnixMillis,
    shutdown: Shutdown,
) -> Result<(), ServiceError> {
    let keyring = Arc::new(keyring::Keyring::parse(KEYS).unwrap());
    let clock = Clock::manual(now.0);
    let ready = Readiness::new().condition("ingest");
    ingest::run(config, Arc::new(log), keyring, clock, ready, shutdown).await
}

#[tokio::test]
async fn a_clock_far_behind_the_log_refuses_to_start() {
    const FIVE_MINUTES_MS: i64 = 5 * 60 * 1000;
    for (behind_ms, starts) in [(0, true), (FIVE_MINUTES_MS, true), (FIVE_MINUTES_MS + 1, false)] {
        let log = MemoryLog::default();
        apply(&log, 1, documents()).await;
        let shutdown = Shutdown::new();
        let now = NOW.plus_ms(-behind_ms);
        let ended = tokio::spawn(begin(config(), log, now, shutdown.clone()));
        if starts {
            shutdown.trigger();
            assert_eq!(ended.await.unwrap(), Ok(()));
        } else {
            let Err(ServiceError::Failed(message)) = ended.await.unwrap() else { panic!() };
            assert!(
                message.starts_with("this machine's clock says 2027-01-15T07:54:59.999Z"),
                "{message}"
            );
        }
    }
}

#[tokio::test]
async fn a_taken_port_is_said_in_one_line() {
    let running = start().await;
    let taken = IngestConfig { listen: running.address, ..config() };
    let ended = begin(taken, MemoryLog::default(), NOW, Shutdown::new()).await;
    let Err(ServiceError::Failed(message)) = ended else { panic!("{ended:?}") };
    assert!(message.contains("--listen") && !message.contains('\n'), "{message}");
    let wrong = IngestConfig { token_chars: 1, ..config() };
    let ended = begin(wrong, MemoryLog::default(), NOW, Shutdown::new()).await;
    assert!(matches!(ended, Err(ServiceError::Configuration(_))), "{ended:?}");
}

#[tokio::test]
async fn a_record_of_a_newer_version_stops_it() {
    let running = start().await;
    let newer = br#"{"v":99,"config-marker":{}}"#;
    let record = eventlog::Record { key: "x".into(), value: newer.as_slice().into(), at: NOW };
    eventlog::EventLog::append(&*running.log, Topic::Config, 0, vec![record]).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, running.ended).await.unwrap().unwrap();
    let Err(ServiceError::Failed(message)) = ended else { panic!("{ended:?}") };
    assert!(message.contains("99"), "{message}");
    let address: SocketAddr = running.address;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
