//! Compares ledgers with ClickHouse: every postback that was answered 2xx is to be there exactly
//! once, with the outcome that the documented rules give it, and the conversions with their money.
//! Rows that no ledger knows are fine: their answer was lost, or somebody else sent them.

use crate::cli::VerifyArguments;
use crate::clickhouse::ClickHouse;
use crate::expect::Shares;
use crate::judge::{Conversion, Judge, Outcome};
use crate::ledger::{self, Entry, Names};
use anyhow::{Context, Result, bail, ensure};
use std::time::Duration;
use tokio::time::Instant;

/// Differences that are shown.
const SHOWN_MAX: usize = 10;
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Rows as they lie there, and postbacks among them.
const SELECT_PHYSICAL: &str =
    "SELECT count(), uniqExact(postback_id) FROM gokart.postbacks FORMAT TabSeparated";

/// Every postback once, as reports read them.
fn select_postbacks() -> String {
    format!(
        "SELECT postback_id, cityHash64(conversion_id), {}, {} FROM gokart.postbacks_unique FORMAT RowBinary",
        number_of("outcome", &crate::judge::OUTCOMES),
        number_of("reason", &crate::judge::REASONS),
    )
}
const POSTBACK_BYTES: usize = 26;

/// Every conversion as it stands.
fn select_conversions() -> String {
    format!(
        "SELECT cityHash64(conversion_id), {}, {}, revenue, payout, reward FROM gokart.conversions_current FORMAT RowBinary",
        number_of("status", &crate::judge::STATUSES),
        number_of("reason", &crate::judge::REASONS),
    )
}
const CONVERSION_BYTES: usize = 34;

/// A column as the place of its value in a list, from 1; 0: it is not in it.
fn number_of(column: &str, values: &[&str]) -> String {
    let values: Vec<String> = values.iter().map(|it| format!("'{it}'")).collect();
    format!("toUInt8(indexOf([{}], toString({column})))", values.join(", "))
}

/// Compares, and says so; `false` when something differs.
pub async fn verify(arguments: &VerifyArguments) -> Result<bool> {
    let token = token(arguments)?;
    let clickhouse =
        ClickHouse::new(&arguments.clickhouse, &arguments.user, &token, arguments.allow_remote)?;
    let shares = arguments.config.as_deref().map(Shares::read).transpose()?;
    let ledgers = arguments.ledger.iter().map(|path| ledger::read(path));
    let ledgers = ledgers.collect::<Result<Vec<_>>>()?;
    let accepted = ledgers.iter().enumerate().flat_map(|(run, (_, entries))| {
        entries.iter().filter(|it| it.is_accepted()).map(move |it| (run, *it))
    });
    let mut comparison = Comparison::new(accepted.collect());
    ensure!(!comparison.entries.is_empty(), "the ledger is empty, so there is nothing to verify");

    let deadline = Instant::now() + Duration::from_secs(arguments.wait_s);
    let judged = loop {
        let judged = look(&clickhouse, &mut comparison, &ledgers, shares.as_ref()).await?;
        // What is accepted becomes visible a little later.
        if comparison.is_clean() && judged.is_clean() || Instant::now() >= deadline {
            break judged;
        }
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    };
    let [rows, postbacks] = clickhouse.numbers(SELECT_PHYSICAL).await?;
    println!("{}", comparison.report());
    println!("{rows} physical rows hold {postbacks} postbacks ({} repeats)", rows - postbacks);
    println!("{}", judged.report(SHOWN_MAX));
    Ok(comparison.is_clean() && judged.is_clean())
}

/// Asks for everything once.
async fn look(
    clickhouse: &ClickHouse,
    comparison: &mut Comparison,
    ledgers: &[(Names, Vec<Entry>)],
    shares: Option<&Shares>,
) -> Result<Judge> {
    comparison.begin();
    let mut rows = Rows::<POSTBACK_BYTES>::default();
    let see = |row: &[u8; POSTBACK_BYTES]| comparison.see(row);
    read_all(clickhouse, &select_postbacks(), &mut rows, see).await?;
    let mut judge = Judge::new(ledgers, shares)?;
    for (at, (run, entry)) in comparison.entries.iter().enumerate() {
        if comparison.seen[at] > 0 {
            judge.postback(*run, entry, comparison.found[at]);
        }
    }
    let mut rows = Rows::<CONVERSION_BYTES>::default();
    let see = |row: &[u8; CONVERSION_BYTES]| judge.conversion(Conversion::of(row));
    read_all(clickhouse, &select_conversions(), &mut rows, see).await?;
    judge.end();
    Ok(judge)
}

async fn read_all<const N: usize>(
    clickhouse: &ClickHouse,
    sql: &str,
    rows: &mut Rows<N>,
    mut see: impl FnMut(&[u8; N]),
) -> Result<()> {
    clickhouse
        .query(sql, |bytes| {
            rows.pieces(bytes, &mut see);
            Ok(())
        })
        .await?;
    rows.end()
}

