//! A body on its way between the network and an engine thread: bounded channels both ways, and
//! no wait without an end.

use crate::compression::BlockReader;
use crate::config::{BODY_CHUNKS_QUEUED, DRAIN_BYTES_MAX};
use crate::request::Packing;
use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::io::{self, Read};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Starts reading a body; what it reads comes out of the receiver, with back-pressure.
pub fn receive(
    mut body: Incoming,
    first: Option<Bytes>,
    stall: Duration,
) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(BODY_CHUNKS_QUEUED);
    tokio::spawn(async move {
        if let Some(first) = first {
            let _ = sender.send(Ok(first)).await;
        }
        let mut drained_bytes = 0;
        while let Some(chunk) = next_chunk(&mut body, stall).await {
            let ended = chunk.is_err();
            let length = chunk.as_ref().map_or(0, Bytes::len);
            if sender.send(chunk).await.is_err() {
                // Nobody wants it any more: the answer is on its way, and a client that is still
                // writing would not see it if the connection were cut now.
                drained_bytes += length;
                if drained_bytes > DRAIN_BYTES_MAX {
                    return;
                }
            }
            if ended {
                return;
            }
        }
    });
    receiver
}

/// The next data of a body; `None` at its end.
pub async fn next_chunk(body: &mut Incoming, stall: Duration) -> Option<io::Result<Bytes>> {
    loop {
        match tokio::time::timeout(stall, body.frame()).await {
            Err(_) => return Some(Err(io::ErrorKind::TimedOut.into())),
            Ok(None) => return None,
            Ok(Some(Err(_))) => return Some(Err(io::ErrorKind::UnexpectedEof.into())),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Some(Ok(data)),
                Err(_) => {}
            },
        }
    }
}

/// Reads a received body on an engine thread, unpacked.
pub fn reader(receiver: mpsc::Receiver<io::Result<Bytes>>, packing: Packing) -> Box<dyn Read> {
    let plain = ChannelReader { receiver, current: Bytes::new() };
    match packing {
        Packing::Plain => Box::new(plain),
        Packing::Blocks => Box::new(BlockReader::new(plain)),
        Packing::Lz4Frame => Box::new(lz4_flex::frame::FrameDecoder::new(plain)),
    }
}

struct ChannelReader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for ChannelReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // The sender's own time-out ends this wait.
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => return Ok(0),
            }
        }
        let count = out.len().min(self.current.len());
        out[..count].copy_from_slice(&self.current[..count]);
        self.current.advance(count);
        Ok(count)
    }
}

/// Why an answer could not be handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientGone;

/// The way of an answer's chunks from an engine thread to the network.
pub struct AnswerSender {
    pub sender: mpsc::Sender<io::Result<Bytes>>,
    pub runtime: Handle,
    pub stall: Duration,
}

impl AnswerSender {
    /// Waits while the client is behind, but not for ever.
    pub fn send(&self, chunk: io::Result<Bytes>) -> Result<(), ClientGone> {
        let sending = async { tokio::time::timeout(self.stall, self.sender.send(chunk)).await };
        match self.runtime.block_on(sending) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(ClientGone),
        }
    }
}
