//! The one place where the time comes from. Edges get a [`Clock`]; the rules get numbers.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells Unix time in milliseconds.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The machine's.
    System,
    /// The number in a file, so that a test can say when seven days have passed. The last number
    /// that could be read holds while the file is being replaced.
    File { path: Arc<PathBuf>, last_ms: Arc<AtomicI64> },
    /// Set by the test itself.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that is read from a file of decimal milliseconds.
    pub fn from_file(path: PathBuf) -> Result<Self, crate::ServiceError> {
        match read(&path) {
            Some(ms) => {
                Ok(Self::File { path: Arc::new(path), last_ms: Arc::new(AtomicI64::new(ms)) })
            }
            None => Err(crate::ServiceError::Configuration(format!(
                "the clock file {} does not hold a number of milliseconds since 1970",
                path.display()
            ))),
        }
    }

    #[must_use]
    pub fn manual(ms: i64) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(ms)))
    }

    /// Sets a manual clock; any other kind keeps its own time.
    pub fn set(&self, ms: i64) {
        if let Self::Manual(now) = self {
            now.store(ms, Ordering::SeqCst);
        }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn now(&self) -> i64 {
        match self {
            Self::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            Self::File { path, last_ms } => match read(path) {
                Some(ms) => {
                    last_ms.store(ms, Ordering::Relaxed);
                    ms
                }
                None => last_ms.load(Ordering::Relaxed),
            },
            Self::Manual(now) => now.load(Ordering::SeqCst),
        }
    }
}

fn read(path: &std::path::Path) -> Option<i64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_can_be_the_clock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("now");
        assert!(Clock::from_file(path.clone()).is_err());
        std::fs::write(&path, "1000\n").unwrap();
        let clock = Clock::from_file(path.clone()).unwrap();
        assert_eq!(clock.now(), 1000);
        std::fs::write(&path, "2000").unwrap();
        assert_eq!(clock.now(), 2000);
        std::fs::write(&path, "").unwrap();
        assert_eq!(clock.now(), 2000, "a half-written file does not turn time back");
    }
}
