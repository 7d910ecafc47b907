//! What stays after a kill, and how the process ends.

use crate::library;
use crate::support::{READ, WRITE, Warehouse, curl, try_curl};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

/// Killed in the middle of inserts, time and again: every acknowledged insert is there, whole, and
/// none is there in part.
#[test]
fn acknowledged_inserts_survive_a_kill() {
    const ROWS: u64 = 1000;
    const ROUNDS: u64 = 3;
    let Some(library) = library() else { return };
    let data_dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    let mut next = 0;
    for round in 0..ROUNDS {
        let warehouse = Warehouse::start(library, data_dir.path());
        if round == 0 {
            warehouse.run("CREATE TABLE default.t (batch UInt64, n UInt64) ENGINE = MergeTree ORDER BY (batch, n)");
        }
        let address = warehouse.address;
        let (first, done) = (next, AtomicU64::new(0));
        std::thread::scope(|scope| {
            // Inserts until the warehouse is gone.
            let inserter = scope.spawn(|| {
                let mut mine = Vec::new();
                let mut batch = first;
                loop {
                    let rows: String = (0..ROWS).map(|n| format!("{batch},{n}\n")).collect();
                    let key = format!("X-ClickHouse-Key: {WRITE}");
                    let url = "/?query=INSERT%20INTO%20default.t%20FORMAT%20CSV";
                    let sent = try_curl(address, url, &["-H", &key], Some(rows.as_bytes()));
                    batch += 1;
                    match sent {
                        Some(answer) if answer.status == 200 => mine.push(batch - 1),
                        _ => return (mine, batch),
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
            while done.load(Ordering::SeqCst) < 5 + round {
                std::thread::yield_now();
            }
            warehouse.kill();
            let (mine, after) = inserter.join().unwrap();
            acknowledged.extend(mine);
            next = after;
        });
    }
    let warehouse = Warehouse::start(library, data_dir.path());
    let found = warehouse
        .run("SELECT batch, count(), uniqExact(n) FROM default.t GROUP BY batch ORDER BY batch");
    let mut batches = Vec::new();
    for line in found.lines() {
        let fields: Vec<u64> = line.split('\t').map(|field| field.parse().unwrap()).collect();
        assert_eq!(fields[1..], [ROWS, ROWS], "batch {} is there in part", fields[0]);
        batches.push(fields[0]);
    }
    assert!(acknowledged.len() as u64 >= 5 * ROUNDS);
    assert!(
        acknowledged.iter().all(|batch| batches.contains(batch)),
        "{acknowledged:?} {batches:?}"
    );
}

#[test]
fn it_ends_when_told_and_keeps_everything() {
    let Some(library) = library() else { return };
    let data_dir = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::start(library, data_dir.path());
    warehouse.run("CREATE TABLE default.t (a UInt64) ENGINE = MergeTree ORDER BY a");
    warehouse.run("INSERT INTO default.t SELECT number FROM numbers(1000)");
    let address = warehouse.address;
    let pid = warehouse.pid().to_string();
    std::thread::scope(|scope| {
        // What was begun is finished: the answer of a running statement still comes.
        let slow = scope.spawn(move || {
            let key = format!("X-ClickHouse-Key: {READ}");
            let statement = b"SELECT sum(sleepEachRow(0.5)), count() FROM numbers(2) SETTINGS max_block_size = 1";
            curl(address, "/", &["-H", &key], Some(statement))
        });
        while !warehouse.run("SHOW PROCESSLIST").contains("sleepEachRow") {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert_eq!(warehouse.wait().code(), Some(0));
        assert_eq!(slow.join().unwrap().text(), "0\t2\n");
    });
    let again = Warehouse::start(library, data_dir.path());
    assert_eq!(again.run("SELECT count() FROM default.t"), "1000");
    assert_eq!(again.close_stdin().code(), Some(0), "it ends with its parent");
}
