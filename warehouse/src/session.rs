//! One connection to the engine, opened for one statement, so that nothing a statement sets is
//! there for the next one. Opening takes a fifth of a millisecond.
//!
//! Everything here blocks, and runs on the pool's threads only.

use crate::exception::{Exception, code};
use crate::library::{Analysis, Connection, InsertHandle, Library, ResultHandle, Text};
use std::ffi::{CStr, CString, c_int};

/// `CHDB_QUERY_CONTROL` of `chdb.h`.
const CLASS_CONTROL: u32 = 3;

/// Rows and bytes of a statement, for `X-ClickHouse-Summary`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub read_rows: u64,
    pub read_bytes: u64,
    pub written_rows: u64,
    pub written_bytes: u64,
    pub result_rows: u64,
    pub result_bytes: u64,
}

impl Summary {
    pub fn add(&mut self, other: Self) {
        self.read_rows += other.read_rows;
        self.read_bytes += other.read_bytes;
        self.written_rows += other.written_rows;
        self.written_bytes += other.written_bytes;
        self.result_rows += other.result_rows;
        self.result_bytes += other.result_bytes;
    }
}

/// Named values of `{name:Type}` places; the engine binds them.
pub type Parameters = [(String, String)];

/// An open connection. Dropping it closes it.
pub struct Session {
    library: &'static Library,
    connection: *mut Connection,
}

// SAFETY: `chdb.h` lets a connection be used from any thread, one at a time; `Session` is not
// `Sync` and every use borrows it.
unsafe impl Send for Session {}

