//! The first bytes of a connection: they tell what it speaks, and are then read again by whoever
//! speaks it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What an HTTP/2 client begins with (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What a TLS client begins with: a record of the type "handshake" (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// HTTP/1, or nonsense that the HTTP/1 server answers.
    Http1,
    Http2,
    Tls,
}

/// A stream whose first bytes have been looked at.
pub(crate) struct Rewound<S> {
    first: [u8; PREFACE.len()],
    /// Bytes of `first` that are there, and that have been read again.
    filled: usize,
    taken: usize,
    inner: S,
}

impl<S: AsyncRead + Unpin> Rewound<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { first: [0; PREFACE.len()], filled: 0, taken: 0, inner }
    }

    /// Reads until it is clear what the client speaks; none when it hung up before.
    pub(crate) async fn look(&mut self) -> io::Result<Option<Speaks>> {
        loop {
            let seen = &self.first[..self.filled];
            match seen.first() {
                Some(&TLS_HANDSHAKE) => return Ok(Some(Speaks::Tls)),
                Some(_) if seen == PREFACE => return Ok(Some(Speaks::Http2)),
                Some(_) if !PREFACE.starts_with(seen) => return Ok(Some(Speaks::Http1)),
                _ => {}
            }
            match self.inner.read(&mut self.first[self.filled..]).await? {
                0 => return Ok(None),
                bytes => self.filled += bytes,
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.taken < this.filled {
            let bytes = (this.filled - this.taken).min(buffer.remaining());
            buffer.put_slice(&this.first[this.taken..this.taken + bytes]);
            this.taken += bytes;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn what_a_client_speaks_shows_however_its_bytes_come() {
        let cases: [(&[u8], Option<Speaks>); 8] = [
            (b"GET / HTTP/1.1\r\n\r\n", Some(Speaks::Http1)),
            (b"POST / HTTP/1.1\r\n\r\n", Some(Speaks::Http1)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nand frames", Some(Speaks::Http2)),
            (b"PRI * HTTP/2.0\r\n\r\nXX", Some(Speaks::Http1)),
            (b"\x16\x03\x01\x02", Some(Speaks::Tls)),
            (b"\0", Some(Speaks::Http1)),
            (b"PRI * HT", None),
            (b"", None),
        ];
        for (bytes, expected) in cases {
            for piece in [1, 3, 100] {
                let (ours, mut theirs) = tokio::io::duplex(piece);
                let sent = bytes.to_vec();
                let sending = tokio::spawn(async move {
                    let _ = theirs.write_all(&sent).await;
                });
                let mut stream = Rewound::new(ours);
                assert_eq!(stream.look().await.unwrap(), expected, "{bytes:?} by {piece}");
                let mut again = Vec::new();
                stream.read_to_end(&mut again).await.unwrap();
                assert_eq!(again, bytes, "nothing is lost");
                sending.await.unwrap();
            }
        }
    }
}
