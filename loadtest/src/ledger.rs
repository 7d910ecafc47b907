//! Every accepted postback of a run, on disk: a header, then 17 bytes each, the 16 of the postback
//! id and one for its kind. A last entry that is cut short (the tool was killed) is left out.

use crate::mix::Kind;
use anyhow::{Context, Result, bail};
use schemas::PostbackId;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

const HEADER: &[u8; 16] = b"gokart ledger 1\n";
const ENTRY_BYTES: usize = 17;
const BUFFER_BYTES: usize = 1 << 20;

/// A ledger that is being written.
#[derive(Debug)]
pub struct Ledger {
    file: BufWriter<File>,
}

impl Ledger {
    /// Begins a new file; an old one is never written over.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create_new(path)
            .with_context(|| format!("the ledger {} cannot be begun", path.display()))?;
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, file);
        file.write_all(HEADER)?;
        Ok(Self { file })
    }

    pub fn write(&mut self, id: PostbackId, kind: Kind) -> std::io::Result<()> {
        let mut entry = [0; ENTRY_BYTES];
        entry[..16].copy_from_slice(id.0.as_bytes());
        entry[16] = kind.index() as u8;
        self.file.write_all(&entry)
    }

    /// Writes out what is buffered.
    pub fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// One accepted postback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub id: [u8; 16],
    pub kind: Kind,
}

/// Reads a whole ledger.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .with_context(|| format!("the ledger {} cannot be read", path.display()))?;
    parse(&bytes).with_context(|| format!("the ledger {}", path.display()))
}

fn parse(bytes: &[u8]) -> Result<Vec<Entry>> {
    let Some(entries) = bytes.strip_prefix(HEADER) else {
        bail!("does not begin as a ledger does");
    };
    let entries = entries.chunks_exact(ENTRY_BYTES).enumerate().map(|(number, entry)| {
        let kind = Kind::ALL.get(usize::from(entry[16]));
        let kind = *kind.with_context(|| format!("entry {} has no known kind", number + 1))?;
        let mut id = [0; 16];
        id.copy_from_slice(&entry[..16]);
        Ok(Entry { id, kind })
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let path = std::env::temp_dir().join(format!("ledger-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let id: PostbackId = "0198c0de-0000-7000-8000-000000000001".parse().unwrap();
        let mut ledger = Ledger::create(&path).unwrap();
        ledger.write(id, Kind::Valid).unwrap();
        ledger.write(id, Kind::MacroNotReplaced).unwrap();
        ledger.flush().unwrap();
        assert!(Ledger::create(&path).is_err(), "an old ledger is kept");
        let entry = |kind| Entry { id: *id.0.as_bytes(), kind };
        assert_eq!(read(&path).unwrap(), [entry(Kind::Valid), entry(Kind::MacroNotReplaced)]);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_cut_entry_is_left_out_and_a_strange_one_refused() {
        let with = |entries: &[u8]| parse(&[HEADER.as_slice(), entries].concat());
        assert_eq!(with(&[0; ENTRY_BYTES + 5]).unwrap().len(), 1);
        assert!(with(&[9; ENTRY_BYTES]).is_err());
        assert!(parse(b"something else").is_err());
    }
}
