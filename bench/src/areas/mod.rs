//! What is measured: one module an area.

mod log;

use crate::context::Context;
use crate::results::Line;
use anyhow::{Result, bail};

/// One area, by the name of its module.
pub struct Area {
    pub name: &'static str,
    pub about: &'static str,
}

pub const ALL: &[Area] =
    &[Area { name: "log", about: "commits to the embedded log against plain writes with fsync" }];

/// Measures one area.
///
/// # Errors
///
/// What the area says when it cannot be measured here, such as a missing engine.
pub async fn measure(name: &str, context: &Context) -> Result<Vec<Line>> {
    match name {
        "log" => log::measure(context).await,
        other => bail!("no module measures {other:?}"),
    }
}
