//! What ClickHouse's HTTP interface promises: statements, parameters, formats, codes, headers.

use crate::shared;
use crate::support::{READ, WRITE, Warehouse};
use std::fmt::Write;

#[test]
fn statements_and_where_they_may_stand() {
    let Some(warehouse) = shared() else { return };
    let key = format!("X-ClickHouse-Key: {WRITE}");
    let cases: [(&str, Option<&str>, &str); 9] = [
        ("/?query=SELECT%201", None, "1\n"),
        ("/?query=SELECT", Some("2"), "2\n"),
        ("/", Some("SELECT 3"), "3\n"),
        ("/query", Some("SELECT 4;"), "4\n"),
        ("/?default_format=JSONEachRow", Some("SELECT 5 AS a"), "{\"a\":5}\n"),
        ("/?default_format=CSV", Some("SELECT 'x' FORMAT TSV"), "x\n"),
        (
            "/?max_threads=1&session_id=a&wait_end_of_query=1",
            Some("SELECT getSetting('max_threads')"),
            "1\n",
        ),
        ("/?database=system", Some("SELECT currentDatabase()"), "system\n"),
        (
            "/?param_a=it's%5Ct&param_n=7",
            Some("SELECT {a:String}, {n:UInt8} + 1"),
            "it\\'s\\t\t8\n",
        ),
    ];
    for (url, body, expected) in cases {
        let answer = warehouse.curl(url, &["-H", &key], body.map(str::as_bytes));
        assert_eq!((answer.status, answer.text().as_str()), (200, expected), "{url} {body:?}");
    }
    assert_eq!(warehouse.curl("/ping", &[], None).text(), "Ok.\n");
    assert_eq!(warehouse.curl("/nowhere", &[], None).status, 404);
}

#[test]
fn parameters_are_bound_and_not_spliced() {
    let Some(warehouse) = shared() else { return };
    let hostile = "/?param_a=%27%29%3B%20SELECT%20file(%27/etc/passwd%27)%20--";
    let answer = warehouse.post(READ, hostile, "SELECT {a:String}");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().starts_with("\\'); SELECT file("), "{}", answer.text());
}

#[test]
fn errors_have_their_code_and_status() {
    let Some(warehouse) = shared() else { return };
    let cases = [
        ("/", "SELEC 1", 62, 400),
        ("/", "SELECT 1; SELECT 2", 62, 400),
        ("/", "SELECT * FROM nowhere", 60, 404),
        ("/", "SELECT no_such_function(1)", 46, 404),
        ("/", "SELECT a", 47, 404),
        ("/?no_such_setting=1", "SELECT 1", 115, 404),
        ("/?database=nowhere", "SELECT 1", 81, 404),
        ("/?max_execution_time=0", "SELECT 1", 452, 500),
        ("/", "SELECT 1 SETTINGS max_memory_usage = 100000000000", 452, 500),
        ("/", "SELECT 1 FORMAT Nothing", 73, 404),
        ("/", "SELECT throwIf(1)", 395, 500),
        ("/", "SELECT {a:UInt8}", 456, 500),
        ("/", "CREATE TABLE default.x (a NoSuchType) ENGINE = Memory", 50, 404),
    ];
    for (url, statement, code, status) in cases {
        let answer = warehouse.post(WRITE, url, statement);
        assert_eq!(
            (answer.code(), answer.status),
            (code, status),
            "{statement}: {}",
            answer.text()
        );
        assert!(
            answer.text().starts_with(&format!("Code: {code}. DB::Exception")),
            "{}",
            answer.text()
        );
    }
}

#[test]
fn what_one_statement_sets_is_gone_for_the_next() {
    let Some(warehouse) = shared() else { return };
    let answer =
        warehouse.post(WRITE, "/?max_block_size=77", "SELECT getSetting('max_block_size')");
    assert_eq!(answer.text(), "77\n");
    assert_eq!(warehouse.run("SET max_block_size = 78"), "");
    assert_eq!(warehouse.run("SELECT getSetting('max_block_size') IN (77, 78)"), "0");
}

#[test]
fn answers_carry_their_headers() {
    let Some(warehouse) = shared() else { return };
    let answer =
        warehouse.post(READ, "/?query_id=abc", "SELECT number FROM numbers(10) FORMAT JSON");
    assert_eq!(answer.header("x-clickhouse-query-id"), Some("abc"));
    assert_eq!(answer.header("x-clickhouse-format"), Some("JSON"));
    assert_eq!(answer.header("content-type"), Some("application/json; charset=UTF-8"));
    assert!(answer.header("x-clickhouse-timezone").is_some_and(|zone| !zone.is_empty()));
    let summary = answer.header("x-clickhouse-summary").unwrap();
    assert!(summary.contains("\"read_rows\":\"10\""), "{summary}");
    assert!(summary.contains("\"result_rows\":\"10\""), "{summary}");
}

