//! HTTP/2 and TLS over real sockets: the same promises as over HTTP/1.1 in clear text.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use service::http::{HttpLimits, Protocols, bind, read_body, reply, serve_protocols};
use service::{Reply, Shutdown, Tls, TlsFiles};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Nothing in a test takes this long; if it does, it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
const BODY_BYTES_MAX: usize = 64 * 1024;
type Sender = SendRequest<http_body_util::combinators::BoxBody<Bytes, std::io::Error>>;

async fn answer(request: Request<Incoming>) -> Reply {
    let version = format!("{:?}", request.version());
    match request.uri().path() {
        "/slow" => tokio::time::sleep(Duration::from_millis(500)).await,
        "/last" => {
            let mut last = reply(StatusCode::OK, "text/plain", "the last");
            last.headers_mut().insert("connection", "close".parse().unwrap());
            return last;
        }
        "/large" => return reply(StatusCode::OK, "text/plain", vec![b'x'; 1 << 20]),
        _ => {}
    }
    match read_body(request.into_body(), BODY_BYTES_MAX, Duration::from_millis(300)).await {
        Ok(_) => reply(StatusCode::OK, "text/plain", version),
        Err(error @ service::http::BodyError::TooLarge(_)) => {
            reply(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", error.to_string())
        }
        Err(error) => reply(StatusCode::REQUEST_TIMEOUT, "text/plain", error.to_string()),
    }
}

struct Server {
    address: SocketAddr,
    shutdown: Shutdown,
    ended: JoinHandle<()>,
}

async fn start(limits: HttpLimits, tls: Option<Tls>) -> Server {
    let listener = bind(([127, 0, 0, 1], 0).into(), "the test", "--listen").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let protocols = Protocols { http2: true, tls };
    let handler = |request, _| answer(request);
    let ended =
        tokio::spawn(serve_protocols(listener, protocols, limits, shutdown.clone(), handler));
    Server { address, shutdown, ended }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it hangs")
}

/// An HTTP/2 client, and the end of its connection.
async fn speak<S>(stream: S) -> (Sender, JoinHandle<hyper::Result<()>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_header_list_size(1 << 20);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(connection))
}

async fn connect(server: &Server) -> (Sender, JoinHandle<hyper::Result<()>>) {
    speak(TcpStream::connect(server.address).await.unwrap()).await
}

fn get(path: &str) -> Request<http_body_util::combinators::BoxBody<Bytes, std::io::Error>> {
    let body = Empty::new().map_err(|never| match never {}).boxed();
    Request::get(format!("http://a.test{path}")).body(body).unwrap()
}

fn post<B>(body: B) -> Request<http_body_util::combinators::BoxBody<Bytes, std::io::Error>>
where
    B: Body<Data = Bytes, Error = std::io::Error> + Send + Sync + 'static,
{
    Request::post("http://a.test/").body(body.boxed()).unwrap()
}

