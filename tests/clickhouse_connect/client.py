"""The official client, used as its documentation shows."""

import os

import clickhouse_connect
from clickhouse_connect.driver.exceptions import DatabaseError


def connect(token, **more):
    return clickhouse_connect.get_client(
        host=os.environ["WAREHOUSE_HOST"],
        port=int(os.environ["WAREHOUSE_PORT"]),
        username="default",
        password=token,
        **more,
    )


def refused(client, statement, word):
    try:
        client.command(statement)
    except DatabaseError as error:
        assert word in str(error), error
    else:
        raise AssertionError(f"{statement} was not refused")


def main():
    client = connect(os.environ["WAREHOUSE_WRITE_TOKEN"])
    assert client.command("SELECT 1") == 1
    assert client.server_version
    client.command("CREATE DATABASE IF NOT EXISTS connect_test")
    client.command(
        "CREATE TABLE connect_test.t (id UInt64, name String, day Date) "
        "ENGINE = MergeTree ORDER BY id"
    )
    import datetime

    day = datetime.date(2026, 1, 2)
    rows = [[number, f"name {number}", day] for number in range(20000)]
    client.insert("connect_test.t", rows, column_names=["id", "name", "day"])
    assert client.command("SELECT count() FROM connect_test.t") == 20000
    result = client.query(
        "SELECT id, name, day FROM connect_test.t WHERE id >= {low:UInt64} ORDER BY id LIMIT 2",
        parameters={"low": 7},
        settings={"max_threads": 1},
    )
    assert result.result_rows == [(7, "name 7", day), (8, "name 8", day)], result.result_rows
    everything = client.query("SELECT id FROM connect_test.t ORDER BY id").result_columns[0]
    assert list(everything) == list(range(20000))
    refused(client, "SELECT * FROM connect_test.nowhere", "UNKNOWN_TABLE")

    reader = connect(os.environ["WAREHOUSE_READ_TOKEN"], database="connect_test")
    assert reader.command("SELECT max(id) FROM t") == 19999
    refused(reader, "DROP TABLE t", "READONLY")
    refused(connect(os.environ["WAREHOUSE_WRITE_TOKEN"], compress=False), "SELECT x", "UNKNOWN_IDENTIFIER")
    print("clickhouse-connect", clickhouse_connect.common.version())


if __name__ == "__main__":
    main()
