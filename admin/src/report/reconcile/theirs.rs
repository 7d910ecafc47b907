//! The advertiser's file: CSV from whatever system it has, so nothing about it is certain.

use crate::error::Error;
use schemas::Micros;

/// The largest file.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// Lines of it.
const LINES_MAX: usize = 500_000;
/// Longest value.
const VALUE_BYTES_MAX: usize = 2_048;
/// Lines that cannot be read and are shown; with more of them it is the wrong file.
const UNREADABLE_MAX: usize = 1_000;

/// What a column may be called, in small letters.
const CLICK: &[&str] = &["gk_click_id", "click_id", "clickid", "click"];
const EVENT: &[&str] = &["cnv_event_id", "event_id", "event", "event_name"];
const TRANSACTION: &[&str] = &["transaction_id", "transaction", "order_id"];
const AMOUNT: &[&str] = &["revenue", "amount", "payout", "cost"];
const CURRENCY: &[&str] = &["currency"];
const STATUS: &[&str] = &["status", "state"];

/// Statuses that say that a line does not count.
const REJECTED: &[&str] =
    &["rejected", "declined", "cancelled", "canceled", "reversed", "void", "fraud", "pending"];

/// One line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// In the file, from 1; the heading is the first.
    pub number: u64,
    pub click: String,
    pub event: String,
    pub transaction: String,
    pub amount: Option<Micros>,
    pub currency: String,
    pub status: String,
    pub counts: bool,
}

impl Line {
    /// A line that is not in the file.
    #[must_use]
    pub fn of(click: &str, event: &str, transaction: &str) -> Self {
        let (click, event) = (click.to_owned(), event.to_owned());
        Self { click, event, transaction: transaction.to_owned(), ..Self::default() }
    }

    /// Status and amount as they wrote them.
    #[must_use]
    pub fn text(&self) -> String {
        let status = if self.status.is_empty() { "counted" } else { &self.status };
        let amount = self.amount.map_or_else(String::new, |it| format!(" {it}"));
        format!("{status}{amount} {}", self.currency).trim().to_owned()
    }
}

/// Lines, and those that cannot be read with why.
type Read = (Vec<Line>, Vec<(u64, String)>);

/// Reads the file. What is wrong with all of it is an error; a wrong line is listed.
pub fn read(body: &[u8]) -> Result<Read, Error> {
    let bytes = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Error::bad_request("the file is UTF-16")
            .with_hint("save it as CSV in UTF-8 and send it again"));
    }
    let first_line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |byte: u8| first_line.iter().filter(|it| **it == byte).count();
    // Spreadsheets in many countries write semicolons.
    let delimiter = [b',', b';', b'\t'].into_iter().rev().max_by_key(|byte| count(*byte));
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter.unwrap_or(b','))
        .has_headers(true)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(bytes);
    let heading = reader.byte_headers().map_err(|error| {
        Error::bad_request(format!("the file has no heading that can be read: {error}"))
    })?;
    let names: Vec<String> =
        heading.iter().map(|name| String::from_utf8_lossy(name).trim().to_lowercase()).collect();
    let find = |wanted: &[&str]| {
        wanted.iter().find_map(|name| names.iter().position(|found| found == name))
    };
    let (click, event, transaction) = (find(CLICK), find(EVENT), find(TRANSACTION));
    let (amount, currency, status) = (find(AMOUNT), find(CURRENCY), find(STATUS));
    let Some(event) = event.filter(|_| click.is_some() || transaction.is_some()) else {
        let found = names.join(", ").chars().take(200).collect::<String>();
        return Err(Error::bad_request(format!("the file's columns are {found:?}")).with_hint(
            "it needs event_id, and click_id or transaction_id; revenue, currency and status are \
             compared when they are there",
        ));
    };
    let mut lines = Vec::new();
    let mut unreadable = Vec::new();
    let mut record = csv::ByteRecord::new();
    loop {
        let number = reader.position().line();
        match reader.read_byte_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            Err(error) => {
                return Err(Error::bad_request(format!("line {number}: {error}")));
            }
        }
        // After CR LF the reader stands between the two, still on the line before.
        let is_between = |at: &csv::Position| {
            usize::try_from(at.byte()).ok().and_then(|at| bytes.get(at)) == Some(&b'\n')
        };
        let number = record.position().map_or(number, |at| at.line() + u64::from(is_between(at)));
        if lines.len() >= LINES_MAX {
            return Err(Error::TooMuch(format!(
                "the file has more than {LINES_MAX} lines; send a shorter time at once"
            )));
        }
        if record.iter().all(<[u8]>::is_empty) {
            continue;
        }
        let columns = Columns { click, event, transaction, amount, currency, status };
        match line(&record, &columns, number) {
            Ok(line) => lines.push(line),
            Err(_) if unreadable.len() >= UNREADABLE_MAX => {
                return Err(Error::bad_request(format!(
                    "more than {UNREADABLE_MAX} lines cannot be read, the last is {number}"
                ))
                .with_hint("it may not be the file that was meant"));
            }
            Err(why) => unreadable.push((number, why)),
        }
    }
    Ok((lines, unreadable))
}