async fn text(answer: Response<Incoming>) -> String {
    let bytes = in_time(answer.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn ask_http1(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), head: &str) -> String {
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = in_time(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

const HTTP1: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn one_port_speaks_both() {
    let server = start(HttpLimits::default(), None).await;
    let (mut sender, _) = connect(&server).await;
    let answer = sender.send_request(get("/")).await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
    assert_eq!(text(answer).await, "HTTP/2.0");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    assert!(ask_http1(&mut stream, HTTP1).await.ends_with("HTTP/1.1"));
    // By pieces, so that the preface of the one is not taken for the other.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for piece in ["P", "OST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n", "\r\n"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(ask_http1(&mut stream, "").await.ends_with("HTTP/1.1"));
}

#[tokio::test]
async fn many_requests_of_one_connection_are_answered_at_once() {
    let server = start(HttpLimits::default(), None).await;
    let (sender, _) = connect(&server).await;
    let asking = (0..300).map(|_| {
        let mut sender = sender.clone();
        tokio::spawn(async move { sender.send_request(get("/slow")).await.unwrap().status() })
    });
    for asked in asking.collect::<Vec<_>>() {
        assert_eq!(in_time(asked).await.unwrap(), StatusCode::OK);
    }
}

#[tokio::test]
async fn what_is_too_much_gets_its_status_and_the_connection_goes_on() {
    let server = start(HttpLimits::default(), None).await;
    let (mut sender, _) = connect(&server).await;
    let mut large = get("/");
    large.headers_mut().insert("x", "x".repeat(60_000).parse().unwrap());
    let mut many = get("/");
    for number in 0..200 {
        many.headers_mut().append("x", number.into());
    }
    for request in [large, many] {
        let status = in_time(sender.send_request(request)).await.unwrap().status();
        assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    // With and without saying so beforehand.
    let whole = Full::new(Bytes::from(vec![0; BODY_BYTES_MAX + 1])).map_err(|never| match never {});
    let piece = || Ok(Frame::data(Bytes::from(vec![0; BODY_BYTES_MAX])));
    let pieces = StreamBody::new(futures_util::stream::iter([piece(), piece(), piece()]));
    for request in [post(whole), post(pieces)] {
        let answer = in_time(sender.send_request(request)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert!(text(answer).await.contains("larger than"));
    }
    let slow = StreamBody::new(futures_util::stream::pending());
    let answer = in_time(sender.send_request(post(slow))).await.unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(in_time(sender.send_request(get("/"))).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_reply_that_closes_closes_after_what_is_in_flight() {
    let server = start(HttpLimits::default(), None).await;
    let (mut sender, ended) = connect(&server).await;
    let slow = tokio::spawn(sender.send_request(get("/slow")));
    let last = in_time(sender.send_request(get("/last"))).await.unwrap();
    assert!(!last.headers().contains_key("connection"), "HTTP/2 has no such field");
    assert_eq!(text(last).await, "the last");
    assert_eq!(in_time(slow).await.unwrap().unwrap().status(), StatusCode::OK);
    in_time(ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn stopping_finishes_what_is_in_flight() {
    let server = start(HttpLimits::default(), None).await;
    let (mut sender, ended) = connect(&server).await;
    let mut slow = tokio::spawn(sender.send_request(get("/slow")));
    assert_eq!(sender.send_request(get("/")).await.unwrap().status(), StatusCode::OK);
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut slow).await.is_err());
    server.shutdown.trigger();
    assert_eq!(in_time(slow).await.unwrap().unwrap().status(), StatusCode::OK);
    let _ = in_time(ended).await.unwrap();
    in_time(server.ended).await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "it no longer listens");
}

/// Reads until the server hangs up.
async fn hung_up(mut stream: impl AsyncRead + Unpin) {
    let mut sink = Vec::new();
    let _ = in_time(stream.read_to_end(&mut sink)).await;
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A frame of a stream.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM_AND_HEADERS: u8 = 5;
/// GET http / in HPACK's static table, `:authority: a` as a literal.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'a'];

#[tokio::test]
async fn quiet_and_slow_connections_are_closed() {
    let limits = HttpLimits {
        header_timeout: Duration::from_millis(200),
        drain_timeout: Duration::from_millis(200),
        ..HttpLimits::default()
    };
    let server = start(limits, None).await;
    let cut = [PREFACE, SETTINGS, &frame(HEADERS, 0, 1, GET)].concat();
    for begin in [b"".as_slice(), &PREFACE[..10], &[PREFACE, SETTINGS].concat(), &cut] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(begin).await.unwrap();
        hung_up(stream).await;
    }
    // One that asks and never lets the answer come: its window stays at nothing.
    let no_window = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let ask = frame(HEADERS, END_STREAM_AND_HEADERS, 1, GET);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&[PREFACE, &no_window, &ask].concat()).await.unwrap();
    hung_up(stream).await;
}

#[tokio::test]
async fn floods_end_the_connection() {
    // Not for being quiet.
    let limits = HttpLimits { header_timeout: 10 * PATIENCE, ..HttpLimits::default() };
    let server = start(limits, None).await;
    let resets: Vec<u8> = (0..200_000)
        .flat_map(|number| {
            let stream = number * 2 + 1;
            [frame(HEADERS, END_STREAM_AND_HEADERS, stream, GET), frame(RESET, 0, stream, &[0; 4])]
        })
        .flatten()
        .collect();
    let endless = frame(HEADERS, 0, 1, GET).into_iter().chain(
        // `x: y` without indexing, again and again, and never the end of the header block.
        (0..10_000).flat_map(|_| frame(CONTINUATION, 0, 1, &[0, 1, b'x', 1, b'y'].repeat(200))),
    );
    for (flood, what) in [(resets, "rapid reset"), (endless.collect(), "continuation")] {
        let (reading, mut writing) = TcpStream::connect(server.address).await.unwrap().into_split();
        let ending = tokio::spawn(hung_up(reading));
        let all = [PREFACE, SETTINGS, &flood].concat();
        // It breaks off because the server has hung up long before the end.
        let sent = in_time(writing.write_all(&all)).await;
        assert!(sent.is_err() || what == "rapid reset", "{what}");
        in_time(ending).await.unwrap();
    }
    let (mut sender, _) = connect(&server).await;
    assert_eq!(in_time(sender.send_request(get("/"))).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn beyond_the_slots_connections_wait() {
    let limits = HttpLimits { connections: 1, ..HttpLimits::default() };
    let server = start(limits, None).await;
    let (mut first, ended) = connect(&server).await;
    assert_eq!(first.send_request(get("/")).await.unwrap().status(), StatusCode::OK);
    let (mut second, _) = connect(&server).await;
    let mut waiting = tokio::spawn(second.send_request(get("/")));
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.is_err());
    drop(first);
    let _ = in_time(ended).await;
    assert_eq!(in_time(waiting).await.unwrap().unwrap().status(), StatusCode::OK);
}

/// A certificate for `localhost`, the server's TLS with it, and what a client trusts then.
fn certificate(directory: &std::path::Path) -> (Tls, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles { certificate: directory.join("tls.pem"), key: directory.join("tls.key") };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.certificate).unwrap()).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    (Tls::load(files).unwrap(), Arc::new(client))
}

async fn handshake(
    server: &Server,
    client: &Arc<ClientConfig>,
    protocols: &[&str],
) -> TlsStream<TcpStream> {
    let mut client = ClientConfig::clone(client);
    client.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    in_time(TlsConnector::from(Arc::new(client)).connect(name, stream)).await.unwrap()
}

#[tokio::test]
async fn tls_speaks_what_was_agreed_on() {
    let directory = tempfile::tempdir().unwrap();
    let (tls, client) = certificate(directory.path());
    let server = start(HttpLimits::default(), Some(tls)).await;
    for protocols in [["http/1.1"].as_slice(), &[]] {
        let mut stream = handshake(&server, &client, protocols).await;
        assert!(ask_http1(&mut stream, HTTP1).await.ends_with("HTTP/1.1"));
    }
    let (mut sender, ended) = speak(handshake(&server, &client, &["h2", "http/1.1"]).await).await;
    assert_eq!(text(sender.send_request(get("/")).await.unwrap()).await, "HTTP/2.0");
    // Nothing goes in clear text, and who tries is told.
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    let answer = ask_http1(&mut plain, HTTP1).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("https://"), "{answer}");
    // The last answer to a body that is too large arrives, though the body was not read.
    let mut stream = handshake(&server, &client, &["http/1.1"]).await;
    let large = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 900000\r\nconnection: close\r\n\r\n{}",
        "x".repeat(900_000)
    );
    assert!(ask_http1(&mut stream, &large).await.starts_with("HTTP/1.1 413"));
    server.shutdown.trigger();
    let _ = in_time(ended).await.unwrap();
    in_time(server.ended).await.unwrap();
}

#[tokio::test]
async fn slow_handshakes_are_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let (tls, _) = certificate(directory.path());
    let limits = HttpLimits { header_timeout: Duration::from_millis(200), ..HttpLimits::default() };
    let server = start(limits, Some(tls)).await;
    for begin in [b"".as_slice(), &[22], &[22, 3, 1, 2, 0, 1, 0, 1, 0xff]] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(begin).await.unwrap();
        hung_up(stream).await;
    }
    // Stopping does not wait for them.
    let _stream = TcpStream::connect(server.address).await.unwrap();
    server.shutdown.trigger();
    in_time(server.ended).await.unwrap();
}
