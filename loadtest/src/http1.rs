//! An HTTP/1.1 client that does what a load needs and no more: one GET, one answer with a length,
//! without a task, a channel or a copy of the head. What it costs is what the target does not get.

use crate::connection::{Answer, Lost};
use bytes::Bytes;
use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Answers are a line of JSON or nothing; a longer one is a wrong target.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Fields of an answer's head.
const HEADERS_MAX: usize = 64;
/// Room for a common answer.
const READ_BYTES: usize = 2 * 1024;

/// A keep-alive connection.
pub struct Http1<S> {
    stream: S,
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// What the head of an answer says.
struct Head {
    status: u16,
    location: Option<String>,
    head_bytes: usize,
    body_bytes: usize,
    closes: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http1<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, request: Vec::new(), answer: Vec::with_capacity(READ_BYTES) }
    }

    /// Whether the peer has kept the connection as far as is known here.
    pub async fn is_open(&mut self) -> bool {
        let mut byte = [0];
        poll_fn(|cx| {
            let mut buffer = ReadBuf::new(&mut byte);
            // Neither an end nor bytes that nobody asked for.
            Poll::Ready(Pin::new(&mut self.stream).poll_read(cx, &mut buffer).is_pending())
        })
        .await
    }

    /// Writes a request without waiting for its answer.
    pub async fn send(&mut self, path_and_query: &str, head: &str) -> Result<(), Lost> {
        self.request.clear();
        for part in ["GET ", path_and_query, head] {
            self.request.extend_from_slice(part.as_bytes());
        }
        self.stream.write_all(&self.request).await.map_err(lost)?;
        self.stream.flush().await.map_err(lost)
    }

    /// Sends one GET and reads the answer; and whether the connection can be used again.
    pub async fn get(&mut self, path_and_query: &str, head: &str) -> Result<(Answer, bool), Lost> {
        self.send(path_and_query, head).await?;
        self.answer.clear();
        let head = loop {
            self.more().await?;
            if let Some(head) = parse(&self.answer)? {
                break head;
            }
        };
        let end = head.head_bytes + head.body_bytes;
        while self.answer.len() < end {
            self.more().await?;
        }
        let reusable = !head.closes && self.answer.len() == end;
        let body = Bytes::copy_from_slice(&self.answer[head.head_bytes..end]);
        Ok((Answer { status: head.status, location: head.location, body }, reusable))
    }

    async fn more(&mut self) -> Result<(), Lost> {
        if self.answer.len() >= ANSWER_BYTES_MAX {
            return Err(Lost("the answer is longer than any of gokart's".to_owned()));
        }
        self.answer.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.answer).await.map_err(lost)? {
            0 => Err(Lost("the connection was closed without an answer".to_owned())),
            _ => Ok(()),
        }
    }
}

fn lost(error: std::io::Error) -> Lost {
    Lost(format!("the connection was lost: {error}"))
}

/// Reads a head; none while it is not whole.
fn parse(bytes: &[u8]) -> Result<Option<Head>, Lost> {
    let unreadable = |what: &str| Lost(format!("the answer cannot be read: {what}"));
    let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut fields,
    );
    let head_bytes = match parsed {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(unreadable(&error.to_string())),
    };
    let status = response.code.unwrap_or_default();
    let has_no_body = matches!(status, 100..=199 | 204 | 304);
    let (mut length, mut location, mut closes) = (has_no_body.then_some(0), None, false);
    for field in response.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") && !has_no_body {
            let value = std::str::from_utf8(field.value).ok().and_then(|it| it.trim().parse().ok());
            length = Some(value.ok_or_else(|| unreadable("its length is not a number"))?);
        } else if field.name.eq_ignore_ascii_case("location") {
            location = std::str::from_utf8(field.value).ok().map(str::to_owned);
        } else if field.name.eq_ignore_ascii_case("connection") {
            closes = field.value.eq_ignore_ascii_case(b"close");
        }
    }
    let body_bytes = length.ok_or_else(|| unreadable("it has no Content-Length"))?;
    if body_bytes > ANSWER_BYTES_MAX {
        return Err(unreadable("it is longer than any of gokart's"));
    }
    Ok(Some(Head { status, location, head_bytes, body_bytes, closes }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    async fn answered(answer: &str, piece: usize) -> Result<(Answer, bool), Lost> {
        let (ours, mut theirs) = duplex(1 << 16);
        let bytes = answer.as_bytes().to_vec();
        tokio::spawn(async move {
            for part in bytes.chunks(piece) {
                let _ = theirs.write_all(part).await;
                tokio::task::yield_now().await;
            }
        });
        Http1::new(ours).get("/x", " HTTP/1.1\r\n\r\n").await
    }

    #[tokio::test]
    async fn answers_are_read_however_they_are_cut() {
        let cases = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", true),
            ("HTTP/1.1 204 No Content\r\n\r\n", 204, "", true),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 1\r\n\r\na", 200, "a", false),
            ("HTTP/1.1 302 Found\r\nlocation: /y\r\ncontent-length: 0\r\n\r\n", 302, "", true),
        ];
        for (text, status, body, reusable) in cases {
            for piece in [1, 7, 1000] {
                let (answer, again) = answered(text, piece).await.unwrap();
                assert_eq!(
                    (answer.status, &answer.body[..], again),
                    (status, body.as_bytes(), reusable)
                );
                assert_eq!(answer.location.as_deref(), (status == 302).then_some("/y"));
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_said() {
        let long = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(100_000));
        for (text, expected) in [
            ("", "closed without"),
            ("HTTP/1.1 200 OK\r\nContent-Le", "closed without"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na", "closed without"),
            ("HTTP/1.1 200 OK\r\n\r\n", "no Content-Length"),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "not a number"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "longer"),
            ("SSH-2.0\r\n", "cannot be read"),
            (&long, "longer"),
        ] {
            let error = answered(text, 1000).await.unwrap_err().0;
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