/// Formats with counts over all rows come whole; the others in chunks, equal to the byte.
#[test]
fn large_results_are_whole() {
    let Some(warehouse) = shared() else { return };
    let rows = 300_000;
    let json = warehouse.run(&format!("SELECT number FROM numbers({rows}) FORMAT JSON"));
    assert!(json.contains("\"rows\": 300000"), "the count is that of all rows");
    let mut expected = String::new();
    for number in 0..rows {
        writeln!(expected, "{number}").unwrap();
    }
    assert!(
        warehouse.post(READ, "/", &format!("SELECT number FROM numbers({rows})")).text()
            == expected
    );
    let broken =
        "SELECT throwIf(number = 250000) FROM numbers(300000) SETTINGS max_block_size = 1000";
    let answer = warehouse.post(READ, "/", broken);
    assert!(answer.text().contains("Code: 395"), "the error is at the end of what was sent");
}

/// A result in chunks is one result: it can be read back, and begins as a short one does.
#[test]
fn chunks_make_the_same_result() {
    let Some(warehouse) = shared() else { return };
    warehouse.run("CREATE DATABASE chunks");
    warehouse.run("CREATE TABLE chunks.t (id UInt64, s String, n Nullable(Int64)) ENGINE = MergeTree ORDER BY id");
    warehouse.run("INSERT INTO chunks.t SELECT number, toString(number), nullIf(number % 3, 0) FROM numbers(200000)");
    let formats = [
        "CSV",
        "JSONEachRow",
        "JSONCompactEachRow",
        "JSONLines",
        "JSONStringsEachRow",
        "NDJSON",
        "RowBinary",
        "RowBinaryWithNamesAndTypes",
        "TSV",
        "TabSeparated",
        "CSVWithNames",
        "TSVWithNamesAndTypes",
        "JSONCompact",
    ];
    for format in formats {
        let rows = |limit: u32| {
            let statement =
                format!("SELECT id, s, n FROM chunks.t ORDER BY id LIMIT {limit} FORMAT {format}");
            warehouse.post(READ, "/", &statement).body
        };
        let (all, some) = (rows(200_000), rows(1000));
        let common = some.len().saturating_sub(200);
        assert_eq!(all[..common], some[..common], "{format}");
        let url = "/?query=INSERT%20INTO%20chunks.back%20FORMAT%20";
        warehouse.run("CREATE OR REPLACE TABLE chunks.back AS chunks.t");
        let key = format!("X-ClickHouse-Key: {WRITE}");
        let answer = warehouse.curl(&format!("{url}{format}"), &["-H", &key], Some(&all));
        assert_eq!(answer.status, 200, "{format}: {}", answer.text());
        let sums = |table: &str| {
            warehouse.run(&format!(
                "SELECT count(), sum(id), sum(cityHash64(s)), sum(n) FROM chunks.{table}"
            ))
        };
        assert_eq!(sums("back"), sums("t"), "{format}");
    }
}

#[test]
fn inserts_in_every_form() {
    let Some(warehouse) = shared() else { return };
    warehouse.run("CREATE DATABASE forms");
    warehouse.run("CREATE TABLE forms.t (a UInt32, b String) ENGINE = MergeTree ORDER BY a");
    let row_binary = [&1u32.to_le_bytes()[..], b"\x01x"].concat();
    let with_names = [b"\x02\x01a\x01b\x06UInt32\x06String".as_slice(), &row_binary].concat();
    let native =
        [b"\x02\x01\x01a\x06UInt32".as_slice(), &1u32.to_le_bytes(), b"\x01b\x06String\x01x"]
            .concat();
    let in_body = [b"INSERT INTO forms.t FORMAT RowBinary\n".as_slice(), &row_binary].concat();
    let cases: [(&str, &[u8]); 9] = [
        ("/?query=INSERT%20INTO%20forms.t%20FORMAT%20RowBinary", &row_binary),
        ("/?query=INSERT%20INTO%20forms.t(a,b)%20FORMAT%20RowBinaryWithNamesAndTypes", &with_names),
        ("/?database=forms&query=INSERT%20INTO%20t%20FORMAT%20Native", &native),
        ("/?query=INSERT%20INTO%20forms.t%20FORMAT%20CSV", b"1,x\n"),
        ("/", &in_body),
        ("/", b"INSERT INTO forms.t FORMAT JSONEachRow {\"a\": 1, \"b\": \"x\"}"),
        ("/", b"INSERT INTO forms.t (b, a) VALUES (lower('X'), 2 - 1);"),
        ("/?query=INSERT%20INTO%20forms.t%20VALUES", b"(1, 'x')"),
        ("/", b"INSERT INTO forms.t SELECT 1, 'x'"),
    ];
    let key = format!("X-ClickHouse-Key: {WRITE}");
    for (number, (url, body)) in cases.iter().enumerate() {
        let answer = warehouse.curl(url, &["-H", &key], Some(body));
        assert_eq!(answer.status, 200, "{url}: {}", answer.text());
        let summary = answer.header("x-clickhouse-summary").unwrap().to_owned();
        assert!(summary.contains("\"written_rows\":\"1\""), "{url}: {summary}");
        let found = warehouse.run("SELECT count(), sum(a), any(b), uniq(b) FROM forms.t");
        assert_eq!(found, format!("{0}\t{0}\tx\t1", number + 1), "{url}");
    }
    let half = warehouse.curl(cases[3].0, &["-H", &key], Some(b"1,x\nnumber,x\n"));
    assert_eq!((half.code(), half.status), (27, 400), "{}", half.text());
    assert_eq!(warehouse.run("SELECT count() FROM forms.t"), "9");
}

