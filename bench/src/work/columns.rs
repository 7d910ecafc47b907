//! The sink's part without ClickHouse: rows into the columns that are sent, with the tables as the
//! project's own statements make them.

use anyhow::{Context as _, Result, ensure};
use schemas::sql::FILES;
use sink::columns::layout::Described;
use sink::columns::{Block, Layout};
use sink::decode::{Placed, Rows};
use sink::rows::Record;
use std::hint::black_box;

/// The tables of a decision's rows.
pub struct Columns {
    postbacks: Layout,
    conversions: Layout,
}

impl Columns {
    pub fn new() -> Result<Self> {
        let postbacks = layout::<schemas::PostbackOutcome>()?;
        Ok(Self { postbacks, conversions: layout::<schemas::Conversion>()? })
    }

    /// The rows of decisions, as one insert each; says how many decisions.
    pub fn fill(&self, rows: &Rows) -> Result<u64> {
        fill(&self.postbacks, &rows.postbacks)?;
        fill(&self.conversions, &rows.conversions)?;
        ensure!(rows.postbacks.len() == rows.conversions.len(), "decisions have other rows");
        Ok(rows.postbacks.len() as u64)
    }
}

fn fill<M: Record>(layout: &Layout, rows: &[Placed<M>]) -> Result<()> {
    let mut block = Block::new(layout, rows.len());
    for row in rows {
        block.push(&black_box(row).message.row())?;
    }
    black_box(block.finish());
    Ok(())
}

fn layout<M: Record>() -> Result<Layout> {
    let begin = format!("CREATE TABLE IF NOT EXISTS {} {{on_cluster}}\n(\n", M::TABLE);
    let statement = FILES.iter().find_map(|file| file.text.split_once(&begin)).context(M::TABLE)?.1;
    let columns = statement.lines().map_while(described);
    Ok(Layout::new::<M::Row>(M::TABLE, &columns.collect::<Vec<_>>())?)
}

/// A column of a statement, as ClickHouse describes it; none after the last one.
fn described(line: &str) -> Option<Described> {
    let (name, rest) = line.trim().split_once(' ').filter(|(name, _)| *name != "INDEX")?;
    let rest = rest.trim().trim_end_matches(',');
    let default_type = ["DEFAULT", "ALIAS"].into_iter().find(|it| rest.contains(it));
    let end = [" CODEC", " DEFAULT", " ALIAS"].into_iter().filter_map(|it| rest.find(it)).min();
    Some(Described {
        name: name.to_owned(),
        r#type: rest[..end.unwrap_or(rest.len())].replace("Decimal64(6)", "Decimal(18, 6)"),
        default_type: default_type.unwrap_or_default().to_owned(),
        ..Described::default()
    })
}
