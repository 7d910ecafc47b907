//! The tables and views of ClickHouse: numbered files, append-only. A file that has been released
//! is never edited; a change is a new file with the next number.

/// One numbered file of statements, each ending in `;` at the end of a line. `{on_cluster}` and
/// `{replicated}` stand where one node and a replicated cluster differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlFile {
    pub number: u32,
    /// Its file name, for people.
    pub name: &'static str,
    pub text: &'static str,
}

macro_rules! sql_file {
    ($number:literal, $name:literal) => {
        SqlFile { number: $number, name: $name, text: include_str!(concat!("../sql/", $name)) }
    };
}

/// Where it is recorded which files a database has; applied before anything else.
pub const MIGRATIONS: SqlFile = sql_file!(0, "0000_migrations.sql");

/// Every file in the order of application.
pub const FILES: &[SqlFile] = &[
    sql_file!(1, "0001_clicks.sql"),
    sql_file!(2, "0002_postbacks.sql"),
    sql_file!(3, "0003_conversions.sql"),
    sql_file!(4, "0004_refused.sql"),
    sql_file!(5, "0005_dead_letters.sql"),
    sql_file!(6, "0006_commands.sql"),
    sql_file!(7, "0007_deliveries.sql"),
    sql_file!(8, "0008_erasures.sql"),
    sql_file!(9, "0009_redecisions.sql"),
    sql_file!(10, "0010_funnel_key.sql"),
];

/// How long the rows of some tables are kept, unless an operator says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// What operators call them.
    pub name: &'static str,
    pub tables: &'static [&'static str],
    /// Rows expire by this; it never changes for a row's identity.
    pub time_column: &'static str,
    /// `None`: for ever.
    pub default_days: Option<u32>,
    /// The least that an operator may choose.
    pub least_days: u32,
    /// By months, so that expired rows go by whole parts.
    pub is_partitioned: bool,
}

/// Every table, with how long its rows are kept. What statements are made of never expires by
/// itself, and never before a reversal could still concern it.
pub const KEEPING: &[Keeping] = &[
    Keeping {
        name: "clicks",
        tables: &["clicks"],
        time_column: "clicked_at",
        default_days: Some(400),
        least_days: 1,
        is_partitioned: true,
    },
    Keeping {
        name: "postbacks",
        tables: &["postbacks", "redecisions"],
        time_column: "received_at",
        default_days: Some(400),
        least_days: 1,
        is_partitioned: true,
    },
    Keeping {
        name: "conversions",
        tables: &["conversions", "conversions_latest"],
        time_column: "received_at",
        default_days: None,
        least_days: 400,
        is_partitioned: true,
    },
    Keeping {
        name: "refused",
        tables: &["refused"],
        time_column: "refused_at",
        default_days: Some(90),
        least_days: 1,
        is_partitioned: true,
    },
    Keeping {
        name: "dead_letters",
        tables: &["dead_letters"],
        time_column: "found_at",
        default_days: Some(90),
        least_days: 1,
        is_partitioned: false,
    },
    Keeping {
        name: "erasures",
        tables: &["erasures"],
        time_column: "requested_at",
        default_days: None,
        least_days: 400,
        is_partitioned: false,
    },
    Keeping {
        // Clicks live on in their ids, for as long as advertisers send them back.
        name: "erased_clicks",
        tables: &["erased_clicks"],
        time_column: "erased_at",
        default_days: None,
        least_days: 400,
        is_partitioned: false,
    },
    Keeping {
        name: "commands",
        tables: &["commands"],
        time_column: "decided_at",
        default_days: None,
        least_days: 400,
        is_partitioned: false,
    },
    Keeping {
        name: "deliveries",
        tables: &["deliveries"],
        time_column: "created_at",
        default_days: Some(400),
        least_days: 4,
        is_partitioned: true,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_numbered_without_gaps_and_all_embedded() {
        for (index, file) in FILES.iter().enumerate() {
            assert_eq!(file.number as usize, index + 1, "{}", file.name);
            assert!(file.name.starts_with(&format!("{:04}_", file.number)), "{}", file.name);
        }
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/sql");
        let on_disk = std::fs::read_dir(folder).unwrap().count();
        assert_eq!(on_disk, FILES.len() + 1, "a file of {folder} is not in the list");
    }

    /// What the sink's promise of exactly-once rows rests on, for every table.
    #[test]
    fn every_table_collapses_repeats_and_is_synced() {
        for file in FILES {
            for statement in file.text.split(';').filter(|s| s.contains("CREATE TABLE")) {
                for needed in [
                    "{replicated}ReplacingMergeTree",
                    "non_replicated_deduplication_window = ",
                    "replicated_deduplication_window = ",
                    "fsync_after_insert = 1",
                    "fsync_part_directory = 1",
                ] {
                    assert!(statement.contains(needed), "{}: no {needed}", file.name);
                }
            }
        }
    }

    #[test]
    fn every_table_says_how_long_its_rows_are_kept() {
        for file in FILES {
            for statement in file.text.split(';') {
                let Some((_, rest)) = statement.split_once("CREATE TABLE IF NOT EXISTS ") else {
                    continue;
                };
                let table = rest.split_whitespace().next().unwrap_or_default();
                let keeping = KEEPING.iter().find(|keeping| keeping.tables.contains(&table));
                let keeping = keeping.unwrap_or_else(|| panic!("{table} is not in KEEPING"));
                let column = format!(" {} ", keeping.time_column);
                assert!(rest.contains(&column), "{table} has no column{column}");
                let by_months = format!("PARTITION BY toYYYYMM({})", keeping.time_column);
                assert_eq!(rest.contains(&by_months), keeping.is_partitioned, "{table}");
            }
        }
    }

    #[test]
    fn every_statement_can_be_repeated_and_reaches_the_cluster() {
        for file in FILES.iter().chain([&MIGRATIONS]) {
            for line in file.text.lines().filter(|line| line.starts_with("CREATE")) {
                let is_repeatable =
                    line.contains("IF NOT EXISTS") || line.starts_with("CREATE OR REPLACE VIEW");
                assert!(is_repeatable, "{}: {line}", file.name);
                assert!(line.contains("{on_cluster}"), "{}: {line}", file.name);
            }
        }
    }
}
