//! Every accepted postback of a run, on disk: a header, the links and events as JSON, then 26 bytes
//! each: the 16 of the postback id, kind, shape, event, shard, link and click. A postback whose answer is
//! not known, though it may have been taken, is there without an id. A last entry that is cut short
//! (the tool was killed) is left out. Credentials are not in it.

use crate::mix::Kind;
use crate::request::{Note, Shape};
use anyhow::{Context, Result, bail, ensure};
use schemas::PostbackId;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

const HEADER: &[u8; 16] = b"gokart ledger 2\n";
const ENTRY_BYTES: usize = 26;
const BUFFER_BYTES: usize = 1 << 20;
/// A click that is none.
const NO_CLICK: u32 = u32::MAX;
/// An id that no postback has.
const UNKNOWN: [u8; 16] = [0; 16];

/// What links and events mean that entries name by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    pub links: Vec<LinkName>,
    /// The event IDs of each target, in order.
    pub targets: Vec<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkName {
    /// The share code.
    pub share: String,
    pub target: usize,
}

/// A ledger that is being written.
#[derive(Debug)]
pub struct Ledger {
    file: BufWriter<File>,
}

impl Ledger {
    /// Begins a new file; an old one is never written over.
    pub fn create(path: &Path, names: &Names) -> Result<Self> {
        let file = File::create_new(path)
            .with_context(|| format!("the ledger {} cannot be begun", path.display()))?;
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let names = serde_json::to_vec(names)?;
        file.write_all(HEADER)?;
        file.write_all(&u32::try_from(names.len())?.to_le_bytes())?;
        file.write_all(&names)?;
        Ok(Self { file })
    }

    /// Notes a postback of a shard: accepted with this id, or without an answer that says so.
    pub fn write(
        &mut self,
        id: Option<PostbackId>,
        kind: Kind,
        shard: u8,
        note: Note,
    ) -> std::io::Result<()> {
        let mut entry = [0; ENTRY_BYTES];
        if let Some(id) = id {
            entry[..16].copy_from_slice(id.0.as_bytes());
        }
        entry[16..20].copy_from_slice(&[kind.index() as u8, note.shape as u8, note.event, shard]);
        entry[20..22].copy_from_slice(&note.link.to_le_bytes());
        entry[22..].copy_from_slice(&note.click.unwrap_or(NO_CLICK).to_le_bytes());
        self.file.write_all(&entry)
    }

    /// Writes out what is buffered.
    pub fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// One postback that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub id: [u8; 16],
    pub kind: Kind,
    pub shard: u8,
    pub note: Note,
}

impl Entry {
    /// Whether it was answered 2xx; otherwise nobody knows what became of it.
    pub fn is_accepted(&self) -> bool {
        self.id != UNKNOWN
    }
}

/// Reads a whole ledger.
pub fn read(path: &Path) -> Result<(Names, Vec<Entry>)> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .with_context(|| format!("the ledger {} cannot be read", path.display()))?;
    parse(&bytes).with_context(|| format!("the ledger {}", path.display()))
}

fn parse(bytes: &[u8]) -> Result<(Names, Vec<Entry>)> {
    let Some(rest) = bytes.strip_prefix(HEADER) else {
        bail!("does not begin as a ledger of this version does");
    };
    let (length, rest) = rest.split_at_checked(4).context("ends inside its header")?;
    let length = u32::from_le_bytes(length.try_into()?) as usize;
    let (names, entries) = rest.split_at_checked(length).context("ends inside its header")?;
    let names: Names = serde_json::from_slice(names).context("has no readable names")?;
    let entries = entries.chunks_exact(ENTRY_BYTES).enumerate().map(|(number, entry)| {
        read_entry(&names, entry).with_context(|| format!("entry {}", number + 1))
    });
    let entries = entries.collect::<Result<_>>()?;
    Ok((names, entries))
}

fn read_entry(names: &Names, entry: &[u8]) -> Result<Entry> {
    let kind = *Kind::ALL.get(usize::from(entry[16])).context("no known kind")?;
    let shape = *Shape::ALL.get(usize::from(entry[17])).context("no known shape")?;
    let link = u16::from_le_bytes(entry[20..22].try_into()?);
    let target = names.links.get(usize::from(link)).context("no known link")?.target;
    let events = names.targets.get(target).context("no known target")?;
    ensure!(usize::from(entry[18]) < events.len(), "no known event");
    let click = u32::from_le_bytes(entry[22..].try_into()?);
    let click = (click != NO_CLICK).then_some(click);
    let note = Note { link, event: entry[18], shape, click };
    Ok(Entry { id: entry[..16].try_into()?, kind, shard: entry[19], note })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let link = LinkName { share: "pet".to_owned(), target: 0 };
        Names { links: vec![link], targets: vec![vec!["Install".to_owned()]] }
    }

    #[test]
    fn what_was_written_is_read() {
        let path = std::env::temp_dir().join(format!("ledger-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let id: PostbackId = "0198c0de-0000-7000-8000-000000000001".parse().unwrap();
        let note = Note { link: 0, event: 0, shape: Shape::BrokenAmount, click: Some(7) };
        let without = Note { click: None, ..note };
        let mut ledger = Ledger::create(&path, &names()).unwrap();
        ledger.write(Some(id), Kind::Valid, 3, note).unwrap();
        ledger.write(None, Kind::MacroNotReplaced, 0, without).unwrap();
        ledger.flush().unwrap();
        assert!(Ledger::create(&path, &names()).is_err(), "an old ledger is kept");
        let (found, entries) = read(&path).unwrap();
        assert_eq!(found, names());
        let first = Entry { id: *id.0.as_bytes(), kind: Kind::Valid, shard: 3, note };
        let second = Entry { id: UNKNOWN, kind: Kind::MacroNotReplaced, shard: 0, note: without };
        assert_eq!(entries, [first, second]);
        assert!(first.is_accepted() && !second.is_accepted());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_cut_entry_is_left_out_and_a_strange_one_refused() {
        let names = serde_json::to_vec(&names()).unwrap();
        let length = (names.len() as u32).to_le_bytes();
        let with = |entries: &[u8]| parse(&[HEADER.as_slice(), &length, &names, entries].concat());
        assert_eq!(with(&[0; ENTRY_BYTES + 5]).unwrap().1.len(), 1);
        for place in [16, 17, 18, 20] {
            let mut strange = [0; ENTRY_BYTES];
            strange[place] = 99;
            assert!(with(&strange).is_err(), "{place}");
        }
        assert!(parse(b"something else").is_err());
        assert!(parse(&[HEADER.as_slice(), &[255; 4]].concat()).is_err());
    }
}
