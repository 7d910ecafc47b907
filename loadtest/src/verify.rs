//! Compares ledgers with ClickHouse: every postback that was answered 2xx is to be there exactly
//! once. Rows that no ledger knows are fine: their answer was lost, or somebody else sent them.

use crate::cli::VerifyArguments;
use crate::clickhouse::ClickHouse;
use crate::ledger::{self, Entry};
use anyhow::{Context, Result, bail, ensure};
use std::time::Duration;
use tokio::time::Instant;

/// Differences that are shown.
const SHOWN_MAX: usize = 10;
const ID_BYTES: usize = 16;
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Every postback once, as reports read them.
const SELECT_IDS: &str = "SELECT postback_id FROM gokart.postbacks_unique FORMAT RowBinary";
/// Rows as they lie there, and postbacks among them.
const SELECT_PHYSICAL: &str =
    "SELECT count(), uniqExact(postback_id) FROM gokart.postbacks FORMAT TabSeparated";

/// Compares, and says so; `false` when something differs.
pub async fn verify(arguments: &VerifyArguments) -> Result<bool> {
    let token = token(arguments)?;
    let clickhouse =
        ClickHouse::new(&arguments.clickhouse, &arguments.user, &token, arguments.allow_remote)?;
    let mut entries = Vec::new();
    for path in &arguments.ledger {
        entries.append(&mut ledger::read(path)?);
    }
    ensure!(!entries.is_empty(), "the ledger is empty, so there is nothing to verify");

    let deadline = Instant::now() + Duration::from_secs(arguments.wait_s);
    let mut comparison = Comparison::new(entries);
    loop {
        comparison.begin();
        clickhouse.query(SELECT_IDS, |bytes| comparison.see_bytes(bytes)).await?;
        comparison.end()?;
        // What is accepted becomes visible a little later.
        if comparison.missing() == 0 || Instant::now() >= deadline {
            break;
        }
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    }
    let [rows, postbacks] = clickhouse.numbers(SELECT_PHYSICAL).await?;
    println!("{}", comparison.report());
    println!("{rows} physical rows hold {postbacks} postbacks ({} repeats)", rows - postbacks);
    Ok(comparison.is_clean())
}

fn token(arguments: &VerifyArguments) -> Result<String> {
    let Some(path) = &arguments.token_file else {
        return Ok(arguments.token.clone().unwrap_or_default());
    };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the token file {} cannot be read", path.display()))?;
    Ok(text.trim().to_owned())
}

/// The entries of the ledgers, and how often each was seen.
#[derive(Debug)]
struct Comparison {
    /// By id.
    entries: Vec<Entry>,
    /// How often each entry was seen; stays at its greatest.
    seen: Vec<u8>,
    /// Entries whose id another entry has too: the target gave one id to two postbacks.
    given_twice: Vec<Entry>,
    others: u64,
    /// The beginning of a row whose rest has not come yet.
    cut: Vec<u8>,
}

