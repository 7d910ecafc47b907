//! Rows into ClickHouse: as the sink sends them, against the same ClickHouse taking the same rows from
//! files in its own format, which costs it least. Beside it, blocks that the client builds itself.

use crate::context::Context;
use crate::results::{Line, Series, Target};
use crate::warehouse::Warehouse;
use ::sink::client::insert_client;
use ::sink::decode::{Place, Placed};
use ::sink::rows::Record as _;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use clickhouse::Client;
use clickhouse::native::DataTypeNode;
use clickhouse::native::builder::BlockBuilder;
use clickhouse::native::encode::{Encode, ValueWriter};
use schemas::ids::{AdvertiserId, OfferId, PublisherId, ShareId, TenantId};
use schemas::{Click, Platform, SubIds, Topic, UnixMillis};
use std::path::Path;
use std::time::Instant;

/// Rows of one insert, as the sink's own limit has it.
const BLOCK_ROWS: u64 = 100_000;
const BLOCKS: u64 = 5;
/// 2026-11-01T00:00:00Z.
const BEGIN: UnixMillis = UnixMillis(1_793_491_200_000);
const TARGET: Target = Target::RatioAtLeast(0.9);
const SIDES: [&str; 3] =
    ["sink (RowBinary)", "local Native file", "blocks built by the client (Native)"];

pub async fn measure(context: &Context) -> Result<Vec<Line>> {
    let warehouse = Warehouse::start(context.scratch()).await?;
    let config = warehouse.config()?;
    ::sink::migrate(&config).await?;
    let client = insert_client(&config);
    let blocks: Vec<Vec<Placed<Click>>> = (0..BLOCKS).map(clicks).collect();
    let files = native_files(&client, &blocks, context.scratch()).await?;
    let mut server_seconds = SIDES.map(|name| Series { name: name.to_owned(), values: Vec::new() });
    let mut client_seconds = SIDES.map(|name| Series { name: name.to_owned(), values: Vec::new() });
    let series = context
        .interleave("rows into ClickHouse", SIDES, async |side, run| {
            client.query("TRUNCATE TABLE clicks").execute().await?;
            let (server, own) = (warehouse.cpu_seconds()?, own_cpu_seconds()?);
            let began = Instant::now();
            for (number, block) in blocks.iter().enumerate() {
                let token = format!("{side}-{run}-{number}");
                match side {
                    0 => {
                        let refused = ::sink::insert::insert(&client, &token, block).await;
                        ensure!(refused.is_empty(), "rows were refused");
                    }
                    1 => from_file(&client, &token, &files[number]).await?,
                    _ => as_block(&client, &token, block).await?,
                }
            }
            let seconds = began.elapsed().as_secs_f64();
            server_seconds[side].values.push(warehouse.cpu_seconds()? - server);
            client_seconds[side].values.push(own_cpu_seconds()? - own);
            let rows: u64 = client.query("SELECT count() FROM clicks").fetch_one().await?;
            ensure!(rows == BLOCKS * BLOCK_ROWS, "{rows} rows arrived");
            Ok((BLOCKS * BLOCK_ROWS) as f64 / seconds)
        })
        .await?;
    warehouse.stop()?;
    let notes = vec![format!(
        "{BLOCKS} inserts of {BLOCK_ROWS} clicks of 28 columns, one after the other, embedded ClickHouse over HTTP, synced"
    )];
    let line = |what: &str, unit: &str, series: Vec<Series>, target| Line {
        what: what.into(),
        unit: unit.into(),
        series,
        target,
        notes: notes.clone(),
    };
    Ok(vec![
        line("rows into ClickHouse", "rows/s", series.into(), Some(TARGET)),
        line("CPU time of ClickHouse", "s", server_seconds.into(), None),
        line("CPU time of the sender", "s", client_seconds.into(), None),
    ])
}

fn own_cpu_seconds() -> Result<f64> {
    crate::process::cpu_seconds(std::process::id())
}