fn token(arguments: &VerifyArguments) -> Result<String> {
    let Some(path) = &arguments.token_file else {
        return Ok(arguments.token.clone().unwrap_or_default());
    };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the token file {} cannot be read", path.display()))?;
    Ok(text.trim().to_owned())
}

/// Rows of a fixed length out of pieces that end anywhere.
#[derive(Debug, Default)]
struct Rows<const N: usize> {
    /// The beginning of a row whose rest has not come yet.
    cut: Vec<u8>,
}

impl<const N: usize> Rows<N> {
    fn pieces(&mut self, bytes: &[u8], see: &mut impl FnMut(&[u8; N])) {
        let mut rest = bytes;
        if !self.cut.is_empty() {
            let wanted = (N - self.cut.len()).min(rest.len());
            self.cut.extend_from_slice(&rest[..wanted]);
            rest = &rest[wanted..];
            let Ok(row) = <&[u8; N]>::try_from(self.cut.as_slice()) else { return };
            see(row);
            self.cut.clear();
        }
        let (rows, cut) = rest.as_chunks::<N>();
        rows.iter().for_each(see);
        self.cut.extend_from_slice(cut);
    }

    fn end(&self) -> Result<()> {
        if self.cut.is_empty() {
            return Ok(());
        }
        bail!("ClickHouse's answer ended inside a row; ask again, or look into its log")
    }
}

/// The entries of the ledgers, and how often each was seen.
#[derive(Debug)]
struct Comparison {
    /// With the number of their ledger; by id.
    entries: Vec<(usize, Entry)>,
    /// How often each entry was seen; stays at its greatest.
    seen: Vec<u8>,
    /// What became of each.
    found: Vec<Outcome>,
    /// Entries whose id another entry has too: the target gave one id to two postbacks.
    given_twice: Vec<Entry>,
    others: u64,
}

impl Comparison {
    fn new(mut entries: Vec<(usize, Entry)>) -> Self {
        entries.sort_unstable_by_key(|(run, entry)| (entry.id, *run));
        let mut given_twice = Vec::new();
        entries.dedup_by(|(_, later), (_, kept)| {
            let same = later.id == kept.id;
            if same {
                given_twice.push(*later);
            }
            same
        });
        let (seen, found) = (vec![0; entries.len()], vec![Outcome::default(); entries.len()]);
        Self { entries, seen, found, given_twice, others: 0 }
    }

    fn begin(&mut self) {
        self.seen.fill(0);
        self.others = 0;
    }

    /// A UUID in RowBinary is its two halves, each with the lowest byte first.
    fn see(&mut self, row: &[u8; POSTBACK_BYTES]) {
        let mut id = [0; 16];
        id.copy_from_slice(&row[..16]);
        id[..8].reverse();
        id[8..].reverse();
        match self.entries.binary_search_by(|(_, entry)| entry.id.cmp(&id)) {
            Ok(at) => {
                self.seen[at] = self.seen[at].saturating_add(1);
                self.found[at] = Outcome::of(&row[16..]);
            }
            Err(_) => self.others += 1,
        }
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
        let differing =
            with_seen.filter(|(_, seen)| **seen != 1).map(|((_, entry), seen)| match seen {
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

pub fn uuid(id: &[u8; 16]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(*id));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::Kind;
    use crate::request::{Note, Shape};

    fn entry(n: u128) -> Entry {
        let note = Note { link: 0, event: 0, shape: Shape::Fine, click: None };
        Entry { id: n.to_be_bytes(), kind: Kind::Valid, shard: 0, note }
    }

    /// As ClickHouse writes a UUID.
    fn row(n: u128) -> Vec<u8> {
        let (high, low) = ((n >> 64) as u64, n as u64);
        let mut row = [high.to_le_bytes(), low.to_le_bytes()].concat();
        row.resize(POSTBACK_BYTES, 0);
        row
    }

    /// Missing, repeated, given twice, others.
    fn check(accepted: &[u128], rows: &[u128], piece_bytes: usize) -> (usize, usize, usize, u64) {
        let mut comparison = Comparison::new(accepted.iter().map(|n| (0, entry(*n))).collect());
        comparison.begin();
        let bytes = rows.iter().flat_map(|n| row(*n)).collect::<Vec<u8>>();
        let mut rows = Rows::default();
        for piece in bytes.chunks(piece_bytes) {
            rows.pieces(piece, &mut |row| comparison.see(row));
        }
        rows.end().unwrap();
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
        let mut rows = Rows::<POSTBACK_BYTES>::default();
        rows.pieces(&row(1)[..5], &mut |_| panic!("no row is whole"));
        assert!(rows.end().is_err());
    }

    #[test]
    fn the_report_shows_the_first_differences() {
        let mut comparison = Comparison::new((0..50).map(|n| (0, entry(n))).collect());
        comparison.see(row(49).as_slice().try_into().unwrap());
        let report = comparison.report();
        assert_eq!(report.lines().count(), 1 + SHOWN_MAX);
        assert!(
            report.contains("50 accepted, 1 of them there exactly once (0.020000), 49 missing")
        );
        assert!(report.contains("00000000-0000-0000-0000-000000000001: valid missing"), "{report}");
    }
}
