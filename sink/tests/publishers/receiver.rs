//! A publisher's server: takes requests, remembers them, and answers as it is told.

use hyper::StatusCode;
use service::http::{read_body, reply};
use service::{HttpLimits, Shutdown};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mood {
    Status(u16),
    /// A status with one header.
    Header(u16, &'static str, String),
    Hang,
    /// In turn 503 and 200.
    Flap,
}

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Request {
    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }
}

#[derive(Clone)]
pub struct Receiver {
    pub port: u16,
    pub requests: Arc<Mutex<Vec<Request>>>,
    mood: Arc<Mutex<Mood>>,
    stop: Shutdown,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if Arc::strong_count(&self.mood) <= 2 {
            self.stop.trigger();
        }
    }
}

impl Receiver {
    pub async fn start() -> Self {
        Self::at("127.0.0.1:0").await.unwrap()
    }

    pub async fn at(address: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let port = listener.local_addr().unwrap().port();
        let (requests, stop) = (Arc::default(), Shutdown::new());
        let mood = Arc::new(Mutex::new(Mood::Status(200)));
        let receiver = Self { port, requests, mood, stop: stop.clone() };
        let (requests, mood) = (Arc::clone(&receiver.requests), Arc::clone(&receiver.mood));
        let limits = HttpLimits { drain_timeout: Duration::ZERO, ..HttpLimits::default() };
        tokio::spawn(service::serve(listener, limits, stop, move |request, _| {
            let (requests, mood) = (Arc::clone(&requests), Arc::clone(&mood));
            async move {
                let (parts, body) = request.into_parts();
                let body = read_body(body, 1 << 20, Duration::from_secs(5)).await.unwrap();
                let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap().to_owned();
                let headers = parts.headers.iter();
                let request = Request {
                    method: parts.method.to_string(),
                    target: parts.uri.to_string(),
                    headers: headers.map(|(name, value)| (name.to_string(), text(value))).collect(),
                    body: String::from_utf8(body.to_vec()).unwrap(),
                };
                let nth = {
                    let mut requests = requests.lock().unwrap();
                    requests.push(request);
                    requests.len()
                };
                let mood = mood.lock().unwrap().clone();
                match mood {
                    Mood::Status(status) => {
                        reply(StatusCode::from_u16(status).unwrap(), "text/plain", "x")
                    }
                    Mood::Header(status, name, value) => {
                        let mut answer =
                            reply(StatusCode::from_u16(status).unwrap(), "text/plain", "x");
                        answer.headers_mut().insert(name, value.parse().unwrap());
                        answer
                    }
                    Mood::Flap => {
                        let status = if nth % 2 == 1 { 503 } else { 200 };
                        reply(StatusCode::from_u16(status).unwrap(), "text/plain", "x")
                    }
                    Mood::Hang => std::future::pending().await,
                }
            }
        }));
        Ok(receiver)
    }

    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub fn seen(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub fn url(&self, rest: &str) -> String {
        format!("http://127.0.0.1:{}{rest}", self.port)
    }
}

/// What a server that speaks no proper HTTP does with a connection.
#[derive(Debug, Clone, Copy)]
pub enum Raw {
    /// Closes it at once.
    Reset,
    Garbage,
    /// One byte of an answer now and then, for ever.
    Drip,
    /// A head without an end.
    EndlessHead,
    /// A good head, and a body of one byte now and then, for ever.
    DripBody,
}

/// Listens until `well` is set; then answers 200 like anybody.
pub async fn raw(kind: Raw, well: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(misbehave(stream, kind, well.load(Ordering::Relaxed)));
        }
    });
    port
}

async fn misbehave(mut stream: TcpStream, kind: Raw, well: bool) {
    let mut buffer = [0; 4096];
    if well {
        let _ = stream.read(&mut buffer).await;
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
        return;
    }
    match kind {
        Raw::Reset => {}
        Raw::Garbage => {
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"\x00\x01SSH-2.0-what\r\n\r\n\r\n").await;
        }
        Raw::Drip => {
            for byte in b"HTTP/1.1 200 OK\r\nx: ".iter().chain([b'y'].iter().cycle()) {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
        Raw::DripBody => {
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(b"y").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
        Raw::EndlessHead => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
            while stream.write_all(b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n").await.is_ok()
            {
            }
        }
    }
}
