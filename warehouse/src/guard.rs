//! What is refused before the engine sees it, for both tokens: the few ways to a file or to the
//! network which the engine does not ask a grant for. Everything else of that kind the engine
//! refuses itself (`engine_files`), and is listed here too as a second net.
//!
//! It errs on refusing: a name is looked for wherever it may stand, quoted or not.

use crate::exception::{Exception, code};
use crate::lexer::{Kind, Token, tokens};

/// Names that are refused wherever they stand, since a function may be named without a call
/// (`APPLY(file)`, `arrayMap(file, …)`): they read files, run programs, call models over the
/// network, or run SQL that is hidden in a string.
const NAMES: [&str; 9] = [
    "aiclassify",
    "aiembed",
    "aiextract",
    "aigenerate",
    "aitranslate",
    "catboostevaluate",
    "eval",
    "executable",
    "file",
];

/// Functions and table functions that are refused when called.
const CALLS: [&str; 57] = [
    "arrowflight",
    "azureblobstorage",
    "azureblobstoragecluster",
    "cluster",
    "clusterallreplicas",
    "cosn",
    "deltalake",
    "deltalakeazure",
    "deltalakeazurecluster",
    "deltalakecluster",
    "deltalakelocal",
    "deltalakes3",
    "deltalakes3cluster",
    "dictionary",
    "disk",
    "filecluster",
    "filesystem",
    "gcs",
    "hdfs",
    "hdfscluster",
    "hudi",
    "hudicluster",
    "iceberg",
    "icebergazure",
    "icebergazurecluster",
    "icebergcluster",
    "iceberghdfs",
    "iceberghdfscluster",
    "iceberglocal",
    "iceberglocalcluster",
    "icebergs3",
    "icebergs3cluster",
    "jdbc",
    "mongodb",
    "mysql",
    "odbc",
    "oss",
    "paimon",
    "paimonazure",
    "paimoncluster",
    "paimonhdfs",
    "paimonlocal",
    "paimons3",
    "paimons3cluster",
    "postgresql",
    "prometheusquery",
    "prometheusqueryrange",
    "python",
    "redis",
    "remote",
    "remotesecure",
    "s3",
    "s3cluster",
    "sqlite",
    "url",
    "urlcluster",
    "ytsaurus",
];

/// The engines a table or database may have.
const ENGINES: [&str; 21] = [
    "aggregatingmergetree",
    "atomic",
    "buffer",
    "coalescingmergetree",
    "collapsingmergetree",
    "graphitemergetree",
    "join",
    "log",
    "materializedview",
    "memory",
    "merge",
    "mergetree",
    "null",
    "replacingmergetree",
    "set",
    "stripelog",
    "summingmergetree",
    "tinylog",
    "versionedcollapsingmergetree",
    "view",
    "windowview",
];

/// Statements that are refused by their first word.
const STATEMENTS: [&str; 5] = ["attach", "backup", "detach", "restore", "execute"];

/// Whether a statement, or the rows of an `INSERT … VALUES`, may go to the engine.
pub fn check(sql: &[u8]) -> Result<(), Exception> {
    let all: Vec<Token<'_>> = tokens(sql).collect();
    let first = all.iter().find(|token| !token.is_symbol(b'(')).and_then(Token::name);
    if let Some(first) = first.filter(|first| STATEMENTS.contains(&first.as_str())) {
        return Err(refused(&format!("{} statements are off", first.to_ascii_uppercase())));
    }
    for (at, token) in all.iter().enumerate() {
        let next = all.get(at + 1);
        if token.kind == Kind::Broken {
            return Err(Exception::new(
                code::SYNTAX_ERROR,
                "SYNTAX_ERROR",
                "Syntax error: a quote or comment does not end, or is a typographic quote",
            ));
        }
        let Some(name) = token.name() else { continue };
        if NAMES.contains(&name.as_str()) {
            return Err(refused(&format!(
                "the name {name} is off, as it can reach files or the network"
            )));
        }
        let called = next.is_some_and(|next| next.is_symbol(b'('));
        if called && CALLS.contains(&name.as_str()) {
            return Err(refused(&format!("{name}() is off, as it reaches files or the network")));
        }
        if token.is_word("outfile") || token.is_word("infile") {
            return Err(refused("INTO OUTFILE and FROM INFILE are off"));
        }
        if token.is_word("engine") {
            check_engine(&all[at + 1..])?;
        }
    }
    Ok(())
}

