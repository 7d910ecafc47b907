//! Rows into ClickHouse: as the sink sends them, against the same ClickHouse taking the same rows in the
//! same order from files in its own format, which costs it least. Beside it, the client's own way to send
//! rows, one after the other (`RowBinary`).

mod rows;

use crate::context::Context;
use crate::results::{Line, Series, Target};
use crate::warehouse::Warehouse;
use ::sink::client::insert_client;
use ::sink::columns::Tables;
use ::sink::decode::Placed;
use ::sink::rows::Record;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use clickhouse::Client;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Rows of one insert, as the sink's own limit has it.
const BLOCK_ROWS: u64 = 100_000;
const BLOCKS: u64 = 5;
const TARGET: Target = Target::RatioAtLeast(0.9);
const SIDES: [&str; 3] =
    ["sink (Native columns)", "local Native file", "client's rows (RowBinary)"];

pub async fn measure(context: &Context) -> Result<Vec<Line>> {
    let warehouse = Warehouse::start(context.scratch()).await?;
    let config = warehouse.config()?;
    ::sink::migrate(&config).await?;
    let tables = Tables::new(insert_client(&config));
    let clicks =
        Kind { what: "clicks", tables: &["clicks"], order: "clicked_at", row: rows::click };
    let conversions = Kind {
        what: "conversions",
        tables: &["conversions", "conversions_latest"],
        order: "received_at",
        row: rows::conversion,
    };
    let mut lines = clicks.measure(context, &warehouse, &tables).await?;
    lines.extend(conversions.measure(context, &warehouse, &tables).await?);
    warehouse.stop()?;
    Ok(lines)
}

/// Rows of one table.
struct Kind<M> {
    what: &'static str,
    /// What the rows end up in, their own table first.
    tables: &'static [&'static str],
    /// A column that orders them as they are sent.
    order: &'static str,
    row: fn(u64) -> Placed<M>,
}

impl<M: Record> Kind<M> {
    async fn measure(
        &self,
        context: &Context,
        warehouse: &Warehouse,
        tables: &Tables,
    ) -> Result<Vec<Line>> {
        let block = |n| (n * BLOCK_ROWS..(n + 1) * BLOCK_ROWS).map(self.row).collect();
        let blocks: Vec<Vec<Placed<M>>> = (0..BLOCKS).map(block).collect();
        let client = tables.client();
        let files = self.native_files(tables, &blocks, context.scratch()).await?;
        let mut server_seconds = empty();
        let mut own_seconds = empty();
        let mut contents = Vec::new();
        let what = format!("{} into ClickHouse", self.what);
        let series = context
            .interleave(&what, SIDES, async |side, run| {
                self.empty_tables(client).await?;
                let (server, own) = (warehouse.cpu_seconds()?, own_cpu_seconds()?);
                let began = Instant::now();
                for (number, block) in blocks.iter().enumerate() {
                    let token = format!("{}-{side}-{run}-{number}", self.what);
                    match side {
                        0 => {
                            let inserted = ::sink::insert::insert(tables, &token, block).await;
                            ensure!(inserted.refused.is_empty(), "rows were refused");
                        }
                        1 => from_file::<M>(tables, &token, &files[number]).await?,
                        _ => as_rows(client, &token, block).await?,
                    }
                }
                let seconds = began.elapsed().as_secs_f64();
                server_seconds[side].values.push(warehouse.cpu_seconds()? - server);
                own_seconds[side].values.push(own_cpu_seconds()? - own);
                contents.push(self.content(tables).await?);
                Ok((BLOCKS * BLOCK_ROWS) as f64 / seconds)
            })
            .await?;
        let (rows, _) = contents[0];
        ensure!(rows == BLOCKS * BLOCK_ROWS, "{rows} rows arrived");
        ensure!(contents.iter().all(|it| *it == contents[0]), "the sides brought different rows");
        let notes = vec![format!(
            "{BLOCKS} inserts of {BLOCK_ROWS} rows of {} columns, one after the other, embedded ClickHouse over HTTP, synced",
            tables.layout::<M>().await?.columns().len()
        )];
        let line = |what: String, unit: &str, series: Vec<Series>, target| Line {
            what,
            unit: unit.into(),
            series,
            target,
            notes: notes.clone(),
        };
        let disk =
            Series { name: SIDES[0].to_owned(), values: vec![self.disk_bytes(client).await?] };
        let what = self.what;
        Ok(vec![
            line(format!("{what} into ClickHouse"), "rows/s", series.into(), Some(TARGET)),
            line(format!("{what}: CPU time of ClickHouse"), "s", server_seconds.into(), None),
            line(format!("{what}: CPU time of the sender"), "s", own_seconds.into(), None),
            line(format!("{what}: disk"), "bytes/row", vec![disk], None),
        ])
    }