/// Clicks that differ as real ones do: an id that looks random, a few sub-ids.
fn clicks(block: u64) -> Vec<Placed<Click>> {
    let id = "a name of letters";
    let numbers = block * BLOCK_ROWS..(block + 1) * BLOCK_ROWS;
    numbers
        .map(|n| {
            let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut subs = SubIds::default();
            subs.0[0] = Some(format!("user-{}", mixed % 1_000_003).into());
            subs.0[1] = Some(format!("source-{}", mixed % 40).into());
            let offer = OfferId::new(&format!("offer-{}", mixed % 200)).expect(id);
            let click_id = (0..6)
                .map(|piece| {
                    format!(
                        "{:016x}",
                        mixed.rotate_left(piece * 11).wrapping_mul(0xbf58_476d_1ce4_e5b9)
                    )
                })
                .collect();
            let message = Click {
                click_id,
                tenant: TenantId::new("brownboots").expect(id),
                advertiser_id: AdvertiserId::new("brain-games").expect(id),
                offer_id: offer.clone(),
                root_offer_id: offer,
                share_id: ShareId::new(&format!("share-{}", mixed % 800)).expect(id),
                publisher_id: PublisherId::new(&format!("publisher-{}", mixed % 50)).expect(id),
                clicked_at: BEGIN.plus_ms(i64::try_from(n).unwrap_or_default()),
                country: Some(["US", "DE", "GB", "FR"][(mixed % 4) as usize].to_owned()),
                platform: Some(if mixed.is_multiple_of(3) {
                    Platform::Ios
                } else {
                    Platform::Android
                }),
                subs,
                offer_version: 3,
                test: false,
                flags: Vec::new(),
            };
            Placed { place: Place { source: (Topic::Clicks, 0), offset: n }, message }
        })
        .collect()
}

/// What ClickHouse itself writes of each block.
async fn native_files(
    client: &Client,
    blocks: &[Vec<Placed<Click>>],
    scratch: &Path,
) -> Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for (number, block) in blocks.iter().enumerate() {
        client.query("TRUNCATE TABLE clicks").execute().await?;
        ::sink::insert::insert(client, &format!("file-{number}"), block).await;
        let query = "SELECT * EXCEPT (inserted_at) FROM clicks";
        let mut cursor = client.query(query).fetch_bytes("Native")?;
        let path = scratch.join(format!("{number}.native"));
        std::fs::write(&path, cursor.collect().await?)?;
        files.push(path);
    }
    Ok(files)
}

async fn from_file(client: &Client, token: &str, path: &Path) -> Result<()> {
    let mut insert = client
        .clone()
        .with_setting("insert_deduplication_token", token)
        .insert_formatted_with("INSERT INTO clicks FORMAT Native");
    insert.send(Bytes::from(std::fs::read(path)?)).await?;
    insert.end().await.context("from a Native file")
}

/// Unix milliseconds as `DateTime64(3)`.
struct Millis(i64);

impl Encode for Millis {
    fn produces() -> DataTypeNode {
        DataTypeNode::new("DateTime64(3, 'UTC')").expect("a type of ClickHouse's")
    }

    fn encode(
        &self,
        writer: &mut ValueWriter<'_>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(writer.write_fixed(&self.0.to_le_bytes())?)
    }
}

async fn as_block(client: &Client, token: &str, rows: &[Placed<Click>]) -> Result<()> {
    let mut builder = BlockBuilder::new();
    macro_rules! columns {
        ($($name:ident: $kind:ty),* $(,)?) => {$(
            let column = rows.iter().map(|row| -> $kind { row.message.row().$name.into() });
            builder.upsert_column::<$kind>(stringify!($name))?.add_all(column).map_err(|e| anyhow::anyhow!("{e}"))?;
        )*};
    }
    columns! {
        click_id: &str, tenant: &str, advertiser_id: &str, offer_id: &str, root_offer_id: &str, share_id: &str,
        publisher_id: &str, country: &str, platform: &str, sub1: &str, sub2: &str, sub3: &str, sub4: &str,
        sub5: &str, sub6: &str, sub7: &str, sub8: &str, sub9: &str, sub10: &str, sub11: &str, sub12: &str,
        sub13: &str, sub14: &str, sub15: &str, offer_version: u64, test: bool, flags: Vec<&str>,
        clicked_at: Millis,
    }
    let mut insert =
        client.insert_native("clicks").with_setting("insert_deduplication_token", token);
    insert.write(&builder.build()?).await?;
    insert.end().await.context("as a block")
}

impl From<i64> for Millis {
    fn from(ms: i64) -> Self {
        Self(ms)
    }
}
