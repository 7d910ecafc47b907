//! Closing a connection without losing the last answer.
//!
//! A socket that is closed while bytes of its client are still unread resets the connection, and
//! the client's kernel then throws away the answer it had already received: a sender of too large
//! a body would see "connection reset" where it was told 413. So a closing connection stops
//! sending, then reads and forgets what still comes, for a short while.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_io_timeout::TimeoutStream;

/// For how long, and how much, a closing connection still listens.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: u64 = 1 << 20;

type Stream = Pin<Box<TimeoutStream<TcpStream>>>;

/// A connection that lingers when it is dropped; it keeps its slot until it is really gone.
pub(crate) struct Lingering {
    /// Taken only by `drop`.
    inner: Option<(Stream, OwnedSemaphorePermit)>,
}

impl Lingering {
    pub(crate) fn new(stream: TimeoutStream<TcpStream>, slot: OwnedSemaphorePermit) -> Self {
        Self { inner: Some((Box::pin(stream), slot)) }
    }

    fn with<T>(
        &mut self,
        act: impl FnOnce(Pin<&mut TimeoutStream<TcpStream>>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.inner {
            Some((stream, _)) => act(stream.as_mut()),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(cx))
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some((mut stream, slot)) = self.inner.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let _ = tokio::time::timeout(LINGER_TIME, async {
                stream.shutdown().await?;
                tokio::io::copy(&mut stream.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await
            })
            .await;
            drop(slot);
        });
    }
}
