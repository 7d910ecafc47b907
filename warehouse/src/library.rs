//! The C functions of `libchdb.so` that are used, found at run time.
//!
//! Who owns what, from chdb-core's `chdb.h`: every `chdb_result *` is ours and goes to
//! `chdb_destroy_query_result`; error texts and buffers belong to their result or stream; an
//! insert stream is never null and always goes to `chdb_destroy_insert_stream`, finished or not;
//! parameters are copied during the call. A connection runs one statement at a time.

use crate::WarehouseError;
use std::ffi::{c_char, c_int, c_void};
use std::path::Path;

/// `chdb_connection`: what the functions want. `chdb_connect` gives a pointer to it.
pub type Connection = *mut c_void;
/// `chdb_result *`.
pub type ResultHandle = *mut c_void;
/// `chdb_insert_stream`.
pub type InsertHandle = *mut c_void;

/// `chdb_query_analysis_v1`.
#[repr(C)]
pub struct Analysis {
    pub struct_size: u32,
    pub statement_count: u32,
    pub flags: u32,
    pub query_class: u32,
}

pub type Text = *const c_char;
/// Connection, statement, format, then parallel arrays of `{name:Type}` parameters and their count.
pub type StartFn = unsafe extern "C" fn(
    Connection,
    Text,
    usize,
    Text,
    usize,
    *const Text,
    *const usize,
    *const Text,
    *const usize,
    usize,
) -> *mut c_void;

macro_rules! library {
    ($($(#[$doc:meta])* $name:ident: $symbol:literal as $type:ty;)*) => {
        /// The functions, each with its name in the library.
        pub struct Library {
            $($(#[$doc])* pub $name: $type,)*
        }

        impl Library {
            unsafe fn functions(library: &libloading::Library) -> Result<Self, libloading::Error> {
                // SAFETY: the types are those of `chdb.h` of the pinned version.
                unsafe { Ok(Self { $($name: *library.get::<$type>($symbol)?,)* }) }
            }
        }
    };
}

library! {
    connect: c"chdb_connect" as unsafe extern "C" fn(c_int, *const Text) -> *mut Connection;
    close: c"chdb_close_conn" as unsafe extern "C" fn(*mut Connection);
    version: c"chdb_version" as unsafe extern "C" fn() -> Text;
    /// Runs a statement and holds its whole result.
    query: c"chdb_query_with_params_n" as StartFn;
    /// Starts a `SELECT` whose result is fetched in chunks.
    stream_query: c"chdb_stream_query_with_params_n" as StartFn;
    /// An empty chunk is the end.
    fetch: c"chdb_stream_fetch_result" as unsafe extern "C" fn(Connection, ResultHandle) -> ResultHandle;
    cancel_query: c"chdb_stream_cancel_query" as unsafe extern "C" fn(Connection, ResultHandle);
    destroy_result: c"chdb_destroy_query_result" as unsafe extern "C" fn(ResultHandle);
    /// Starts an insert whose data is appended.
    stream_insert: c"chdb_stream_insert_with_params_n" as StartFn;
    append: c"chdb_stream_append" as unsafe extern "C" fn(InsertHandle, *const c_void, usize) -> c_int;
    done: c"chdb_stream_done" as unsafe extern "C" fn(InsertHandle) -> ResultHandle;
    cancel_insert: c"chdb_stream_cancel_insert" as unsafe extern "C" fn(InsertHandle);
    insert_error: c"chdb_stream_insert_error" as unsafe extern "C" fn(InsertHandle) -> Text;
    destroy_insert: c"chdb_destroy_insert_stream" as unsafe extern "C" fn(InsertHandle);
    buffer: c"chdb_result_buffer" as unsafe extern "C" fn(ResultHandle) -> *const c_char;
    length: c"chdb_result_length" as unsafe extern "C" fn(ResultHandle) -> usize;
    error: c"chdb_result_error" as unsafe extern "C" fn(ResultHandle) -> Text;
    result_rows: c"chdb_result_rows_read" as unsafe extern "C" fn(ResultHandle) -> u64;
    result_bytes: c"chdb_result_bytes_read" as unsafe extern "C" fn(ResultHandle) -> u64;
    read_rows: c"chdb_result_storage_rows_read" as unsafe extern "C" fn(ResultHandle) -> u64;
    read_bytes: c"chdb_result_storage_bytes_read" as unsafe extern "C" fn(ResultHandle) -> u64;
    written_rows: c"chdb_result_rows_written" as unsafe extern "C" fn(ResultHandle) -> u64;
    written_bytes: c"chdb_result_bytes_written" as unsafe extern "C" fn(ResultHandle) -> u64;
    /// Parses without running.
    classify: c"chdb_classify_query_n" as unsafe extern "C" fn(Connection, Text, usize, Text, usize, *mut Analysis) -> c_int;
    set_signal_handlers: c"chdb_set_signal_handlers_enabled" as unsafe extern "C" fn(c_int);
}

impl Library {
    /// Loads the library, for the life of the process: its threads and exit handlers outlive any
    /// moment at which it could be unloaded.
    pub fn load(path: &Path) -> Result<&'static Self, WarehouseError> {
        let unusable = |reason: String| WarehouseError::Library { path: path.to_owned(), reason };
        if !path.is_file() {
            return Err(unusable("there is no such file".to_owned()));
        }
        // SAFETY: the file is the pinned engine, whose initialisers may run in this process.
        let library = unsafe { libloading::Library::new(path) }
            .map_err(|error| unusable(format!("it does not load ({error})")))?;
        let library: &'static libloading::Library = Box::leak(Box::new(library));
        // SAFETY: see `functions`.
        let functions = unsafe { Self::functions(library) }
            .map_err(|error| unusable(format!("a function is missing ({error})")))?;
        Ok(Box::leak(Box::new(functions)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_cannot_be_used_is_one_clear_line() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("libchdb.so");
        let missing = Library::load(&text).map(|_| ()).unwrap_err().to_string();
        std::fs::write(&text, "no library").unwrap();
        let damaged = Library::load(&text).map(|_| ()).unwrap_err().to_string();
        for (line, reason) in [(missing, "no such file"), (damaged, "does not load")] {
            assert!(line.contains(reason) && line.contains(text.to_str().unwrap()), "{line}");
            assert!(line.contains("make engine") && !line.contains('\n'), "{line}");
        }
    }
}
