//! The admin API over real HTTP on loopback, with the local log below it.

use admin::{AdminConfig, ClickHouse};
use bytes::Bytes;
use eventlog::local::{LocalConfig, LocalLog};
use eventlog::{EventLog, ReadLimit, Record};
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use keyring::Keyring;
use schemas::{ConfigDocument, ConfigMarker, ConfigRecord, Document, Topic, UnixMillis};
use serde_json::{Value, json};
use service::{Clock, Readiness, ServiceError, Shutdown};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

const TOKEN: &str = "0123456789abcdef-token";

/// A running admin role on a log of its own.
struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    role: JoinHandle<Result<(), ServiceError>>,
    log: Arc<LocalLog>,
    _directory: tempfile::TempDir,
}

/// One request; the parts that tests change.
struct Ask<'a> {
    method: Method,
    path: &'a str,
    host: &'a str,
    authorization: Option<&'a str>,
    body: String,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Self {
            method: Method::GET,
            path: "/api/v1/version",
            host: "localhost",
            authorization: Some("Bearer 0123456789abcdef-token"),
            body: String::new(),
        }
    }
}

impl Running {
    async fn start() -> Self {
        Self::start_with(Vec::new()).await
    }

    /// With documents in force that another build applied.
    async fn start_with(documents: Vec<Document>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = LocalConfig::new(directory.path().join("log"), 4);
        config.fsync = false;
        config.min_free_disk_bytes = 0;
        let log = LocalLog::open(config).unwrap();
        if !documents.is_empty() {
            put_in_force(&log, documents).await;
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // A port that was free a moment ago: nobody answers there.
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = AdminConfig {
            listen: address,
            host_names: vec!["admin.example.com".to_owned()],
            token: TOKEN.to_owned(),
            token_chosen: false,
            clickhouse: ClickHouse {
                url: format!("http://{nobody}"),
                user: None,
                password: None,
                database: "gokart".to_owned(),
            },
            public_url: "https://example.com".to_owned(),
            limits: admin::QueryLimits::default(),
        };
        let keyring = Keyring::parse(&Keyring::generate(1).unwrap()).unwrap();
        let shutdown = Shutdown::new();
        let events: Arc<dyn EventLog> = log.clone();
        let role = tokio::spawn(admin::serve_on(
            listener,
            config,
            events,
            Arc::new(keyring),
            Clock::manual(1_795_179_600_000),
            Readiness::new().condition("admin"),
            shutdown.clone(),
        ));
        Self { address, shutdown, role, log, _directory: directory }
    }

    async fn ask(&self, ask: Ask<'_>) -> (u16, Value) {
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request =
            Request::builder().method(ask.method).uri(ask.path).header(HOST, ask.host);
        if let Some(authorization) = ask.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(Bytes::from(ask.body))).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Ask { path, ..Ask::default() }).await
    }

    async fn apply(&self, text: &str, more: Value) -> (u16, Value) {
        let mut body = json!({ "files": [{ "name": "f.yaml", "text": text }] });
        if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
            body.extend(more.clone());
        }
        let (path, body) = ("/api/v1/apply", body.to_string());
        self.ask(Ask { method: Method::POST, path, body, ..Ask::default() }).await
    }

    async fn stop(self) {
        self.shutdown.trigger();
        assert_eq!(self.role.await.unwrap(), Ok(()));
        self.log.close().await;
    }
}

