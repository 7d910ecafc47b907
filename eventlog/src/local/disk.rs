//! What the machine says: free space, the time, and what a storage error means to people.

use crate::OpenError;
use schemas::UnixMillis;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The wall clock; a machine whose clock stands before 1970 counts as 1970.
#[must_use]
pub fn wall_clock() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Bytes that an ordinary user may still write where `dir` is.
pub fn free_bytes(dir: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Makes the directory and shows that files can be written in it.
pub fn prepare(dir: &Path) -> Result<(), OpenError> {
    let say = |error: std::io::Error| OpenError::Unavailable(explain_io(dir, &error));
    std::fs::create_dir_all(dir).map_err(say)?;
    let probe = dir.join(".writable");
    std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe)).map_err(say)
}

/// One line about a storage error at `dir`: what happened and what to do.
#[must_use]
pub fn explain(dir: &Path, error: &fjall::Error) -> String {
    let place = dir.display();
    match error {
        fjall::Error::Locked => format!(
            "the event log in {place} is in use by another process; stop that one or choose \
             another data directory"
        ),
        fjall::Error::Poisoned => format!(
            "the event log in {place} stopped after a failed write; see the first error, check \
             the disk, and start again"
        ),
        fjall::Error::InvalidVersion(_) => format!(
            "the event log in {place} was written by another version of the storage engine; use \
             that version or another data directory"
        ),
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            explain_io(dir, error)
        }
        other => format!(
            "the event log in {place} cannot be read ({other:?}); restore the directory from a \
             copy or move it away"
        ),
    }
}

fn explain_io(dir: &Path, error: &std::io::Error) -> String {
    let place = dir.display();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            format!("the disk of the event log in {place} is full; free some space")
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => format!(
            "the event log's directory {place} cannot be written ({error}); check who owns it"
        ),
        _ => format!("the event log's directory {place} cannot be used: {error}"),
    }
}