    async fn empty_tables(&self, client: &Client) -> Result<()> {
        for table in self.tables {
            client.query(&format!("TRUNCATE TABLE {table}")).execute().await?;
        }
        Ok(())
    }

    /// Of a row, compressed, in all the tables that it ends up in.
    async fn disk_bytes(&self, client: &Client) -> Result<f64> {
        let tables = self.tables.iter().map(|table| format!("'{table}'"));
        let query = format!(
            "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = \
             currentDatabase() AND table IN ({})",
            tables.collect::<Vec<_>>().join(", ")
        );
        let bytes: u64 = client.query(&query).fetch_one().await?;
        Ok(bytes as f64 / (BLOCKS * BLOCK_ROWS) as f64)
    }

    /// How many rows, and a sum over all that they say.
    async fn content(&self, tables: &Tables) -> Result<(u64, u64)> {
        let names = names::<M>(tables).await?;
        let query = format!(
            "SELECT count(), sum(cityHash64(formatRow('TabSeparated', {names}))) FROM {}",
            M::TABLE
        );
        Ok(tables.client().query(&query).fetch_one().await?)
    }

    /// What ClickHouse itself writes of each block, in the order of the rows.
    async fn native_files(
        &self,
        tables: &Tables,
        blocks: &[Vec<Placed<M>>],
        scratch: &Path,
    ) -> Result<Vec<PathBuf>> {
        let client = tables.client();
        let names = names::<M>(tables).await?;
        let mut files = Vec::new();
        for (number, block) in blocks.iter().enumerate() {
            self.empty_tables(client).await?;
            as_rows(client, &format!("{}-file-{number}", self.what), block).await?;
            let query = format!("SELECT {names} FROM {} ORDER BY {}", M::TABLE, self.order);
            let mut cursor = client
                .query(&query)
                .with_setting("max_block_size", BLOCK_ROWS.to_string())
                .fetch_bytes("Native")?;
            let path = scratch.join(format!("{}-{number}.native", self.what));
            std::fs::write(&path, cursor.collect().await?)?;
            files.push(path);
        }
        Ok(files)
    }
}

fn empty() -> [Series; SIDES.len()] {
    SIDES.map(|name| Series { name: name.to_owned(), values: Vec::new() })
}

fn own_cpu_seconds() -> Result<f64> {
    crate::process::cpu_seconds(std::process::id())
}

async fn names<M: Record>(tables: &Tables) -> Result<String> {
    let layout = tables.layout::<M>().await?;
    Ok(layout.columns().iter().map(|column| column.name).collect::<Vec<_>>().join(", "))
}

async fn from_file<M: Record>(tables: &Tables, token: &str, path: &Path) -> Result<()> {
    let mut insert = tables
        .client()
        .insert_formatted_with(tables.layout::<M>().await?.statement())
        .with_setting("insert_deduplication_token", token);
    insert.send(Bytes::from(std::fs::read(path)?)).await?;
    insert.end().await.context("from a Native file")
}

async fn as_rows<M: Record>(client: &Client, token: &str, rows: &[Placed<M>]) -> Result<()> {
    let mut insert =
        client.insert::<M::Row>(M::TABLE).await?.with_setting("insert_deduplication_token", token);
    for row in rows {
        insert.write(&row.message.row()).await?;
    }
    insert.end().await.context("as rows")
}
