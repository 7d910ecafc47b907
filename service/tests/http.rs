//! The server over real sockets: what it takes, what it refuses, and how it stops.

use service::http::{HttpLimits, bind, read_body, reply, serve};
use service::{Reply, Shutdown};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const BODY_BYTES_MAX: usize = 16;

async fn answer(request: hyper::Request<hyper::body::Incoming>) -> Reply {
    if request.uri().path() == "/slow" {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    match read_body(request.into_body(), BODY_BYTES_MAX, Duration::from_millis(200)).await {
        Ok(body) => reply(hyper::StatusCode::OK, "text/plain", body),
        Err(error) => reply(hyper::StatusCode::BAD_REQUEST, "text/plain", error.to_string()),
    }
}

async fn start(limits: HttpLimits) -> (SocketAddr, Shutdown, JoinHandle<()>) {
    let listener = bind(([127, 0, 0, 1], 0).into(), "the test", "--listen").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let server =
        tokio::spawn(serve(listener, limits, shutdown.clone(), |request, _| answer(request)));
    (address, shutdown, server)
}

/// Sends bytes, and reads until the server closes or nothing has come for a while.
async fn talk(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

const CLOSE: &str = "connection: close\r\n\r\n";

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (address, _shutdown, _server) = start(HttpLimits::default()).await;
    let request = |body: &str, end: &str| {
        format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n{end}{body}", body.len())
    };
    let both = request("one", "\r\n") + &request("two", CLOSE);
    let answer = talk(address, both.as_bytes()).await;
    assert_eq!(answer.matches("200 OK").count(), 2, "{answer}");
    assert!(answer.find("one").unwrap() < answer.find("two").unwrap());
}

#[tokio::test]
async fn what_is_not_http_gets_its_status() {
    let (address, _shutdown, _server) = start(HttpLimits::default()).await;
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n{CLOSE}", "x".repeat(64 * 1024));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}{CLOSE}", "x: 1\r\n".repeat(200));
    let big =
        format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 17\r\n{CLOSE}12345678901234567");
    for (bytes, expected) in [
        ("nonsense\r\n\r\n", "400 Bad Request"),
        (&long, "431 Request Header Fields Too Large"),
        (&many, "431 Request Header Fields Too Large"),
        (&big, "larger than 16 bytes"),
    ] {
        let answer = talk(address, bytes.as_bytes()).await;
        assert!(answer.contains(expected), "{expected}: {answer}");
    }
}

#[tokio::test]
async fn slow_clients_are_let_go() {
    let limits = HttpLimits { header_timeout: Duration::from_millis(100), ..HttpLimits::default() };
    let (address, _shutdown, _server) = start(limits).await;
    // Each of these would hang for talk()'s five seconds if the server held on.
    let began = std::time::Instant::now();
    talk(address, b"").await;
    talk(address, b"GET / HTTP/1.1\r\nhost:").await;
    let body = talk(address, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n1").await;
    assert!(body.contains("did not arrive in time"), "{body}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_request_in_flight_is_finished_before_stopping() {
    let (address, shutdown, server) = start(HttpLimits::default()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // Connections are accepted in order: once a second one is answered, the first is in flight.
    talk(address, format!("GET / HTTP/1.1\r\nhost: a\r\n{CLOSE}").as_bytes()).await;
    shutdown.trigger();
    server.await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("200 OK"), "{answer}");
    assert!(TcpStream::connect(address).await.is_err(), "it no longer listens");
}

#[tokio::test]
async fn a_taken_port_says_what_to_do() {
    let (address, _shutdown, _server) = start(HttpLimits::default()).await;
    let error = bind(address, "ingest", "--listen").await.unwrap_err().to_string();
    assert!(error.contains("another process has it") && error.contains("--listen"), "{error}");
}