impl Comparison {
    fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_unstable();
        let mut given_twice = Vec::new();
        entries.dedup_by(|later, kept| {
            let same = later.id == kept.id;
            if same {
                given_twice.push(*later);
            }
            same
        });
        let seen = vec![0; entries.len()];
        Self { entries, seen, given_twice, others: 0, cut: Vec::new() }
    }

    fn begin(&mut self) {
        self.seen.fill(0);
        self.others = 0;
        self.cut.clear();
    }

    /// The next piece of the ids in RowBinary; pieces end anywhere.
    fn see_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        if !self.cut.is_empty() {
            let wanted = (ID_BYTES - self.cut.len()).min(rest.len());
            self.cut.extend_from_slice(&rest[..wanted]);
            rest = &rest[wanted..];
            if self.cut.len() < ID_BYTES {
                return Ok(());
            }
            let whole = std::mem::take(&mut self.cut);
            self.see(&whole);
        }
        let rows = rest.chunks_exact(ID_BYTES);
        self.cut.extend_from_slice(rows.remainder());
        rows.for_each(|row| self.see(row));
        Ok(())
    }

    /// A UUID in RowBinary is its two halves, each with the lowest byte first.
    fn see(&mut self, row: &[u8]) {
        let mut id = [0; ID_BYTES];
        for (place, byte) in id[..8].iter_mut().zip(row[..8].iter().rev()) {
            *place = *byte;
        }
        for (place, byte) in id[8..].iter_mut().zip(row[8..].iter().rev()) {
            *place = *byte;
        }
        match self.entries.binary_search_by(|entry| entry.id.cmp(&id)) {
            Ok(at) => self.seen[at] = self.seen[at].saturating_add(1),
            Err(_) => self.others += 1,
        }
    }

    fn end(&self) -> Result<()> {
        if self.cut.is_empty() {
            return Ok(());
        }
        bail!("ClickHouse's answer ended inside a row; ask again, or look into its log")
    }

    fn missing(&self) -> usize {
        self.seen.iter().filter(|seen| **seen == 0).count()
    }

    fn repeated(&self) -> usize {
        self.seen.iter().filter(|seen| **seen > 1).count()
    }

    fn is_clean(&self) -> bool {
        self.missing() == 0 && self.repeated() == 0 && self.given_twice.is_empty()
    }

    fn report(&self) -> String {
        let (missing, repeated) = (self.missing(), self.repeated());
        let accepted = self.entries.len();
        let once = accepted - missing - repeated;
        let mut lines = vec![format!(
            "{accepted} accepted, {once} of them there exactly once ({:.6}), {missing} missing, \
             {repeated} repeated, {} ids given twice, {} rows of others",
            once as f64 / accepted.max(1) as f64,
            self.given_twice.len(),
            self.others
        )];
        let with_seen = self.entries.iter().zip(&self.seen);
        let differing = with_seen.filter(|(_, seen)| **seen != 1).map(|(entry, seen)| match seen {
            0 => (entry, "missing".to_owned()),
            times => (entry, format!("there {times} times")),
        });
        let twice = self.given_twice.iter().map(|entry| (entry, "given twice".to_owned()));
        let shown = differing.chain(twice).take(SHOWN_MAX);
        lines.extend(
            shown.map(|(entry, what)| format!("{}: {} {what}", uuid(&entry.id), entry.kind)),
        );
        lines.join("\n")
    }
}

fn uuid(id: &[u8; ID_BYTES]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(*id));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::Kind;

    fn entry(n: u128) -> Entry {
        Entry { id: n.to_be_bytes(), kind: Kind::Valid }
    }

    /// As ClickHouse writes a UUID.
    fn row(n: u128) -> Vec<u8> {
        let (high, low) = ((n >> 64) as u64, n as u64);
        [high.to_le_bytes(), low.to_le_bytes()].concat()
    }

    /// Missing, repeated, given twice, others.
    fn check(accepted: &[u128], rows: &[u128], piece_bytes: usize) -> (usize, usize, usize, u64) {
        let mut comparison = Comparison::new(accepted.iter().map(|n| entry(*n)).collect());
        comparison.begin();
        let bytes = rows.iter().flat_map(|n| row(*n)).collect::<Vec<u8>>();
        for piece in bytes.chunks(piece_bytes) {
            comparison.see_bytes(piece).unwrap();
        }
        comparison.end().unwrap();
        let given_twice = comparison.given_twice.len();
        (comparison.missing(), comparison.repeated(), given_twice, comparison.others)
    }

    #[test]
    fn differences_are_found_however_the_answer_is_cut() {
        let big = 0x0198_c0de_0000_7000_8000_0000_0000_0001;
        for piece_bytes in [1, 7, 16, 17, 1000] {
            let check = |accepted: &[u128], rows: &[u128]| check(accepted, rows, piece_bytes);
            assert_eq!(check(&[3, big], &[big, 3]), (0, 0, 0, 0));
            assert_eq!(check(&[3, big], &[3]), (1, 0, 0, 0));
            assert_eq!(check(&[3], &[3, 3, 4]), (0, 1, 0, 1));
            assert_eq!(check(&[3, 3], &[3]), (0, 0, 1, 0));
        }
    }

    #[test]
    fn a_cut_answer_is_an_error() {
        let mut comparison = Comparison::new(vec![entry(1)]);
        comparison.see_bytes(&row(1)[..5]).unwrap();
        assert!(comparison.end().is_err());
    }

    #[test]
    fn the_report_shows_the_first_differences() {
        let mut comparison = Comparison::new((0..50).map(entry).collect());
        comparison.see_bytes(&row(49)).unwrap();
        let report = comparison.report();
        assert_eq!(report.lines().count(), 1 + SHOWN_MAX);
        assert!(
            report.contains("50 accepted, 1 of them there exactly once (0.020000), 49 missing")
        );
        assert!(report.contains("00000000-0000-0000-0000-000000000001: valid missing"), "{report}");
    }
}
