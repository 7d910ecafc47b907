//! What each metric means, from the table that people read: `docs/METRICS.md` is built in, so that
//! the help texts of `/metrics` and the document cannot differ.

const DOCUMENT: &str = include_str!("../../docs/METRICS.md");

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    name: &'static str,
    kind: &'static str,
    meaning: &'static str,
}

/// Gives every metric its help text. Metrics that are never touched do not show all the same.
pub fn describe() {
    for Entry { name, kind, meaning } in entries() {
        match kind {
            "counter" => metrics::describe_counter!(name, meaning),
            "gauge" => metrics::describe_gauge!(name, meaning),
            _ => metrics::describe_histogram!(name, metrics::Unit::Seconds, meaning),
        }
    }
}

fn entries() -> impl Iterator<Item = Entry> {
    DOCUMENT.lines().filter_map(|line| {
        let cells = line.strip_prefix("| `")?.strip_suffix(" |")?;
        let (name, rest) = cells.split_once("` | ")?;
        let kind = rest.split_once(" |")?.0;
        let meaning = rest.rsplit_once("| ")?.1;
        Some(Entry { name, kind, meaning })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read_and_says_something() {
        let rows = DOCUMENT.lines().filter(|line| line.starts_with("| `")).count();
        let entries: Vec<Entry> = entries().collect();
        assert!(rows > 50, "{rows}");
        assert_eq!(entries.len(), rows);
        for Entry { name, kind, meaning } in &entries {
            assert!(name.starts_with("gokart_"), "{name}");
            let of_kind = match *kind {
                "counter" => name.ends_with("_total"),
                "histogram" => name.ends_with("_seconds"),
                "gauge" => !name.ends_with("_total"),
                other => panic!("{name} is no {other}"),
            };
            assert!(of_kind, "{name} is named unlike a {kind}");
            assert!(meaning.ends_with('.') && meaning.len() > 20, "{name}: {meaning:?}");
        }
        let mut names: Vec<_> = entries.iter().map(|it| it.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), rows, "a metric stands there twice");
    }
}
