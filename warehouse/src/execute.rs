//! One statement, on an engine thread: read its text, look at it, run it, hand on what comes.

use crate::body::{AnswerSender, reader};
use crate::config::{
    RESULT_CHUNK_BYTES, STATEMENT_BYTES_MAX, VALUES_BYTES_MAX, WHOLE_RESULT_BYTES_MAX,
};
use crate::engine::{Access, Engine};
use crate::exception::{Exception, code};
use crate::repeated_header::RepeatedHeader;
use crate::request::{Packing, QueryRequest};
use crate::session::{Session, Summary};
use crate::statement::{self, Insert};
use crate::{compression, guard, lexer};
use bytes::Bytes;
use std::io::{self, Read};
use tokio::sync::{mpsc, oneshot};

/// Bytes read from a body at once.
const READ_BYTES: usize = 256 * 1024;
/// Statements of the kind `CHDB_QUERY_CONTROL` that may run: they act within the engine, and what
/// they may do is a matter of grants. `readonly` alone would let a reader end a writer's statement.
const CONTROL_FOR_WRITERS: [&str; 4] = ["set", "use", "system", "kill"];
const CONTROL_FOR_READERS: [&str; 2] = ["set", "use"];

/// What an answer begins with.
pub struct Head {
    pub format: String,
    pub summary: Summary,
}

/// A statement and the ways to its client.
pub struct Work {
    pub request: QueryRequest,
    pub access: Access,
    pub body: mpsc::Receiver<io::Result<Bytes>>,
    pub head: oneshot::Sender<Result<Head, Exception>>,
    pub answer: AnswerSender,
}

/// Runs a statement. Errors before the first byte of the answer are the head; later ones end the
/// answer with their text and then break it off, so that nobody takes it for whole.
pub fn execute(engine: &Engine, work: Work) {
    let Work { request, access, body, head, answer } = work;
    let body = reader(body, request.body);
    let mut out = Answer { head: Some(head), answer, packing: request.answer };
    if let Err(error) = run(engine, &request, access, body, &mut out) {
        out.fail(error);
    }
}

fn run(
    engine: &Engine,
    request: &QueryRequest,
    access: Access,
    mut body: Box<dyn Read>,
    out: &mut Answer,
) -> Result<(), Exception> {
    let text = statement_text(request, &mut body)?;
    if let Some(insert) = statement::insert(&text) {
        let data_start = insert.data_start.min(text.len());
        let inline = text[data_start..].to_vec();
        let data = io::Cursor::new(inline).chain(body);
        return run_insert(engine, request, access, &insert, data, out);
    }
    let mut text = text;
    read_up_to(&mut body, &mut text, STATEMENT_BYTES_MAX)?;
    let sql = String::from_utf8(text).map_err(|_| {
        Exception::new(
            code::SYNTAX_ERROR,
            "SYNTAX_ERROR",
            "Syntax error: the statement is not UTF-8",
        )
    })?;
    guard::check(sql.as_bytes())?;
    run_query(engine, request, access, &sql, out)
}