impl Session {
    /// Opens a connection. `arguments` are the engine's, the program's name left out.
    pub fn open(library: &'static Library, arguments: &[String]) -> Result<Self, Exception> {
        let refused = |why: &str| {
            Exception::new(
                code::UNKNOWN_EXCEPTION,
                "UNKNOWN_EXCEPTION",
                &format!("The engine gives no connection: {why}"),
            )
        };
        let arguments = std::iter::once("chdb")
            .chain(arguments.iter().map(String::as_str))
            .map(CString::new)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| refused("a setting holds a zero byte"))?;
        let pointers: Vec<Text> = arguments.iter().map(|argument| argument.as_ptr()).collect();
        // SAFETY: the pointers live until the call returns; the engine copies them.
        let connection = unsafe { (library.connect)(pointers.len() as c_int, pointers.as_ptr()) };
        // SAFETY: a connection that is not null points to its handle.
        if connection.is_null() || unsafe { (*connection).is_null() } {
            return Err(refused("see its log"));
        }
        Ok(Self { library, connection })
    }

    fn handle(&self) -> Connection {
        // SAFETY: checked in `open`, and closed in `drop` only.
        unsafe { *self.connection }
    }

    /// `SET name = 'value'` for each; the engine checks names, values and constraints.
    pub fn set(&self, settings: &[(String, String)]) -> Result<(), Exception> {
        if settings.is_empty() {
            return Ok(());
        }
        let list: Vec<String> = settings
            .iter()
            .map(|(name, value)| format!("{} = {}", quote(name, '`'), quote(value, '\'')))
            .collect();
        self.query(&format!("SET {}", list.join(", ")), "TabSeparated", &[]).map(|_| ())
    }

    /// `USE database`.
    pub fn use_database(&self, database: &str) -> Result<(), Exception> {
        self.query(&format!("USE {}", quote(database, '`')), "TabSeparated", &[]).map(|_| ())
    }

    /// Refuses a text that holds more than one statement, or one that would act beside the
    /// engine, as the engine's own parser sees it, unless `first_word_allowed`: it is one of those that may.
    pub fn check_kind(&self, sql: &str, first_word_allowed: bool) -> Result<(), Exception> {
        let mut analysis = Analysis {
            struct_size: std::mem::size_of::<Analysis>() as u32,
            statement_count: 0,
            flags: 0,
            query_class: 0,
        };
        let text = sql.as_ptr().cast();
        // SAFETY: text and length belong together; the engine writes into `analysis` only.
        let state = unsafe {
            (self.library.classify)(
                self.handle(),
                text,
                sql.len(),
                std::ptr::null(),
                0,
                &raw mut analysis,
            )
        };
        if state == 0 && analysis.statement_count > 1 {
            return Err(Exception::new(
                code::SYNTAX_ERROR,
                "SYNTAX_ERROR",
                "Syntax error: Multi-statements are not allowed",
            ));
        }
        if state != 0 || analysis.query_class == CLASS_CONTROL && !first_word_allowed {
            return Err(Exception::new(
                code::ACCESS_DENIED,
                "ACCESS_DENIED",
                "Not enough privileges: the statement acts outside of the engine's tables, which is off here",
            ));
        }
        Ok(())
    }

    fn start(
        &self,
        function: crate::library::StartFn,
        sql: &str,
        format: &str,
        parameters: &Parameters,
    ) -> *mut std::ffi::c_void {
        let names: Vec<Text> = parameters.iter().map(|(name, _)| name.as_ptr().cast()).collect();
        let name_lens: Vec<usize> = parameters.iter().map(|(name, _)| name.len()).collect();
        let values: Vec<Text> = parameters.iter().map(|(_, value)| value.as_ptr().cast()).collect();
        let value_lens: Vec<usize> = parameters.iter().map(|(_, value)| value.len()).collect();
        // SAFETY: every pointer goes with its length, and lives until the call returns, by when
        // the engine has copied what it keeps.
        unsafe {
            function(
                self.handle(),
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                names.as_ptr(),
                name_lens.as_ptr(),
                values.as_ptr(),
                value_lens.as_ptr(),
                parameters.len(),
            )
        }
    }

    /// Runs a statement to its end; its result is held whole.
    pub fn query(
        &self,
        sql: &str,
        format: &str,
        parameters: &Parameters,
    ) -> Result<Chunk, Exception> {
        Chunk::new(self.library, self.start(self.library.query, sql, format, parameters))
    }

    /// Starts a query whose result comes in chunks.
    pub fn stream(
        &self,
        sql: &str,
        format: &str,
        parameters: &Parameters,
    ) -> Result<Stream<'_>, Exception> {
        let handle = self.start(self.library.stream_query, sql, format, parameters);
        let start = Chunk::new(self.library, handle)?;
        Ok(Stream { session: self, start, ended: false })
    }

    /// Starts an insert. `sql` ends before its `FORMAT`.
    pub fn insert(
        &self,
        sql: &str,
        format: &str,
        parameters: &Parameters,
    ) -> Result<InsertStream<'_>, Exception> {
        let handle = self.start(self.library.stream_insert, sql, format, parameters);
        let stream = InsertStream { session: self, handle, ended: false };
        match stream.error() {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: opened by `connect`, closed once.
        unsafe { (self.library.close)(self.connection) };
    }
}

/// A piece of a result.
pub struct Chunk {
    library: &'static Library,
    handle: ResultHandle,
}

impl Chunk {
    fn new(library: &'static Library, handle: ResultHandle) -> Result<Self, Exception> {
        if handle.is_null() {
            return Err(Exception::from_engine("the engine gave no result"));
        }
        let chunk = Self { library, handle };
        // SAFETY: the handle is a result; its text lives as long as it does.
        match text(unsafe { (library.error)(handle) }) {
            Some(error) => Err(Exception::from_engine(&error)),
            None => Ok(chunk),
        }
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the buffer has this length and lives as long as the result.
        unsafe {
            let (buffer, length) =
                ((self.library.buffer)(self.handle), (self.library.length)(self.handle));
            if buffer.is_null() || length == 0 {
                return &[];
            }
            std::slice::from_raw_parts(buffer.cast(), length)
        }
    }

