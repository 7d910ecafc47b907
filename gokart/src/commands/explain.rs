//! `explain`: the whole story of an id.

use super::{Failure, output};
use crate::cli::asking::{Explain, Format};
use crate::client::{Client, Target};

pub async fn run(ask: &Explain) -> Result<(), Failure> {
    if ask.format == Format::Csv {
        return Err(Failure::usage("a story has no CSV form; use table or json".to_owned()));
    }
    let target = Target::new(&["explain", ask.id.trim()]).with("tz", ask.tz.as_deref());
    let answer = Client::connect(&ask.connection)?.get(target).await?;
    let text = match ask.format {
        Format::Json => output::json(&answer),
        Format::Table | Format::Csv => answer["text"].as_str().unwrap_or_default().to_owned(),
    };
    output::print(&text)
}
