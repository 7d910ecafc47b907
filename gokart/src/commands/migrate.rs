//! `migrate`: brings ClickHouse's tables up to date.

use super::{Failure, output};
use crate::cli::asking::Migrate;
use crate::settings;
use service::ServiceError;

/// The embedded ClickHouse's writing token in the data directory.
const WRITE_TOKEN: &str = "warehouse-write.token";

pub async fn run(ask: &Migrate) -> Result<(), Failure> {
    let mut config = settings::clickhouse(&ask.clickhouse).map_err(failure)?;
    config.retention = ask.retention.table_retention.clone();
    if config.password.is_none() {
        // Without one given, an embedded ClickHouse of this machine is meant, if there is one.
        config.password =
            std::fs::read_to_string(ask.data.join(WRITE_TOKEN)).ok().map(|it| it.trim().to_owned());
    }
    let report = sink::migrate(&config).await.map_err(|error| failure(error.into()))?;
    let mut text = String::new();
    for name in &report.applied {
        text.push_str(&format!("applied {name}\n"));
    }
    text.push_str(&match report.applied.len() {
        0 => format!("All {} files were there already.\n", report.present),
        count => format!("{count} files applied, {} were there already.\n", report.present),
    });
    for statement in &report.retention {
        text.push_str(&format!("{statement}\n"));
    }
    text.push_str(&format!("Rows are kept: {}.\n", config.retention));
    output::print(&text)
}

fn failure(error: ServiceError) -> Failure {
    match error {
        ServiceError::Configuration(message) => Failure::configuration(message),
        ServiceError::Failed(message) => Failure::failed(message),
    }
}
