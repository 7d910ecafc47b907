//! Requests over keep-alive connections, each as soon as the one before it is answered: what a
//! server takes at most.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1::handshake;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// Requests answered 2xx or 3xx.
    pub count: u64,
    pub seconds: f64,
}

/// Sends the same request over so many connections for so long.
///
/// # Errors
///
/// When a connection fails, or more than one answer in a hundred is a 4xx or 5xx.
pub async fn as_fast_as_possible(
    address: SocketAddr,
    host: &str,
    path: &str,
    connections: usize,
    duration: Duration,
) -> Result<Answered> {
    let began = Instant::now();
    let until = began + duration;
    let mut all = JoinSet::new();
    for _ in 0..connections {
        let (host, path) = (host.to_owned(), path.to_owned());
        all.spawn(async move { connection(address, &host, &path, until).await });
    }
    let (mut count, mut refused) = (0, 0);
    while let Some(done) = all.join_next().await {
        let (well, ill) = done??;
        count += well;
        refused += ill;
    }
    ensure!(refused * 100 <= count, "{refused} of {} requests were refused", count + refused);
    Ok(Answered { count, seconds: began.elapsed().as_secs_f64() })
}

async fn connection(
    address: SocketAddr,
    host: &str,
    path: &str,
    until: Instant,
) -> Result<(u64, u64)> {
    let stream = TcpStream::connect(address).await.context("cannot connect")?;
    stream.set_nodelay(true)?;
    let (mut sender, driver) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(driver);
    let (mut well, mut ill) = (0, 0);
    while Instant::now() < until {
        let request = Request::get(path).header(HOST, host).body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await?;
        let fine = answer.status().as_u16() < 400;
        answer.into_body().collect().await?;
        if fine {
            well += 1
        } else {
            ill += 1
        }
        sender.ready().await?;
    }
    Ok((well, ill))
}