fn message(answer: &Value) -> &str {
    answer["error"]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn only_the_bearer_of_the_token_under_our_name() {
    let running = Running::start().await;
    let check = async |host: &str, authorization: Option<&str>, expected: u16| {
        let (status, _) = running.ask(Ask { host, authorization, ..Ask::default() }).await;
        assert_eq!(status, expected, "{host} {authorization:?}");
    };
    let bearer = Some("Bearer 0123456789abcdef-token");
    check("localhost:8081", bearer, 200).await;
    check("127.0.0.1", bearer, 200).await;
    check("admin.example.com", bearer, 200).await;
    check("evil.example.com", bearer, 403).await;
    check("localhost", None, 401).await;
    check("localhost", Some("Bearer 0123456789abcdef-tokem"), 401).await;
    check("localhost", Some("Bearer "), 401).await;
    check("localhost", Some("Basic 0123456789abcdef-token"), 401).await;
    let healthz = Ask { path: "/healthz", authorization: None, ..Ask::default() };
    assert_eq!(running.ask(healthz).await.0, 200);
    let rebound = Ask { path: "/healthz", host: "evil.example.com", ..Ask::default() };
    assert_eq!(running.ask(rebound).await.0, 403);
    running.stop().await;
}

#[tokio::test]
async fn an_apply_is_all_or_nothing_and_has_a_version() {
    let running = Running::start().await;
    let examples = include_str!("../../examples/brownboots.yaml");
    let (status, answer) = running.apply(examples, json!({ "dry_run": true })).await;
    assert_eq!((status, answer["version"].as_u64()), (200, Some(0)));
    assert_eq!(answer["changed"].as_array().unwrap().len(), 10);
    assert_eq!(running.get("/api/v1/version").await.1["version"], 0, "a dry run changes nothing");

    let (status, answer) = running.apply(examples, json!({ "base_version": 0 })).await;
    assert_eq!((status, answer["version"].as_u64()), (200, Some(1)), "{answer}");
    let (_, answer) = running.apply(examples, json!({})).await;
    assert_eq!(answer["changed"], json!([]), "the same again changes nothing");

    let tenant = "kind: Tenant\nid: other\nname: Other\ntime_zone: UTC\n";
    let (status, answer) = running.apply(tenant, json!({ "base_version": 0 })).await;
    assert_eq!(status, 409, "{answer}");
    assert!(message(&answer).contains("version 1, not 0"), "{answer}");

    let (status, answer) =
        running.apply(&format!("{tenant}---\nkind: Tenant\nid: x\n"), json!({})).await;
    assert_eq!((status, message(&answer)), (422, "2 problems; nothing was changed"));
    let problem = &answer["error"]["problems"][0];
    assert_eq!(
        problem,
        &json!({"file": "f.yaml", "line": 6, "field": "name", "message": "is missing"})
    );
    let (_, version) = running.get("/api/v1/version").await;
    assert_eq!((&version["version"], &version["tenants"]), (&json!(1), &json!(1)));

    let (_, answer) = running.apply(tenant, json!({ "base_version": 1 })).await;
    assert_eq!((&answer["version"], &answer["changed"]), (&json!(2), &json!(["tenant/other"])));
    running.stop().await;
}

#[tokio::test]
async fn credentials_are_masked_unless_revealed() {
    let running = Running::start().await;
    running.apply(include_str!("../../examples/brownboots.yaml"), json!({})).await;
    let (_, masked) = running.get("/api/v1/postback-url?advertiser=brain-games").await;
    let (_, shown) = running.get("/api/v1/postback-url?advertiser=brain-games&reveal=true").await;
    let signature = shown["signature"].as_str().unwrap();
    assert_eq!(signature.chars().count(), 43);
    assert!(!masked.to_string().contains(&signature[4..]), "{masked}");
    let url = shown["url"].as_str().unwrap();
    let segment = shown["postback_security_segment"].as_str().unwrap();
    assert_eq!(
        url,
        format!(
            "https://api.brownboots.example.com/api/v1/{segment}?signature={signature}\
             &gk_click_id={{gk_click_id}}&cnv_event_id={{event_name}}"
        )
    );
    let link = "/api/v1/tracking-link?offer=pet-the-dogs-ios&publisher=acme-rewards";
    let (_, answer) = running.get(link).await;
    assert_eq!(answer["tracking_link"], "https://api.brownboots.example.com/c/ptd-acme");
    let (_, answer) = running.get(&format!("{link}&test=true")).await;
    assert!(answer["tracking_link"].as_str().unwrap().contains("/c/ptd-acme?gk_test="));
    running.stop().await;
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let running = Running::start().await;
    running.apply(include_str!("../../examples/brownboots.yaml"), json!({})).await;
    let check = async |path: &str, expected: u16, text: &str| {
        let (status, answer) = running.get(path).await;
        assert_eq!(status, expected, "{path}: {answer}");
        assert!(answer.to_string().contains(text), "{path}: {answer}");
    };
    check("/", 404, "there is nothing at").await;
    check("/api/v1/apply", 405, "GET is not possible").await;
    check("/api/v1/postback-url", 400, "advertiser: is missing").await;
    check("/api/v1/postback-url?advertiser=x", 404, "there are brain-games, bull-street").await;
    check("/api/v1/postback-url?advertiser=x&x=1", 400, "is no parameter here").await;
    let link = "/api/v1/tracking-link?offer=first-trade&publisher";
    check(&format!("{link}=sunny-surveys"), 404, "kind: Share").await;
    let funnel = "/api/v1/report/funnel?offer";
    check(&format!("{funnel}=gone"), 404, "there is no offer").await;
    check(&format!("{funnel}=first-trade&by=x"), 400, "no dimension").await;
    check(&format!("{funnel}=first-trade&tz=Mars"), 400, "not a time zone").await;
    check(&format!("{funnel}=first-trade&from=x"), 400, "neither a day nor a time").await;
    check("/api/v1/report/conversions?limit=0", 400, "limit").await;
    check("/api/v1/explain/%20", 400, "this is no id").await;
    // ClickHouse is not there: said so, with what to do, and nothing hangs.
    check(&format!("{funnel}=first-trade"), 503, "cannot be asked now").await;
    check("/api/v1/explain/x", 503, "cannot be asked now").await;
    running.stop().await;
}

#[tokio::test]
async fn bodies_are_bounded_and_decisions_need_a_reason() {
    let running = Running::start().await;
    let post = async |path: &str, body: String| {
        running.ask(Ask { method: Method::POST, path, body, ..Ask::default() }).await
    };
    let (status, answer) = post("/api/v1/apply", "x".repeat((8 << 20) + 1)).await;
    assert_eq!(status, 413, "{answer}");
    let (status, answer) = post("/api/v1/apply", "{".to_owned()).await;
    assert_eq!(status, 400, "{answer}");
    let (status, answer) =
        post("/api/v1/apply", r#"{"files": [], "force": true}"#.to_owned()).await;
    assert_eq!(status, 400, "{answer}");
    let approve = "/api/v1/conversions/x/approve";
    let (status, answer) = post(approve, r#"{"reason": " "}"#.to_owned()).await;
    assert_eq!(status, 400, "{answer}");
    assert!(message(&answer).contains("needs its reason"), "{answer}");
    let (status, answer) = post(approve, r#"{"reason": "x"}"#.to_owned()).await;
    assert_eq!(status, 400, "{answer}");
    assert!(message(&answer).contains("is not a conversion id"), "{answer}");
    running.stop().await;
}

async fn put_in_force(log: &LocalLog, documents: Vec<Document>) {
    let count = u32::try_from(documents.len()).unwrap();
    let marker = ConfigMarker {
        version: 1,
        apply: None,
        base: None,
        documents: count,
        applied_at: UnixMillis(0),
    };
    let documents = documents.into_iter().map(|document| {
        ConfigRecord::Document(ConfigDocument { version: 1, apply: None, document })
    });
    let records = documents.chain([ConfigRecord::Marker(marker)]).map(|it| {
        let (key, value) = it.encode();
        Record { key: key.into(), value: value.into(), at: UnixMillis(0) }
    });
    log.append(Topic::Config, 0, records.collect()).await.unwrap();
}

/// What the topic `config` holds from an offset on, as text.
async fn config_text(log: &LocalLog, from: u64) -> String {
    let mut reader = log.read_from(Topic::Config, 0, from).await.unwrap();
    let limit = ReadLimit { records: 1_000, bytes: 1 << 24, wait: Duration::ZERO };
    let batch = reader.read(limit).await.unwrap();
    let texts =
        batch.records.iter().map(|it| String::from_utf8_lossy(&it.record.value).into_owned());
    texts.collect()
}

const WITH_HEADER: &str = "\
kind: Tenant
id: t
name: T
time_zone: UTC
---
kind: Publisher
id: p
tenant: t
name: P
postbacks:
  - url: https://p.example/
    test_url: https://test.p.example/
    header: {name: X-Key, value: canary-1}
";

#[tokio::test]
async fn fixed_headers_are_sealed_before_they_are_kept() {
    let running = Running::start().await;
    let (status, answer) = running.apply(WITH_HEADER, json!({})).await;
    assert_eq!(status, 200, "{answer}");
    let text = config_text(&running.log, 0).await;
    assert_eq!(text.matches("sealed:1:").count(), 2, "{text}");
    assert!(!text.contains("canary-1"), "{text}");
    let (_, again) = running.apply(WITH_HEADER, json!({})).await;
    assert_eq!(again["version"], 1, "applying it again changes nothing");
    let (_, other) = running.apply(&WITH_HEADER.replace("canary-1", "canary-2"), json!({})).await;
    assert_eq!(other["version"], 2, "another value does");
    running.stop().await;
}

#[tokio::test]
async fn headers_from_before_are_sealed_at_the_next_start() {
    let before: Vec<Document> = [
        json!({"tenant": {"id": "t", "name": "T", "time_zone": "UTC"}}),
        json!({"publisher": {"id": "p", "tenant": "t", "name": "P", "secret_versions": [1],
            "postbacks": [{"name": "default", "url": "https://p.example/", "form": "get",
                "statuses": ["Success"], "in_flight": 8, "per_second": 50,
                "header": {"name": "x-key", "value": "canary-1"}}]}}),
    ]
    .map(|it| serde_json::from_value(it).unwrap())
    .into();
    let running = Running::start_with(before).await;
    let end = 3;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while running.get("/api/v1/version").await.1["version"] != 2 {
        assert!(std::time::Instant::now() < deadline, "nothing was sealed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let text = config_text(&running.log, end).await;
    assert!(text.contains("sealed:1:") && !text.contains("canary-1"), "{text}");
    running.stop().await;
}
