//! What the warehouse is told, and its limits.

use crate::WarehouseError;
use service::Readiness;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Statement text that is not insert data.
pub const STATEMENT_BYTES_MAX: usize = 1024 * 1024;
/// Rows of `INSERT … VALUES`: their expressions are looked at before they run, so they are held.
pub const VALUES_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A result in a format that only exists whole (JSON and the like).
pub const WHOLE_RESULT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Chunks of a body on the way between the network and an engine thread.
pub const BODY_CHUNKS_QUEUED: usize = 8;
/// Chunks of a result on the way back.
pub const RESULT_CHUNKS_QUEUED: usize = 4;
/// The largest piece of a result handed to the network at once.
pub const RESULT_CHUNK_BYTES: usize = 1024 * 1024;
/// What is still read of a body after its statement failed, so that the client sees the answer.
pub const DRAIN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// One block of ClickHouse's compression framing, uncompressed.
pub const BLOCK_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The shortest token that is accepted.
const TOKEN_BYTES_MIN: usize = 16;

const _: () = assert!(STATEMENT_BYTES_MAX <= VALUES_BYTES_MAX);
const _: () = assert!(RESULT_CHUNK_BYTES <= BLOCK_BYTES_MAX);

/// What one engine may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Statements that read, side by side.
    pub readers: usize,
    /// Statements that may write, side by side; apart, so that reports never keep rows out.
    pub writers: usize,
    /// Statements that wait for one of those; a further one is refused at once.
    pub queued: usize,
    /// How long one waits.
    pub queue_wait: Duration,
    /// How long a client may neither send nor take a byte while the engine waits for it.
    pub stall: Duration,
    /// The longest statement.
    pub execution: Duration,
    /// All memory of the engine.
    pub server_memory_bytes: u64,
    /// Memory of one statement.
    pub query_memory_bytes: u64,
    /// Index marks kept in memory.
    pub mark_cache_bytes: u64,
    /// For statements in flight after the stop signal.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            readers: 4,
            writers: 3,
            queued: 64,
            queue_wait: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            execution: Duration::from_secs(300),
            server_memory_bytes: 2 * 1024 * 1024 * 1024,
            query_memory_bytes: 1024 * 1024 * 1024,
            mark_cache_bytes: 64 * 1024 * 1024,
            drain: Duration::from_secs(20),
        }
    }
}

/// Everything the warehouse is told.
#[derive(Clone)]
pub struct WarehouseConfig {
    /// `libchdb.so`, loaded at run time.
    pub library: PathBuf,
    /// Everything the engine keeps; created when missing. One process at a time.
    pub data_dir: PathBuf,
    /// Loopback, unless `tokens_chosen`.
    pub listen: SocketAddr,
    /// Names a `Host` header may carry beside those of loopback and the listening address.
    pub host_names: Vec<String>,
    /// May only read.
    pub read_token: String,
    /// May read and write.
    pub write_token: String,
    /// The tokens are the user's own, not made on first run.
    pub tokens_chosen: bool,
    /// End when standard input does: a parent process holds its other end.
    pub exit_with_stdin: bool,
    pub limits: Limits,
    /// Where `warehouse: engine` is reported.
    pub readiness: Readiness,
}

impl WarehouseConfig {
    /// Says what is wrong before anything is started.
    pub fn validate(&self) -> Result<(), WarehouseError> {
        let wrong = |reason: String| Err(WarehouseError::Configuration(reason));
        for (name, token) in [("read", &self.read_token), ("write", &self.write_token)] {
            if token.len() < TOKEN_BYTES_MIN {
                return wrong(format!(
                    "the warehouse's {name} token is shorter than {TOKEN_BYTES_MIN} bytes; choose a longer one"
                ));
            }
        }
        if self.read_token == self.write_token {
            return wrong("the warehouse's two tokens are the same; choose two".to_owned());
        }
        if !self.listen.ip().is_loopback() && !self.tokens_chosen {
            return wrong(format!(
                "the warehouse would listen on {} with tokens nobody chose; set both tokens, or listen on 127.0.0.1",
                self.listen
            ));
        }
        if self.limits.readers == 0 || self.limits.writers == 0 {
            return wrong("the warehouse needs at least one reader and one writer".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listen: &str, read: &str, write: &str) -> WarehouseConfig {
        WarehouseConfig {
            library: PathBuf::new(),
            data_dir: PathBuf::new(),
            listen: listen.parse().unwrap(),
            host_names: Vec::new(),
            read_token: read.to_owned(),
            write_token: write.to_owned(),
            tokens_chosen: false,
            exit_with_stdin: false,
            limits: Limits::default(),
            readiness: Readiness::new(),
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let (a, b) = ("aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb");
        let cases = [
            (config("127.0.0.1:0", a, b), None),
            (config("[::1]:0", a, b), None),
            (config("0.0.0.0:0", a, b), Some("nobody chose")),
            (config("127.0.0.1:0", "", b), Some("shorter")),
            (config("127.0.0.1:0", a, a), Some("the same")),
        ];
        for (config, expected) in cases {
            let found = config.validate().err().map(|error| error.to_string());
            match (found, expected) {
                (None, None) => {}
                (Some(found), Some(expected)) => assert!(found.contains(expected), "{found}"),
                (found, expected) => panic!("{found:?} is not {expected:?}"),
            }
        }
        let chosen = WarehouseConfig { tokens_chosen: true, ..config("0.0.0.0:0", a, b) };
        assert!(chosen.validate().is_ok());
    }
}
