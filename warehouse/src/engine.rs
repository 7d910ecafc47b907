//! The engine of this process: there can be one.

use crate::config::WarehouseConfig;
use crate::library::Library;
use crate::session::Session;
use crate::{WarehouseError, engine_files};
use std::ffi::CStr;
use std::path::Path;

/// What a connection is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The engine refuses writes, and changes of this very setting.
    Read,
    Write,
}

/// The running engine. It lives as long as one connection is open; this keeps one.
pub struct Engine {
    library: &'static Library,
    keeper: Session,
    arguments: Vec<String>,
    timezone: String,
}

// SAFETY: `keeper` is only held, and used behind `&self` in `start` before anything is shared;
// `library` is functions, which the engine lets any thread call.
unsafe impl Sync for Engine {}

impl Engine {
    /// Loads the library and opens the data directory.
    pub fn start(config: &WarehouseConfig) -> Result<Self, WarehouseError> {
        let data_dir = &config.data_dir;
        let engine = |reason: String| WarehouseError::Engine { data_dir: data_dir.clone(), reason };
        let library = Library::load(&config.library)?;
        let unwritable = |error: std::io::Error| {
            WarehouseError::Failed(format!(
                "the warehouse's directory {} cannot be written: {error}; make it writable or choose another",
                data_dir.display()
            ))
        };
        std::fs::create_dir_all(data_dir).map_err(unwritable)?;
        // The engine joins a relative path to itself when it opens files.
        let data_dir = &data_dir.canonicalize().map_err(unwritable)?;
        let settings = engine_files::write(data_dir, &config.limits).map_err(unwritable)?;
        let arguments = vec![
            format!("--config-file={}", utf8(&settings)?),
            format!("--path={}", utf8(&data_dir.join("engine"))?),
            // As a server reads SQL, not as a shell does: no `SELECT` may be left out.
            "--implicit_select=0".to_owned(),
        ];
        // Signals are this process's own affair.
        // SAFETY: sets a flag.
        unsafe { (library.set_signal_handlers)(0) };
        let keeper = Session::open(library, &arguments)
            .map_err(|_| engine("another process may have it open, or its files are damaged; the lines above say which".to_owned()))?;
        let timezone = keeper
            .query("SELECT timezone()", "TabSeparatedRaw", &[])
            .map_err(|error| engine(error.message))?;
        let timezone = String::from_utf8_lossy(timezone.bytes()).trim().to_owned();
        Ok(Self { library, keeper, arguments, timezone })
    }

    /// The engine's version, e.g. `26.7.3`.
    #[must_use]
    pub fn version(&self) -> String {
        // SAFETY: a static text.
        unsafe { CStr::from_ptr((self.library.version)()) }.to_string_lossy().into_owned()
    }

    /// The time zone of times without one.
    #[must_use]
    pub fn timezone(&self) -> &str {
        &self.timezone
    }

    /// A connection for one statement. `settings` hold for it without being checked against the
    /// constraints: they are never a client's.
    pub fn open(
        &self,
        access: Access,
        settings: &[String],
    ) -> Result<Session, crate::exception::Exception> {
        let mut arguments = self.arguments.clone();
        arguments.extend_from_slice(settings);
        if access == Access::Read {
            arguments.push("--readonly=2".to_owned());
        }
        Session::open(self.library, &arguments)
    }

    /// Closes the engine, after every other connection: with its last one it stops its merges and
    /// leaves its files. Ending the process with one open can crash while tables merge.
    pub fn stop(self) {
        drop(self.keeper);
    }
}

fn utf8(path: &Path) -> Result<&str, WarehouseError> {
    path.to_str().ok_or_else(|| {
        WarehouseError::Configuration(format!(
            "the warehouse's directory {} is not UTF-8; choose another",
            path.display()
        ))
    })
}
