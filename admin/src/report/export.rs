//! Lists and exports as streams: rows are decoded, written and sent as they come, so that neither
//! ClickHouse, nor this process, nor whoever asks, ever holds them all.
//!
//! An export goes day by day (UTC, the first column of the tables' keys): a query is then bounded
//! by a day's rows, whatever the export's length. Rows come in the tables' order, which needs no
//! sorting. It is no snapshot: what is inserted while it runs may be in it or not.

use super::cells::Decoder;
use super::filter::Scope;
use super::format::{Format, Writer};
use super::period::Period;
use super::rows::Kind;
use crate::error::Error;
use crate::warehouse::{Question, Warehouse};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Frame;
use schemas::Catalog;
use schemas::time::DAY_MS;
use serde::Deserialize;
use service::Reply;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Pieces on the way to a slow reader.
const PIECES_QUEUED: usize = 4;
/// Small pieces are put together up to here.
const PIECE_BYTES: usize = 256 << 10;
/// How far back from the newest row a list is looked for before it is looked for in everything.
const LOOK_BACK_MS: [i64; 2] = [DAY_MS, 30 * DAY_MS];
/// Says how many rows there will be, for a progress bar.
pub const ROWS_HEADER: &str = "gokart-rows";

/// What is asked for.
pub struct Wanted {
    pub kind: Kind,
    pub format: Format,
    pub scope: Scope,
    /// A list of the newest; none: everything.
    pub limit: Option<u32>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Day {
    day: i64,
    count: u64,
}

/// Starts the stream. What goes wrong before the first row is an error as any other; what goes
/// wrong later breaks the answer off, so that nobody takes it for whole.
pub async fn stream(
    warehouse: Arc<Warehouse>,
    catalog: &Catalog,
    wanted: Wanted,
) -> Result<Reply, Error> {
    let (slot, questions, count) = match wanted.limit {
        Some(limit) => {
            let question = newest(&warehouse, &wanted, catalog, limit).await?;
            (warehouse.slot().await?, vec![question], None)
        }
        None => {
            let slot = warehouse.export_slot()?;
            let days = days(&warehouse, &wanted, catalog).await?;
            let count = days.iter().map(|day| day.count).sum::<u64>();
            (slot, days.iter().map(|day| of_day(&wanted, catalog, day.day)).collect(), Some(count))
        }
    };
    let writer = Writer::new(
        wanted.kind,
        wanted.format,
        wanted.scope.period.clone(),
        wanted.limit.map(|limit| limit as usize),
        wanted.scope.include_test || !wanted.kind.has_tests(),
    )?;
    let (sender, receiver) = mpsc::channel(PIECES_QUEUED);
    let (started, first) = tokio::sync::oneshot::channel();
    let work = Work { warehouse, kind: wanted.kind, questions, writer, sender, _slot: slot };
    tokio::spawn(work.run(started));
    // The first piece, or why there is none.
    let first =
        first.await.unwrap_or_else(|_| Err(Error::Internal("the stream died".to_owned())))?;
    let body = Pieces { first: Some(first), rest: receiver };
    let mut reply = Reply::new(body.boxed_unsync());
    let headers = reply.headers_mut();
    let value = hyper::header::HeaderValue::from_static(wanted.format.content_type());
    headers.insert(hyper::header::CONTENT_TYPE, value);
    if let Some(count) = count {
        headers.insert(ROWS_HEADER, count.into());
    }
    Ok(reply)
}

async fn newest(
    warehouse: &Warehouse,
    wanted: &Wanted,
    catalog: &Catalog,
    limit: u32,
) -> Result<Question, Error> {
    let (kind, view) = (wanted.kind, wanted.kind.view());
    // One more shows that there are more.
    let rows = limit + 1;
    let scope = match kind {
        // Which attempt is the last is found among all of them, so a time makes nothing less.
        Kind::Deliveries => wanted.scope.clone(),
        _ => where_the_newest_are(warehouse, wanted, catalog, rows).await?,
    };
    let sql = kind.newest_sql(&scope.conditions(view, view.time()));
    Ok(scope.bind(Question::new(sql), catalog).bind("rows", rows))
}

/// The end of the time that is asked for that holds so many rows; all of it when there are not so
/// many at its end. Two or three quick questions spare to read and to sort everything there is.
async fn where_the_newest_are(
    warehouse: &Warehouse,
    wanted: &Wanted,
    catalog: &Catalog,
    rows: u32,
) -> Result<Scope, Error> {
    #[derive(Deserialize)]
    struct Number {
        number: i64,
    }
    let (view, period) = (wanted.kind.view(), &wanted.scope.period);
    let ask = async |scope: &Scope, number: String, from: &str| {
        let conditions = scope.conditions(view, view.time());
        let sql = format!("SELECT toInt64({number}) AS number FROM {from} WHERE {conditions}");
        let answer = warehouse.rows::<Number>(scope.bind(Question::new(sql), catalog)).await?;
        Ok::<_, Error>(answer.first().map_or(0, |it| it.number))
    };
    // Roughly: a row may be superseded, so what matters is counted.
    let last = format!("toUnixTimestamp64Milli(max({}))", view.time());
    let newest = ask(&wanted.scope, last, view.table()).await?;
    for back in LOOK_BACK_MS {
        let from_ms = newest.saturating_sub(back);
        // All of it: nothing is spared, and there may be no row at all.
        if from_ms <= period.from_ms.unwrap_or_default() {
            break;
        }
        let scope = wanted.scope.within(Period { from_ms: Some(from_ms), ..period.clone() });
        if ask(&scope, "count()".to_owned(), view.name()).await? >= i64::from(rows) {
            return Ok(scope);
        }
    }
    Ok(wanted.scope.clone())
}

/// The days that have rows, with how many.
async fn days(
    warehouse: &Warehouse,
    wanted: &Wanted,
    catalog: &Catalog,
) -> Result<Vec<Day>, Error> {
    let view = wanted.kind.view();
    let sql = format!(
        "SELECT toInt64(toRelativeDayNum(toDate({}))) AS day, count() AS count FROM {} WHERE {} \
         GROUP BY day ORDER BY day",
        view.time(),
        view.name(),
        wanted.scope.conditions(view, view.time())
    );
    warehouse.rows(wanted.scope.bind(Question::new(sql), catalog)).await
}

fn of_day(wanted: &Wanted, catalog: &Catalog, day: i64) -> Question {
    let kind = wanted.kind;
    let period = &wanted.scope.period;
    let (from, to) = (day * DAY_MS, (day + 1) * DAY_MS);
    let scope = wanted.scope.within(Period {
        from_ms: Some(period.from_ms.map_or(from, |it| it.max(from))),
        to_ms: Some(period.to_ms.map_or(to, |it| it.min(to))),
        ..period.clone()
    });
    let sql = kind.all_sql(&scope.conditions(kind.view(), kind.view().time()));
    scope.bind(Question::new(sql), catalog)
}

/// A stream as it is being made.
struct Work {
    warehouse: Arc<Warehouse>,
    kind: Kind,
    questions: Vec<Question>,
    writer: Writer,
    sender: mpsc::Sender<io::Result<Bytes>>,
    /// Given back when the stream ends, however it does.
    _slot: OwnedSemaphorePermit,
}

type Started = tokio::sync::oneshot::Sender<Result<Bytes, Error>>;

/// Where pieces go: the first to whoever waits for the head of the answer.
struct Out {
    started: Option<Started>,
    waiting: Vec<u8>,
}

/// Whoever asked has gone.
struct Gone;

impl Work {
    async fn run(mut self, started: Started) {
        let mut out = Out { started: Some(started), waiting: self.writer.begin() };
        let (sender, stall) = (self.sender.clone(), self.warehouse.stall());
        match self.write(&mut out).await {
            Ok(Ok(())) => {
                let _ = out.flush(&sender, stall).await;
            }
            Ok(Err(Gone)) => {
                tracing::debug!("whoever asked for rows has gone, or takes none");
                // Breaks the answer off for one that only slept.
                let broken = sender.send(Err(io::ErrorKind::TimedOut.into()));
                let _ = tokio::time::timeout(stall, broken).await;
            }
            Err(error) => match out.started.take() {
                Some(started) => {
                    let _ = started.send(Err(error));
                }
                None => {
                    tracing::warn!(%error, "an answer of rows broke off");
                    let _ = sender.send(Err(io::ErrorKind::ConnectionAborted.into())).await;
                }
            },
        }
    }

