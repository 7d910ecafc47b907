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
    fn every_statement_can_be_repeated_and_reaches_the_cluster() {
        for file in FILES.iter().chain([&MIGRATIONS]) {
            for line in file.text.lines().filter(|line| line.starts_with("CREATE")) {
                assert!(line.contains("IF NOT EXISTS"), "{}: {line}", file.name);
                assert!(line.contains("{on_cluster}"), "{}: {line}", file.name);
            }
        }
    }
}
