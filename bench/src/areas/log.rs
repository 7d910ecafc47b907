//! The embedded log: durable appends, against a file that is written and synced in the same
//! portions. The file is the physical limit, since it keeps nothing but the bytes.

use crate::context::Context;
use crate::results::{Line, Target};
use anyhow::Result;
use eventlog::local::{LocalConfig, LocalLog};
use eventlog::{EventLog, Record};
use schemas::{Topic, UnixMillis};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// As long as a common postback is in the log.
const RECORD_BYTES: usize = 350;
/// Records that become durable together.
const BATCH_RECORDS: usize = 100;
const BATCHES: u64 = 2_000;
/// The embedded log is to cost at most twice what the disk does.
const TARGET: Target = Target::RatioAtLeast(0.5);

pub async fn measure(context: &Context) -> Result<Vec<Line>> {
    let batches = context.sized(BATCHES) as usize;
    let sides = ["embedded log", "file, write + fdatasync"];
    let [log, file] = context
        .interleave("durable appends", sides, async |side, run| {
            let place = context.scratch().join(format!("{side}-{run}"));
            let seconds = match side {
                0 => appends(&place, batches).await?,
                _ => writes(&place, batches)?,
            };
            Ok((batches * BATCH_RECORDS) as f64 / seconds)
        })
        .await?;
    Ok(vec![Line {
        what: "durable appends".into(),
        unit: "records/s".into(),
        series: vec![log, file],
        target: Some(TARGET),
        notes: vec![format!(
            "{batches} batches of {BATCH_RECORDS} records of {RECORD_BYTES} bytes, one at a time"
        )],
    }])
}

async fn appends(place: &Path, batches: usize) -> Result<f64> {
    let log = LocalLog::open(LocalConfig::new(place, 1))?;
    let record = Record {
        key: Default::default(),
        value: vec![b'x'; RECORD_BYTES].into(),
        at: UnixMillis(0),
    };
    let began = Instant::now();
    for _ in 0..batches {
        log.append(Topic::Postbacks, 0, vec![record.clone(); BATCH_RECORDS]).await?;
    }
    let seconds = began.elapsed().as_secs_f64();
    log.close().await;
    Ok(seconds)
}

fn writes(place: &Path, batches: usize) -> Result<f64> {
    let mut file = File::create(place)?;
    let batch = vec![b'x'; RECORD_BYTES * BATCH_RECORDS];
    let began = Instant::now();
    for _ in 0..batches {
        file.write_all(&batch)?;
        file.sync_data()?;
    }
    Ok(began.elapsed().as_secs_f64())
}
