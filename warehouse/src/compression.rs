//! ClickHouse's own compression framing (`compress=1`, `decompress=1`): blocks of a CityHash128
//! checksum (version 1.0.2), a method byte, two lengths, and the data.
//!
//! <https://clickhouse.com/docs/en/native-protocol/compression>

use crate::config::BLOCK_BYTES_MAX;
use std::io::{self, Read};

const CHECKSUM_BYTES: usize = 16;
/// The method and two lengths; the compressed length counts these nine bytes too.
const HEADER_BYTES: usize = 9;
const METHOD_LZ4: u8 = 0x82;
const METHOD_NONE: u8 = 0x02;

/// Why a compressed body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("Checksum doesn't match: corrupted data")]
    Checksum,
    #[error("Unknown compression method {0:#04x}: LZ4 (0x82) and NONE (0x02) are known here")]
    Method(u8),
    #[error("Cannot decompress: a block is damaged or larger than {BLOCK_BYTES_MAX} bytes")]
    Damaged,
}

/// Appends `data` as one block. `data` is at most [`BLOCK_BYTES_MAX`] bytes.
#[must_use]
pub fn block(data: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; CHECKSUM_BYTES + HEADER_BYTES];
    frame.extend_from_slice(&lz4_flex::block::compress(data));
    let compressed = (frame.len() - CHECKSUM_BYTES) as u32;
    frame[CHECKSUM_BYTES] = METHOD_LZ4;
    frame[17..21].copy_from_slice(&compressed.to_le_bytes());
    frame[21..25].copy_from_slice(&(data.len() as u32).to_le_bytes());
    let checksum = checksum(&frame[CHECKSUM_BYTES..]);
    frame[..CHECKSUM_BYTES].copy_from_slice(&checksum);
    frame
}

/// The low half first, as ClickHouse writes it.
fn checksum(data: &[u8]) -> [u8; CHECKSUM_BYTES] {
    cityhash_rs::cityhash_102_128(data).rotate_right(64).to_le_bytes()
}

/// Reads blocks from `inner` and gives what was in them.
pub struct BlockReader<R> {
    inner: R,
    plain: Vec<u8>,
    at: usize,
}

impl<R: Read> BlockReader<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, plain: Vec::new(), at: 0 }
    }

    /// Reads the next block; `false` at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        let mut head = [0; CHECKSUM_BYTES + HEADER_BYTES];
        // Only a body that ends between two blocks ends well.
        if self.inner.read(&mut head[..1])? == 0 {
            return Ok(false);
        }
        self.inner.read_exact(&mut head[1..])?;
        let length = |at: usize| {
            u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize
        };
        let (compressed, plain) = (length(17), length(21));
        if !(HEADER_BYTES..=BLOCK_BYTES_MAX).contains(&compressed) || plain > BLOCK_BYTES_MAX {
            return Err(failed(FrameError::Damaged));
        }
        let mut frame = head[CHECKSUM_BYTES..].to_vec();
        let wanted = (compressed - HEADER_BYTES) as u64;
        (&mut self.inner).take(wanted).read_to_end(&mut frame)?;
        if frame.len() != compressed {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if checksum(&frame) != head[..CHECKSUM_BYTES] {
            return Err(failed(FrameError::Checksum));
        }
        let data = &frame[HEADER_BYTES..];
        self.plain = match frame[0] {
            METHOD_NONE => data.to_vec(),
            METHOD_LZ4 => {
                lz4_flex::block::decompress(data, plain).map_err(|_| failed(FrameError::Damaged))?
            }
            method => return Err(failed(FrameError::Method(method))),
        };
        self.at = 0;
        Ok(true)
    }
}

impl<R: Read> Read for BlockReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.plain.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let count = out.len().min(self.plain.len() - self.at);
        out[..count].copy_from_slice(&self.plain[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

fn failed(error: FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        BlockReader::new(data).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn blocks_come_back() {
        let long: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let body = [block(b"one "), block(b""), block(&long)].concat();
        assert_eq!(read(&body).unwrap(), [b"one ".as_slice(), &long].concat());
        assert_eq!(read(b"").unwrap(), b"");
    }

    /// A frame that was not made by this code.
    #[test]
    fn a_frame_of_clickhouse() {
        let frame = [
            245u8, 5, 222, 235, 225, 158, 59, 108, 225, 31, 65, 215, 66, 66, 36, 92, 0x82, 34, 0,
            0, 0, 23, 0, 0, 0, 240, 8, 1, 0, 2, 255, 255, 255, 255, 0, 1, 1, 1, 115, 6, 83, 116,
            114, 105, 110, 103, 3, 97, 98, 99,
        ];
        let plain = read(&frame).unwrap();
        assert_eq!(plain.len(), 23);
        assert!(plain.ends_with(b"String\x03abc"));
    }

    #[test]
    fn damage_is_seen() {
        let good = block(b"hello hello hello hello");
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let mut method = good.clone();
        method[CHECKSUM_BYTES] = 0x90;
        let sum = checksum(&method[CHECKSUM_BYTES..]);
        method[..CHECKSUM_BYTES].copy_from_slice(&sum);
        let mut huge = good.clone();
        huge[17..21].copy_from_slice(&u32::MAX.to_le_bytes());
        for bad in [&good[..10], &good[..good.len() - 1], &flipped, &method, &huge] {
            assert!(read(bad).is_err());
        }
    }
}