/// Rows of `INSERT … VALUES` are expressions: they may not hold a query.
pub fn check_values(data: &[u8]) -> Result<(), Exception> {
    check(data)?;
    match tokens(data).find(|token| token.is_word("select")) {
        Some(_) => Err(refused("a query among VALUES is off; use INSERT … SELECT")),
        None => Ok(()),
    }
}

/// `ENGINE = Name` or `ENGINE Name`; a column called `engine` is followed by neither.
fn check_engine(after: &[Token<'_>]) -> Result<(), Exception> {
    let assigned = after.first().is_some_and(|token| token.is_symbol(b'='));
    let Some(token) = after.get(usize::from(assigned)) else { return Ok(()) };
    match token.name() {
        Some(name) if assigned && !ENGINES.contains(&name.as_str()) => {
            Err(refused(&format!("the engine {name} is off, as it can reach files or the network")))
        }
        Some(name) if is_foreign_engine(&name) => {
            Err(refused(&format!("the engine {name} is off, as it can reach files or the network")))
        }
        _ => Ok(()),
    }
}

/// Engines that need no grant and reach out of the data directory, for `ENGINE Name` without `=`.
fn is_foreign_engine(name: &str) -> bool {
    ["executablepool", "embeddedrocksdb", "filelog", "keepermap", "queryrunner"].contains(&name)
        || CALLS.contains(&name)
}

fn refused(what: &str) -> Exception {
    Exception::new(
        code::ACCESS_DENIED,
        "ACCESS_DENIED",
        &format!("Not enough privileges: {what} here"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_all(cases: &[&str], allowed: bool) {
        for sql in cases {
            assert_eq!(check(sql.as_bytes()).is_ok(), allowed, "{sql}");
        }
    }

    #[test]
    fn ways_out_are_refused() {
        check_all(
            &[
                "SELECT file('/etc/passwd')",
                "SELECT \"file\"('/etc/passwd')",
                "SELECT `fi\\x6ce` /* x */ ('/etc/passwd')",
                "SELECT * APPLY(file) FROM (SELECT 'x' AS p)",
                "SELECT arrayMap(FILE, ['x'])",
                "WITH file AS f SELECT f('x')",
                "SELECT * FROM url ('http://x')",
                "SELECT 1 INTO OUTFILE 'x'",
                "SELECT 1 INTO /* */ OUTFILE 'x'",
                "INSERT INTO t FROM INFILE 'x' FORMAT CSV",
                "(ATTACH TABLE t)",
                "/* x */ BACKUP TABLE t TO Disk('a', 'b')",
                "CREATE TABLE t (a Int8) ENGINE = Executable('x', 'TSV')",
                "CREATE TABLE t (a Int8) ENGINE EmbeddedRocksDB(0, '/x') PRIMARY KEY a",
                "CREATE TABLE t (a Int8) ENGINE=`FileLog`('/x', 'CSV')",
                "CREATE TABLE t (a Int8) ENGINE=MergeTree SETTINGS disk = disk(type=web)",
                "SELECT \u{2018}'\u{2019} , file('x')",
                "SELECT 'x",
                "SELECT * FROM eval('SELECT 1')",
                "SELECT * APPLY(aiGenerate) FROM t",
                "CREATE TABLE t ENGINE = QueryRunner",
            ],
            false,
        );
    }

    #[test]
    fn ordinary_statements_pass() {
        check_all(
            &[
                "SELECT 'file(1)', \"profile\" FROM files -- file('x')",
                "SELECT engine FROM system.tables WHERE engine = 'File'",
                "SELECT format('{}', 1) FORMAT JSON",
                "CREATE TABLE t (a Int8) ENGINE = ReplacingMergeTree(a) ORDER BY a",
                "CREATE DATABASE d ENGINE = Atomic",
                "ALTER TABLE t ATTACH PARTITION 1",
                "INSERT INTO url_list (url, remote) FORMAT CSV",
                "SELECT $a$ file('x') $a$",
            ],
            true,
        );
    }

    #[test]
    fn values_hold_no_query() {
        assert!(check_values(b"(1, upper('select')), (2, now())").is_ok());
        assert!(check_values(b"(1, (SELECT 1))").is_err());
        assert!(check_values(b"(file('x'))").is_err());
    }
}