    async fn write(&mut self, out: &mut Out) -> Result<Result<(), Gone>, Error> {
        let unreadable = |error: super::cells::Unreadable| Error::Internal(error.to_string());
        let stall = self.warehouse.stall();
        for question in std::mem::take(&mut self.questions) {
            let mut decoder = Decoder::new(self.kind.forms());
            let mut pieces = self.warehouse.pieces(question)?;
            while let Some(piece) = self.warehouse.next_piece(&mut pieces).await? {
                let rows = decoder.take(&piece).map_err(unreadable)?;
                out.waiting.extend(self.writer.rows(rows)?);
                if out.waiting.len() >= PIECE_BYTES && out.flush(&self.sender, stall).await.is_err()
                {
                    return Ok(Err(Gone));
                }
            }
            decoder.finish().map_err(unreadable)?;
        }
        out.waiting.extend(self.writer.end()?);
        Ok(Ok(()))
    }
}

impl Out {
    async fn flush(
        &mut self,
        sender: &mpsc::Sender<io::Result<Bytes>>,
        stall: Duration,
    ) -> Result<(), Gone> {
        let bytes = Bytes::from(std::mem::take(&mut self.waiting));
        match self.started.take() {
            Some(started) => started.send(Ok(bytes)).map_err(|_| Gone),
            // A reader that takes nothing for so long gives its place back.
            None => match tokio::time::timeout(stall, sender.send(Ok(bytes))).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(Gone),
            },
        }
    }
}

/// The body: pieces as they come.
struct Pieces {
    first: Option<Bytes>,
    rest: mpsc::Receiver<io::Result<Bytes>>,
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        self.rest.poll_recv(context).map(|piece| piece.map(|it| it.map(Frame::data)))
    }
}
