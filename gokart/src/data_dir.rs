//! The data directory: everything that this installation keeps on this machine.
//!
//! | path | what |
//! | --- | --- |
//! | `log/` | the local event log |
//! | `state/` | on Kafka: the processor's local store |
//! | `clickhouse/` | the embedded ClickHouse's tables |
//! | `master.keys` | the development master key |
//! | `admin.token`, `warehouse-read.token`, `warehouse-write.token` | access tokens |
//!
//! Secrets are readable by their owner only.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use service::ServiceError;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Random bytes in a token.
const TOKEN_BYTES: usize = 32;

pub struct DataDir {
    path: PathBuf,
}

/// A secret that was read, or made just now.
pub struct Secret {
    pub value: String,
    pub is_new: bool,
}

impl DataDir {
    /// Makes the directory if it is not there, and makes sure that it can be written.
    pub fn open(path: &Path) -> Result<Self, ServiceError> {
        let unusable = |error: std::io::Error| {
            ServiceError::Failed(format!(
                "the data directory {} cannot be used: {error}; make it writable for this user or choose another with --data",
                path.display()
            ))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let probe = path.join(format!(".writable-{}", std::process::id()));
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&probe)
            .map_err(unusable)?;
        std::fs::remove_file(&probe).map_err(unusable)?;
        // From here on the same place, whoever uses it: the engine resolves relative paths its own
        // way.
        Ok(Self { path: path.canonicalize().map_err(unusable)? })
    }

    /// The directory itself, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The secret in the file `name`, made by `make` if there is none yet.
    pub fn secret(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<String, ServiceError>,
    ) -> Result<Secret, ServiceError> {
        let path = self.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                refuse_if_open_to_others(&path)?;
                return Ok(Secret { value: text.trim().to_owned(), is_new: false });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(cannot("read", &path, &error)),
        }
        let value = make()?;
        // Written beside and renamed, so that a crash leaves a whole secret or none.
        let part = self.join(&format!(".{name}.{}", std::process::id()));
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&part)?;
            writeln!(file, "{}", value.trim())?;
            file.sync_all()?;
            std::fs::rename(&part, &path)
        };
        write().map_err(|error| cannot("write", &path, &error))?;
        Ok(Secret { value: value.trim().to_owned(), is_new: true })
    }

    /// An access token in the file `name`, made at random if there is none yet.
    pub fn token(&self, name: &str) -> Result<String, ServiceError> {
        Ok(self.secret(name, random_token)?.value)
    }
}

fn random_token() -> Result<String, ServiceError> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| ServiceError::Failed(format!("no randomness for a token: {error}")))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// A secret of the user's own in a file of the user's own.
pub fn read_secret_file(path: &Path, flag: &str) -> Result<String, ServiceError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        ServiceError::Configuration(format!("{flag} {}: {error}", path.display()))
    })?;
    match text.trim() {
        "" => Err(ServiceError::Configuration(format!("{flag} {}: it is empty", path.display()))),
        value => Ok(value.to_owned()),
    }
}

fn refuse_if_open_to_others(path: &Path) -> Result<(), ServiceError> {
    let mode = std::fs::metadata(path).map_err(|e| cannot("read", path, &e))?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(ServiceError::Configuration(format!(
        "the secret {} can be read by others (mode {:o}); run: chmod 600 {}",
        path.display(),
        mode & 0o777,
        path.display()
    )))
}

fn cannot(verb: &str, path: &Path, error: &std::io::Error) -> ServiceError {
    ServiceError::Failed(format!("cannot {verb} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(&dir.path().join("new")).unwrap();
        let first = data.token("admin.token").unwrap();
        assert_eq!(first.len(), 43);
        assert_eq!(data.token("admin.token").unwrap(), first);
        let path = data.join("admin.token");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = data.token("admin.token").unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
        assert_eq!(error.exit_code(), 78);
    }

    #[test]
    fn a_file_in_the_way_is_said_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "").unwrap();
        let error = DataDir::open(&path).err().map(|e| e.to_string()).unwrap();
        assert!(error.contains("--data") && !error.contains('\n'), "{error}");
    }
}
