//! Structured logs on standard error. What is logged never holds a URL path, a signature or a
//! token: the places that see those do not log them.

use tracing_subscriber::EnvFilter;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Starts logging for this process; `filter` is in `RUST_LOG`'s language, e.g. `info,ingest=debug`.
pub fn init(format: LogFormat, filter: &str) -> Result<(), crate::ServiceError> {
    let wrong = |error: &dyn std::fmt::Display| {
        crate::ServiceError::Configuration(format!("the log filter {filter:?}: {error}"))
    };
    let filter_layer = EnvFilter::try_new(filter).map_err(|error| wrong(&error))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter_layer)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    let done = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    done.map_err(|error| wrong(&error))
}