struct Columns {
    click: Option<usize>,
    event: usize,
    transaction: Option<usize>,
    amount: Option<usize>,
    currency: Option<usize>,
    status: Option<usize>,
}

fn line(record: &csv::ByteRecord, columns: &Columns, number: u64) -> Result<Line, String> {
    let value = |column: Option<usize>| -> Result<String, String> {
        let bytes = column.and_then(|column| record.get(column)).unwrap_or_default();
        if bytes.len() > VALUE_BYTES_MAX {
            return Err(format!("a value is longer than {VALUE_BYTES_MAX} bytes"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "a value is not UTF-8".to_owned())?;
        if text.contains('\0') {
            return Err("a value holds a zero byte".to_owned());
        }
        // Our own exports put an apostrophe before what a spreadsheet would run.
        let plain = text.strip_prefix('\'').filter(|rest| rest.starts_with(['=', '+', '-', '@']));
        Ok(plain.unwrap_or(text).to_owned())
    };
    let (click, transaction) = (value(columns.click)?, value(columns.transaction)?);
    let event = value(Some(columns.event))?;
    if event.is_empty() || click.is_empty() && transaction.is_empty() {
        return Err("it names no event, or neither a click nor a transaction".to_owned());
    }
    let amount = value(columns.amount)?;
    let amount = match amount.as_str() {
        "" => None,
        text => {
            Some(Micros::parse(text).map_err(|error| format!("the amount {text:?} is {error}"))?)
        }
    };
    let status = value(columns.status)?;
    let counts = !REJECTED.contains(&status.to_lowercase().as_str());
    let currency = value(columns.currency)?.to_uppercase();
    Ok(Line { number, click, event, transaction, amount, currency, status, counts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_many_systems() {
        let check = |text: &str| {
            let (lines, unreadable) = read(text.as_bytes()).unwrap();
            assert_eq!(unreadable, [], "{text}");
            lines.into_iter().next().unwrap()
        };
        let wanted = Line {
            number: 2,
            click: "c1".into(),
            event: "Install".into(),
            transaction: String::new(),
            amount: Some(Micros(500_000)),
            currency: "USD".into(),
            status: String::new(),
            counts: true,
        };
        for text in [
            "click_id,event_id,revenue,currency\nc1,Install,0.50,usd\n",
            "\u{feff}Event;GK_Click_ID;Amount;Currency\r\nInstall;c1;0.5;USD\r\n",
            "\"click_id\"\t\"event\"\t\"revenue\"\t\"currency\"\n c1 \tInstall\t.5\tUSD",
        ] {
            assert_eq!(check(text), wanted, "{text}");
        }
        assert!(!check("click,event,status\nc1,Install,Rejected\n").counts);
        assert_eq!(check("order_id,event\n\"a\"\"b\nc\",x\n").transaction, "a\"b\nc");
        assert_eq!(check("order_id,event\n'=1+1,x\n").transaction, "=1+1");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let fails = |body: &[u8], text: &str| {
            let error = read(body).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        };
        fails(b"\xff\xfee\0v\0", "UTF-16");
        fails(b"", "columns are");
        fails(b"a,b\n1,2\n", "columns are \"a, b\"");
        fails(b"event_id\nInstall\n", "columns are");
        let many = format!("click,event\n{}", "c,\n".repeat(UNREADABLE_MAX + 1));
        fails(many.as_bytes(), "cannot be read");
        let huge = format!("click,event\n{}", "c,e\n".repeat(LINES_MAX + 1));
        fails(huge.as_bytes(), "more than");
        let text =
            format!("click,event,revenue\n,x,1\nc,e,1 USD\nc,{},1\nc\nc,e,1\n", "e".repeat(9_999));
        let (lines, unreadable) = read(text.as_bytes()).unwrap();
        let numbers: Vec<u64> = unreadable.iter().map(|(number, _)| *number).collect();
        assert_eq!((lines.len(), numbers), (1, vec![2, 3, 4, 5]));
        let (_, unreadable) = read(b"click,event\nc,\xff\xfe\n").unwrap();
        assert!(unreadable[0].1.contains("UTF-8"));
    }
}
