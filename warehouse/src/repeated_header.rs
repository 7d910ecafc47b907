//! The engine begins every chunk of a streamed `RowBinaryWithNamesAndTypes` result with the header,
//! which belongs at the beginning only.

/// Takes the header out of every chunk but the first.
pub struct RepeatedHeader {
    format_has_one: bool,
    header: Option<Vec<u8>>,
}

impl RepeatedHeader {
    #[must_use]
    pub fn new(format: &str) -> Self {
        let format_has_one = format.eq_ignore_ascii_case("rowbinarywithnamesandtypes");
        Self { format_has_one, header: None }
    }

    /// What of a chunk belongs to the result.
    pub fn strip<'c>(&mut self, chunk: &'c [u8]) -> &'c [u8] {
        if !self.format_has_one {
            return chunk;
        }
        match &self.header {
            Some(header) => chunk.strip_prefix(header.as_slice()).unwrap_or(chunk),
            None => {
                let length = header_length(chunk).unwrap_or(0);
                self.header = Some(chunk[..length].to_vec());
                chunk
            }
        }
    }
}

/// A count of columns, then so many names and so many types, each with its length in front.
fn header_length(chunk: &[u8]) -> Option<usize> {
    let (columns, mut at) = varint(chunk, 0)?;
    for _ in 0..columns.checked_mul(2)? {
        let (length, after) = varint(chunk, at)?;
        at = after.checked_add(length)?;
        if at > chunk.len() {
            return None;
        }
    }
    Some(at)
}

/// An unsigned LEB128 number and where it ends.
fn varint(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut number = 0usize;
    for shift in (0..usize::BITS).step_by(7) {
        let byte = *bytes.get(at)?;
        at += 1;
        number |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((number, at));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_header_stays() {
        let header = b"\x02\x01a\x02bc\x05UInt8\x06String";
        let first = [header.as_slice(), b"\x01\x01x"].concat();
        let next = [header.as_slice(), b"\x02\x01y"].concat();
        let mut repeated = RepeatedHeader::new("RowBinaryWithNamesAndTypes");
        assert_eq!(repeated.strip(&first), first);
        assert_eq!(repeated.strip(&next), b"\x02\x01y");
        assert_eq!(repeated.strip(b"\x03\x01z"), b"\x03\x01z", "a chunk without one is left alone");
        let mut plain = RepeatedHeader::new("RowBinary");
        assert_eq!((plain.strip(&first), plain.strip(&next)), (&*first, &*next));
    }

    #[test]
    fn what_is_no_header_is_left_alone() {
        for chunk in [b"".as_slice(), b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x01\x7fa"]
        {
            let mut repeated = RepeatedHeader::new("RowBinaryWithNamesAndTypes");
            assert_eq!(repeated.strip(chunk), chunk);
            assert_eq!(repeated.strip(chunk), chunk);
        }
    }
}
