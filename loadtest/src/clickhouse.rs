//! Asks ClickHouse over its HTTP interface: one query, one streamed answer.

use crate::target;
use crate::template::{Template, encode};
use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Without a byte for this long the query is given up.
const SILENCE_MAX: Duration = Duration::from_secs(120);
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// A ClickHouse, and who asks. Has no `Debug`, because of the token.
pub struct ClickHouse {
    address: SocketAddr,
    authority: String,
    user: String,
    token: String,
}

impl ClickHouse {
    pub fn new(url: &str, user: &str, token: &str, allow_remote: bool) -> Result<Self> {
        let url = Template::parse("ClickHouse's URL", url)?;
        ensure!(!url.tls, "ClickHouse is asked over http:// only");
        let authority = url.authority;
        let address = target::address_of(&authority, false, allow_remote)?;
        Ok(Self { address, authority, user: user.to_owned(), token: token.to_owned() })
    }

    /// Runs a query and hands each piece of the answer on as it comes.
    pub async fn query(&self, sql: &str, mut piece: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let where_ = || format!("ClickHouse at {}", self.authority);
        let mut body = self.ask(sql).await.with_context(where_)?;
        while let Some(frame) = in_time(body.frame()).await.with_context(where_)? {
            let frame = frame.context("the answer broke off").with_context(where_)?;
            if let Some(bytes) = frame.data_ref() {
                piece(bytes)?;
            }
        }
        Ok(())
    }

    /// Runs a query whose answer is one line of numbers.
    pub async fn numbers<const N: usize>(&self, sql: &str) -> Result<[u64; N]> {
        let mut text = Vec::new();
        self.query(sql, |bytes| {
            ensure!(text.len() + bytes.len() <= ERROR_BYTES_MAX, "the answer is too long");
            text.extend_from_slice(bytes);
            Ok(())
        })
        .await?;
        let text = String::from_utf8_lossy(&text);
        let numbers = text.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>();
        let numbers = numbers.ok().and_then(|numbers| numbers.try_into().ok());
        numbers.with_context(|| format!("ClickHouse answered {:?}", text.trim()))
    }

    async fn ask(&self, sql: &str) -> Result<Incoming> {
        let stream = in_time(TcpStream::connect(self.address)).await?.context("cannot connect")?;
        let (mut sender, driver) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            let _ = driver.await;
        });
        let mut request = Request::post(format!("/?default_format={}", encode("RowBinary")))
            .header(HOST, &self.authority)
            .header("X-ClickHouse-User", &self.user);
        if !self.token.is_empty() {
            request = request.header("X-ClickHouse-Key", &self.token);
        }
        let body = Full::new(Bytes::copy_from_slice(sql.as_bytes()));
        let request = request.body(body).map_err(|_| anyhow!("the user or token is no header"))?;
        let answer = in_time(sender.send_request(request)).await??;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        let status = answer.status();
        let text = Limited::new(answer.into_body(), ERROR_BYTES_MAX).collect().await;
        let text = text.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        bail!("answered {status}: {}", String::from_utf8_lossy(&text).trim());
    }
}

async fn in_time<T>(future: impl Future<Output = T>) -> Result<T> {
    let answer = tokio::time::timeout(SILENCE_MAX, future).await;
    answer.map_err(|_| anyhow!("no answer for {} s", SILENCE_MAX.as_secs()))
}
