//! Clients that are not ours, unchanged: the `clickhouse` crate and `clickhouse-connect`.

use crate::shared;
use crate::support::{READ, WRITE};
use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;

#[derive(Row, Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Click {
    id: u64,
    name: String,
    amount: Option<i64>,
}

fn client(token: &str) -> Option<Client> {
    let url = format!("http://{}", shared()?.address);
    Some(Client::default().with_url(url).with_user("default").with_password(token))
}

#[tokio::test]
async fn the_clickhouse_crate_inserts_and_reads() {
    const ROWS: u64 = 200_000;
    let Some(client) = client(WRITE) else { return };
    client.query("CREATE DATABASE crate_test").execute().await.unwrap();
    let client = client.with_database("crate_test");
    let ddl = "CREATE TABLE clicks (id UInt64, name String, amount Nullable(Int64)) ENGINE = MergeTree ORDER BY id";
    client.query(ddl).execute().await.unwrap();
    let row = |id: u64| Click {
        id,
        name: format!("name-{id}"),
        amount: (!id.is_multiple_of(3)).then_some(id as i64),
    };
    let mut insert = client.insert::<Click>("clicks").await.unwrap();
    for id in 0..ROWS {
        insert.write(&row(id)).await.unwrap();
    }
    insert.end().await.unwrap();

    let count: u64 = client.query("SELECT count() FROM clicks").fetch_one().await.unwrap();
    assert_eq!(count, ROWS);
    let mut cursor =
        client.query("SELECT ?fields FROM clicks ORDER BY id").fetch::<Click>().unwrap();
    let mut read = 0;
    while let Some(found) = cursor.next().await.unwrap() {
        assert_eq!(found, row(read));
        read += 1;
    }
    assert_eq!(read, ROWS);
    let bound: String = client
        .query("SELECT name FROM clicks WHERE id = {id:UInt64}")
        .param("id", 42)
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(bound, "name-42");
}

#[tokio::test]
async fn the_clickhouse_crate_sees_codes() {
    let Some(client) = client(READ) else { return };
    let error = client.query("SELECT * FROM nowhere").execute().await.unwrap_err();
    assert!(error.to_string().contains("UNKNOWN_TABLE"), "{error}");
    let error = client.query("CREATE DATABASE never").execute().await.unwrap_err();
    assert!(error.to_string().contains("READONLY"), "{error}");
}

#[tokio::test]
async fn blocks_in_both_directions() {
    let Some(warehouse) = shared() else { return };
    let key = format!("X-ClickHouse-Key: {READ}");
    let plain = warehouse.post(READ, "/", "SELECT 'again and again' FROM numbers(1000)").body;
    let packed = warehouse.curl(
        "/?compress=1",
        &["-H", &key],
        Some(b"SELECT 'again and again' FROM numbers(1000)"),
    );
    assert_eq!(packed.body[16], 0x82, "LZ4 blocks");
    assert!(packed.body.len() < plain.len());
    // What the server packed is a body that it must be able to read.
    let statement =
        warehouse.curl("/?compress=1", &["-H", &key], Some(b"SELECT 'SELECT 6 * 7' FORMAT TSVRaw"));
    let answer = warehouse.curl("/?decompress=1", &["-H", &key], Some(&statement.body));
    assert_eq!(answer.text(), "42\n");
    let mut damaged = statement.body.clone();
    damaged[0] ^= 1;
    let answer = warehouse.curl("/?decompress=1", &["-H", &key], Some(&damaged));
    assert_eq!(answer.code(), 40, "{}", answer.text());
    let answer = warehouse.curl("/", &["-H", &key, "-H", "Content-Encoding: br"], Some(b"x"));
    assert_eq!((answer.code(), answer.status), (48, 501), "{}", answer.text());
}

/// The official Python client, in a virtual environment below `target`.
#[test]
fn clickhouse_connect_works_unchanged() {
    let Some(warehouse) = shared() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/clickhouse_connect/run.sh");
    let output = Command::new(script)
        .env("WAREHOUSE_HOST", warehouse.address.ip().to_string())
        .env("WAREHOUSE_PORT", warehouse.address.port().to_string())
        .env("WAREHOUSE_WRITE_TOKEN", WRITE)
        .env("WAREHOUSE_READ_TOKEN", READ)
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    match output.status.code() {
        Some(0) => {}
        Some(77) => eprintln!("{said}"),
        _ => panic!("{said}"),
    }
}