/// Rows are cut at no buffer's edge, in the statement's body nor beside it.
#[test]
fn large_inserts_arrive_whole() {
    let Some(warehouse) = shared() else { return };
    warehouse.run("CREATE DATABASE large");
    warehouse.run("CREATE TABLE large.t (a UInt64, b String) ENGINE = MergeTree ORDER BY a");
    let mut rows = Vec::new();
    for number in 0..200_000u64 {
        rows.extend_from_slice(&number.to_le_bytes());
        rows.extend_from_slice(b"\x0atwelve byt");
    }
    let statement = b"INSERT INTO large.t FORMAT RowBinary\n";
    let in_body = [statement.as_slice(), &rows].concat();
    let key = format!("X-ClickHouse-Key: {WRITE}");
    let beside = "/?query=INSERT%20INTO%20large.t%20FORMAT%20RowBinary";
    for (number, (url, body)) in [(beside, &rows), ("/", &in_body)].into_iter().enumerate() {
        let answer = warehouse.curl(url, &["-H", &key], Some(body));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let found = warehouse.run("SELECT count(), uniqExact(a), sum(a) FROM large.t");
        let times = number as u64 + 1;
        assert_eq!(found, format!("{}\t200000\t{}", 200_000 * times, 19_999_900_000 * times));
    }
}

#[test]
fn the_same_deduplication_token_writes_once() {
    let Some(warehouse) = shared() else { return };
    warehouse.run("CREATE DATABASE dedup");
    warehouse.run(
        "CREATE TABLE dedup.t (a UInt32) ENGINE = MergeTree ORDER BY a \
         SETTINGS non_replicated_deduplication_window = 100",
    );
    let insert = |token: &str, rows: &str| {
        let url = format!(
            "/?insert_deduplication_token={token}&query=INSERT%20INTO%20dedup.t%20FORMAT%20CSV"
        );
        assert_eq!(warehouse.post(WRITE, &url, rows).status, 200);
        warehouse.run("SELECT count() FROM dedup.t")
    };
    assert_eq!(insert("one", "1\n2\n"), "2");
    assert_eq!(insert("one", "1\n2\n"), "2", "the same token");
    assert_eq!(insert("one", "3\n"), "2", "the token counts, not the rows");
    assert_eq!(insert("two", "1\n2\n"), "4", "another token");
}

#[test]
fn statements_run_side_by_side_and_the_queue_ends() {
    let Some(library) = crate::library() else { return };
    let data_dir = tempfile::tempdir().unwrap();
    let small = Warehouse::start_small(library, data_dir.path());
    let slow = "SELECT sleepEachRow(1) FROM numbers(3) SETTINGS max_block_size = 1 FORMAT JSON";
    std::thread::scope(|scope| {
        let first = scope.spawn(|| small.post(READ, "/", slow));
        // The one thread for reading is taken once the engine shows the statement; the reserved
        // threads for writing are free meanwhile, and serve this very question.
        let key = format!("X-ClickHouse-Key: {WRITE}");
        let running = "SHOW PROCESSLIST FORMAT TSV";
        while !small
            .curl("/", &["-H", &key], Some(running.as_bytes()))
            .text()
            .contains("sleepEachRow")
        {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let refused = small.post(READ, "/", "SELECT 1");
        assert_eq!((refused.code(), refused.status), (202, 503), "{}", refused.text());
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(small.run("CREATE TABLE default.side (a Int8) ENGINE = Memory"), "");
        assert_eq!(first.join().unwrap().status, 200);
    });
    assert_eq!(small.post(READ, "/", "SELECT 1").text(), "1\n");
}

/// A body that breaks off is no insert, however well its first rows read.
#[test]
fn half_a_body_writes_nothing() {
    use std::io::{Read, Write};
    let Some(warehouse) = shared() else { return };
    warehouse.run("CREATE DATABASE half");
    warehouse.run("CREATE TABLE half.t (a UInt32) ENGINE = MergeTree ORDER BY a");
    let mut stream = std::net::TcpStream::connect(warehouse.address).unwrap();
    let head = format!(
        "POST /?query=INSERT%20INTO%20half.t%20FORMAT%20CSV HTTP/1.1\r\nHost: localhost\r\n\
         X-ClickHouse-Key: {WRITE}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1\n2\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    // Refused or cut off, but not accepted.
    let _ = stream.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    while warehouse.run("SHOW PROCESSLIST").contains("INSERT INTO half.t") {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    warehouse.run("INSERT INTO half.t VALUES (7)");
    assert_eq!(warehouse.run("SELECT groupArray(a) FROM half.t"), "[7]");
}
