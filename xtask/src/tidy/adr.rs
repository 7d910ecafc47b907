//! Decision records: one number each, and each says what a reader looks for.

use super::{Finding, SourceFile};
use std::collections::BTreeMap;

const FOLDER: &str = "docs/adr/";

/// What every record has, as the beginning of a line in bold or of a heading.
const SECTIONS: &[(&str, &[&str])] = &[
    ("Context", &["context"]),
    ("Decision", &["decision"]),
    ("Why", &["why"]),
    ("Costs", &["cost", "what it costs"]),
];

pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut numbers: BTreeMap<u32, &str> = BTreeMap::new();
    for file in files {
        let Some(name) = file.path.strip_prefix(FOLDER) else { continue };
        let Some(number) = number_of(name) else {
            findings.push(Finding::of(&file.path, "is not named NNNN-title.md"));
            continue;
        };
        if let Some(other) = numbers.insert(number, &file.path) {
            findings.push(Finding::of(
                &file.path,
                format!("has the number of {other}; take the next free one"),
            ));
        }
        findings.extend(check_record(&file.path, number, &file.text));
    }
    findings
}

/// The number in `NNNN-title.md`.
fn number_of(name: &str) -> Option<u32> {
    let (digits, title) = name.strip_suffix(".md")?.split_once('-')?;
    let well_formed = digits.len() == 4
        && !title.is_empty()
        && title.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if well_formed { digits.parse().ok() } else { None }
}

fn check_record(path: &str, number: u32, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if heading_number(text) != Some(number) {
        findings.push(Finding::at(path, 1, format!("begin with \"# {number}. <title>\"")));
    }
    let starts: Vec<String> = text.lines().filter_map(section_start).collect();
    for (section, spellings) in SECTIONS {
        let is_there = |start: &String| spellings.iter().any(|it| start.starts_with(it));
        if !starts.iter().any(is_there) {
            findings.push(Finding::of(path, format!("has no section **{section}.**")));
        }
    }
    findings
}

/// The number in the heading: `# 7. Title` or `# 0007: Title`.
fn heading_number(text: &str) -> Option<u32> {
    let heading = text.strip_prefix("# ")?;
    let end = heading.find(|c: char| !c.is_ascii_digit())?;
    heading[..end].parse().ok()
}

/// The words after `**` or `##`, in lower case.
fn section_start(line: &str) -> Option<String> {
    let words = line.strip_prefix("**").or_else(|| line.strip_prefix("##"))?;
    Some(words.trim_start_matches(['#', ' ']).to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "# 7. A\n\n**Context.** x\n\n**Decision.** x\n\n## Why\n\n**Costs.** x\n";

    fn check_texts(files: &[(&str, &str)]) -> usize {
        let files: Vec<SourceFile> = files
            .iter()
            .map(|(path, text)| SourceFile { path: (*path).into(), text: (*text).into() })
            .collect();
        check(&files).len()
    }

    #[test]
    fn records_are_numbered_once_and_whole() {
        let second = WHOLE.replace("# 7.", "# 8.");
        assert_eq!(
            check_texts(&[("docs/adr/0007-a.md", WHOLE), ("docs/adr/0008-b.md", &second)]),
            0
        );
        assert_eq!(check_texts(&[("docs/adr/0007-a.md", WHOLE), ("docs/adr/0007-b.md", WHOLE)]), 1);
        assert_eq!(check_texts(&[("docs/adr/0008-a.md", WHOLE)]), 1);
        assert_eq!(check_texts(&[("docs/adr/seven.md", WHOLE)]), 1);
        assert_eq!(check_texts(&[("docs/adr/0007-a.md", &WHOLE.replace("**Costs", "Costs"))]), 1);
        assert_eq!(check_texts(&[("docs/other.md", "")]), 0);
    }
}
