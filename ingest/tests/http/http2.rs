//! Postbacks and clicks over HTTP/2: the same answers, and the same limits for each address however
//! many requests share a connection.

use crate::support::*;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ingest::{IngestConfig, Rate};
use service::{Readiness, ServiceError, TlsFiles};
use tokio::task::JoinHandle;

type Sender = SendRequest<Full<Bytes>>;

async fn connect(running: &Running) -> (Sender, JoinHandle<hyper::Result<()>>) {
    let stream = tokio::net::TcpStream::connect(running.address).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(connection))
}

fn get(target: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://{HOST}{target}")).body(Full::default()).unwrap()
}

async fn ask(sender: &mut Sender, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let answer = sender.send_request(request);
    tokio::time::timeout(PATIENCE, answer).await.expect("no answer came").unwrap()
}

#[tokio::test]
async fn a_postback_and_a_click_are_taken() {
    let running = start().await;
    let (mut sender, _) = connect(&running).await;
    let url = running.postback_url();
    let answer = ask(&mut sender, get(&format!("{url}&gk_click_id=x"))).await;
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"{\"status\":\"accepted\",\"postback_id\":"), "{body:?}");
    let form = Request::post(format!("http://{HOST}{url}"))
        .body(Full::from(r#"{"cnv_event_id":"Install"}"#))
        .unwrap();
    assert_eq!(ask(&mut sender, form).await.status(), 200);
    assert_eq!(running.postbacks().len(), 2);
    let click = ask(&mut sender, get("/c/pet-acme?sub1=x")).await;
    assert_eq!(click.status(), 302);
    assert_eq!(running.clicks().len(), 1);
    let large = Request::post(format!("http://{HOST}{url}")).body(Full::from(vec![0; 70_000]));
    assert_eq!(ask(&mut sender, large.unwrap()).await.status(), 413);
    let (mut sender, _) = connect(&running).await;
    let long = format!("/c/{}", "x".repeat(9_000));
    assert_eq!(ask(&mut sender, get(&long)).await.status(), 414);
}

#[tokio::test]
async fn a_flood_is_counted_by_address_over_all_streams() {
    let mut config = config();
    config.unauthenticated_rate = Rate { per_second: 1, burst: 3 };
    let running = start_with(config, log::MemoryLog::default()).await;
    let wrong = |client: &str| {
        let mut request = get("/api/v1/x/y/z?signature=s");
        request.headers_mut().insert("x-client", client.parse().unwrap());
        request
    };
    let mut statuses = Vec::new();
    for _ in 0..5 {
        // After a 429 the connection is closed: the flood goes on over another one.
        let (mut sender, ended) = connect(&running).await;
        for _ in 0..2 {
            statuses.push(ask(&mut sender, wrong("192.0.2.1")).await.status().as_u16());
            if statuses.ends_with(&[429]) {
                tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap().unwrap();
                break;
            }
        }
    }
    assert_eq!(statuses[..3], [403, 403, 403]);
    assert!(statuses[3..].contains(&429), "{statuses:?}");
    let (mut sender, _) = connect(&running).await;
    assert_eq!(ask(&mut sender, wrong("192.0.2.2")).await.status(), 403, "another address");
    assert_eq!(ask(&mut sender, get(&running.postback_url())).await.status(), 200);
}

#[tokio::test]
async fn a_wrong_certificate_refuses_to_start() {
    let config = IngestConfig {
        tls: Some(TlsFiles { certificate: "/nowhere/tls.pem".into(), key: "/nowhere/key".into() }),
        ..config()
    };
    let keyring = std::sync::Arc::new(keyring::Keyring::parse(KEYS).unwrap());
    let log = std::sync::Arc::new(log::MemoryLog::default());
    let clock = service::Clock::manual(NOW.0);
    let (ready, shutdown) = (Readiness::new().condition("ingest"), service::Shutdown::new());
    let ended = ingest::run(config, log, keyring, clock, ready, shutdown).await;
    let Err(ServiceError::Configuration(message)) = ended else { panic!("{ended:?}") };
    assert!(message.contains("/nowhere/tls.pem cannot be read"), "{message}");
}