    #[must_use]
    pub fn summary(&self) -> Summary {
        let library = self.library;
        // SAFETY: the handle is a result.
        unsafe {
            Summary {
                read_rows: (library.read_rows)(self.handle),
                read_bytes: (library.read_bytes)(self.handle),
                written_rows: (library.written_rows)(self.handle),
                written_bytes: (library.written_bytes)(self.handle),
                result_rows: (library.result_rows)(self.handle),
                result_bytes: (library.result_bytes)(self.handle),
            }
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { (self.library.destroy_result)(self.handle) };
    }
}

/// A result that comes in chunks. Dropping it early stops the query.
pub struct Stream<'s> {
    session: &'s Session,
    start: Chunk,
    ended: bool,
}

impl Stream<'_> {
    /// The next chunk; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Chunk>, Exception> {
        if self.ended {
            return Ok(None);
        }
        let library = self.session.library;
        // SAFETY: the stream belongs to this connection, which is borrowed.
        let handle = unsafe { (library.fetch)(self.session.handle(), self.start.handle) };
        let chunk = Chunk::new(library, handle).inspect_err(|_| self.ended = true)?;
        // The end is an empty chunk; counts of rows are no sign, a footer has none.
        self.ended = chunk.bytes().is_empty();
        Ok(if self.ended { None } else { Some(chunk) })
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let library = self.session.library;
            // SAFETY: as in `next`; `start` is destroyed after this.
            unsafe { (library.cancel_query)(self.session.handle(), self.start.handle) };
        }
    }
}

/// An insert that takes data. Dropping it unfinished gives it up.
pub struct InsertStream<'s> {
    session: &'s Session,
    handle: InsertHandle,
    ended: bool,
}

impl InsertStream<'_> {
    fn error(&self) -> Option<Exception> {
        // SAFETY: the text belongs to the stream.
        text(unsafe { (self.session.library.insert_error)(self.handle) })
            .map(|error| Exception::from_engine(&error))
    }

    /// Hands over a piece of data, cut anywhere; waits while the engine is behind.
    pub fn append(&mut self, data: &[u8]) -> Result<(), Exception> {
        // SAFETY: data and length belong together; the engine copies.
        let state =
            unsafe { (self.session.library.append)(self.handle, data.as_ptr().cast(), data.len()) };
        match state {
            0 => Ok(()),
            _ => Err(self.error().unwrap_or_else(|| Exception::from_engine("the insert failed"))),
        }
    }

    /// Commits. After `Ok` the rows are in the table.
    pub fn finish(mut self) -> Result<Summary, Exception> {
        self.ended = true;
        // SAFETY: the stream is open; the result is ours.
        let handle = unsafe { (self.session.library.done)(self.handle) };
        Chunk::new(self.session.library, handle).map(|chunk| chunk.summary())
    }
}

impl Drop for InsertStream<'_> {
    fn drop(&mut self) {
        let library = self.session.library;
        // SAFETY: destroyed once, on every path; given up first when it was not finished.
        unsafe {
            if !self.ended {
                (library.cancel_insert)(self.handle);
            }
            (library.destroy_insert)(self.handle);
        }
    }
}

fn text(pointer: Text) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the engine's texts end in a zero byte.
    let text = unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned();
    (!text.is_empty()).then_some(text)
}

/// A name or string as the engine reads it back, whatever it holds.
fn quote(text: &str, quote: char) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(quote);
    for character in text.chars() {
        if character == quote || character == '\\' {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push(quote);
    quoted
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn quoting_leaves_no_way_out() {
        let cases = [("a", "'a'"), ("a'b", "'a\\'b'"), ("a\\", "'a\\\\'"), ("\\'", "'\\\\\\''")];
        for (text, expected) in cases {
            assert_eq!(quote(text, '\''), expected);
        }
        assert_eq!(quote("a`b", '`'), "`a\\`b`");
    }
}