/// The statement: what the URL says, or the start of the body.
fn statement_text(request: &QueryRequest, body: &mut dyn Read) -> Result<Vec<u8>, Exception> {
    let mut text = request.query.clone().into_bytes();
    if lexer::tokens(&text).next().is_some() {
        // What follows in the body is on a line of its own.
        text.push(b'\n');
        return Ok(text);
    }
    let mut buffer = vec![0; READ_BYTES];
    while text.len() < READ_BYTES {
        match body.read(&mut buffer).map_err(|error| body_error(&error))? {
            0 => break,
            count => text.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(text)
}

fn read_up_to(
    body: &mut dyn Read,
    into: &mut Vec<u8>,
    limit_bytes: usize,
) -> Result<(), Exception> {
    let mut limited = body.take((limit_bytes + 1).saturating_sub(into.len()) as u64);
    limited.read_to_end(into).map_err(|error| body_error(&error))?;
    if into.len() > limit_bytes {
        return Err(Exception::new(
            code::QUERY_IS_TOO_LARGE,
            "QUERY_IS_TOO_LARGE",
            &format!(
                "the statement is larger than {limit_bytes} bytes; send rows as the data of an INSERT with a FORMAT"
            ),
        ));
    }
    Ok(())
}

fn run_insert(
    engine: &Engine,
    request: &QueryRequest,
    access: Access,
    insert: &Insert,
    mut data: impl Read,
    out: &mut Answer,
) -> Result<(), Exception> {
    guard::check(insert.head.as_bytes())?;
    let mut settings = Vec::new();
    let mut values = Vec::new();
    if insert.is_values() {
        read_up_to(&mut data, &mut values, VALUES_BYTES_MAX)?;
        guard::check_values(&values)?;
        // Allowed for this statement alone, now that its rows have been looked at.
        settings.push("--input_format_values_interpret_expressions=1".to_owned());
    }
    let session = prepare(engine, request, access, &settings)?;
    session.check_kind(&format!("{} FORMAT {}", insert.head, insert.format), false)?;
    let mut stream = session.insert(&insert.head, &insert.format, &request.parameters)?;
    if insert.is_values() {
        // A `;` after the rows ends the statement; to the engine it would be a broken row.
        let end = values.trim_ascii_end();
        stream.append(end.strip_suffix(b";").unwrap_or(end))?;
    }
    let mut buffer = vec![0; READ_BYTES];
    loop {
        // A body that broke off is no insert: dropping the stream gives it up.
        match data.read(&mut buffer).map_err(|error| body_error(&error))? {
            0 => break,
            count => stream.append(&buffer[..count])?,
        }
    }
    let summary = stream.finish()?;
    metrics::counter!("gokart_warehouse_rows_written_total").increment(summary.written_rows);
    out.begin(Head { format: insert.format.clone(), summary });
    Ok(())
}

fn run_query(
    engine: &Engine,
    request: &QueryRequest,
    access: Access,
    sql: &str,
    out: &mut Answer,
) -> Result<(), Exception> {
    let named = statement::output_format(sql.as_bytes());
    let format = named.unwrap_or_else(|| request.default_format.clone());
    let is_streamed = statement::is_select(sql.as_bytes()) && statement::is_streamed(&format);
    let mut settings = Vec::new();
    if !is_streamed {
        settings.push(format!("--max_result_bytes={WHOLE_RESULT_BYTES_MAX}"));
    }
    let session = prepare(engine, request, access, &settings)?;
    let first = lexer::tokens(sql.as_bytes()).next();
    let allowed: &[&str] = match access {
        Access::Read => &CONTROL_FOR_READERS,
        Access::Write => &CONTROL_FOR_WRITERS,
    };
    let is_allowed = first.is_some_and(|token| allowed.iter().any(|word| token.is_word(word)));
    session.check_kind(sql, is_allowed)?;
    if !is_streamed {
        let whole = session.query(sql, &request.default_format, &request.parameters)?;
        out.begin(Head { format, summary: whole.summary() });
        return out.send(whole.bytes());
    }
    let mut stream = session.stream(sql, &request.default_format, &request.parameters)?;
    // The next chunk is fetched before one is sent: what fails early is then still a plain error,
    // and a result of one chunk has its whole summary.
    let mut header = RepeatedHeader::new(&format);
    let mut summary = Summary::default();
    let mut current = stream.next()?;
    summary.add(current.as_ref().map_or_else(Summary::default, |chunk| chunk.summary()));
    let mut following = match current {
        Some(_) => stream.next()?,
        None => None,
    };
    out.begin(Head { format, summary });
    while let Some(chunk) = current {
        out.send(header.strip(chunk.bytes()))?;
        current = following.take();
        if current.is_some() {
            following = stream.next()?;
        }
    }
    Ok(())
}

/// A connection with the request's database and settings.
fn prepare(
    engine: &Engine,
    request: &QueryRequest,
    access: Access,
    own_settings: &[String],
) -> Result<Session, Exception> {
    let session = engine.open(access, own_settings)?;
    session.set(&request.settings)?;
    if let Some(database) = &request.database {
        session.use_database(database)?;
    }
    Ok(session)
}

fn body_error(error: &io::Error) -> Exception {
    use crate::compression::FrameError;
    match error.get_ref().and_then(|inner| inner.downcast_ref::<FrameError>()) {
        Some(inner @ FrameError::Checksum) => {
            Exception::new(code::CHECKSUM_DOESNT_MATCH, "CHECKSUM_DOESNT_MATCH", &inner.to_string())
        }
        Some(inner @ FrameError::Method(_)) => Exception::new(
            code::UNKNOWN_COMPRESSION_METHOD,
            "UNKNOWN_COMPRESSION_METHOD",
            &inner.to_string(),
        ),
        Some(inner @ FrameError::Damaged) => {
            Exception::new(code::CANNOT_DECOMPRESS, "CANNOT_DECOMPRESS", &inner.to_string())
        }
        None if error.kind() == io::ErrorKind::TimedOut => Exception::new(
            code::SOCKET_TIMEOUT,
            "SOCKET_TIMEOUT",
            "Timeout exceeded: the body stopped coming",
        ),
        None => Exception::new(
            code::INCORRECT_DATA,
            "INCORRECT_DATA",
            &format!("the body broke off or is damaged ({error})"),
        ),
    }
}

/// The answer as it is being given.
struct Answer {
    head: Option<oneshot::Sender<Result<Head, Exception>>>,
    answer: AnswerSender,
    packing: Packing,
}

impl Answer {
    fn begin(&mut self, head: Head) {
        if let Some(sender) = self.head.take() {
            // A client that has gone is noticed at the first chunk.
            let _ = sender.send(Ok(head));
        }
    }

    fn send(&self, data: &[u8]) -> Result<(), Exception> {
        for piece in data.chunks(RESULT_CHUNK_BYTES) {
            let piece = match self.packing {
                Packing::Plain | Packing::Lz4Frame => Bytes::copy_from_slice(piece),
                Packing::Blocks => Bytes::from(compression::block(piece)),
            };
            self.answer.send(Ok(piece)).map_err(|_| {
                Exception::new(
                    code::SOCKET_TIMEOUT,
                    "SOCKET_TIMEOUT",
                    "the client stopped taking the result",
                )
            })?;
        }
        Ok(())
    }

    fn fail(mut self, error: Exception) {
        if let Some(sender) = self.head.take() {
            let _ = sender.send(Err(error));
            return;
        }
        let text = format!("{}\n", error.message);
        if self.send(text.as_bytes()).is_ok() {
            let _ = self.answer.send(Err(io::ErrorKind::ConnectionAborted.into()));
        }
    }
}
