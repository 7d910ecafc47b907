//! Instructions of each piece of a postback's way: they are the same on a busy machine, where
//! seconds are not. Valgrind counts them; a run of many less a run of few leaves no start-up.

use crate::context::Context;
use crate::results::{Line, Series};
use crate::work::Piece;
use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use clap::builder::PossibleValue;
use std::process::Command;

/// Times that a piece is done in the shorter and in the longer run.
const FEW: u64 = 1_000;
const MANY: u64 = 3_000;

pub fn measure(context: &Context) -> Result<Vec<Line>> {
    let progress = context.progress("pieces", Piece::ALL.len() as u64);
    let (few, many) = (FEW, context.sized(MANY).max(FEW + 500));
    let mut lines = Vec::new();
    for piece in Piece::ALL {
        let value = named(piece)?;
        let mut each = of_one(value.get_name(), few, many)?;
        if let Some(overhead) = piece.overhead() {
            each -= of_one(named(overhead)?.get_name(), few, many)?;
        }
        lines.push(Line {
            what: value.get_name().to_owned(),
            unit: "instructions".into(),
            series: vec![Series { name: "one postback".into(), values: vec![each] }],
            target: None,
            notes: value.get_help().map(|help| vec![help.to_string()]).unwrap_or_default(),
        });
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(lines)
}

/// A piece as the command line has it.
fn named(piece: Piece) -> Result<PossibleValue> {
    piece.to_possible_value().context("a piece without a name")
}

/// Instructions of a piece for one postback.
fn of_one(piece: &str, few: u64, many: u64) -> Result<f64> {
    Ok((counted(piece, many)? - counted(piece, few)?) as f64 / (many - few) as f64)
}

/// Instructions of this binary doing a piece so many times.
fn counted(piece: &str, count: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["work", piece, &count.to_string()])
        .output()
        .context("valgrind cannot be run; install it (apt-get install valgrind)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{piece}: {said}");
    let line = said.lines().find(|line| line.contains("Collected :"));
    let number = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    number.with_context(|| format!("valgrind counted nothing: {said}"))
}
