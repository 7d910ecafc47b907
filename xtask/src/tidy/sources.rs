//! Files stay small, and nothing unfinished or switched off is left in them.

use super::{Finding, SourceFile};

/// A file longer than this has more than one job.
const LINES_MAX: usize = 700;

/// Words that must not be in a source file, and what to do instead. Taken apart, so that this file
/// does not hold them itself.
const BANNED: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "do it, or say in the documents that it is absent"),
    (concat!("FIX", "ME"), "mend it"),
    (concat!("to", "do!"), "write it"),
    (concat!("unimpl", "emented!"), "write it"),
    (concat!("#[ig", "nore"), "a test that does not run proves nothing; mend or remove it"),
    (concat!("allow(dead", "_code"), "remove what nothing uses"),
];

pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let sources = files.iter().filter(|file| file.path.ends_with(".rs"));
    sources.flat_map(|file| check_source(&file.path, &file.text)).collect()
}

fn check_source(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        findings.push(Finding::of(
            path,
            format!("has {lines} lines; {LINES_MAX} is the most, split it by job"),
        ));
    }
    for (number, line) in text.lines().enumerate() {
        let words = BANNED.iter().filter(|(word, _)| line.contains(word));
        findings.extend(words.map(|(word, advice)| {
            Finding::at(path, number + 1, format!("{word:?} is not kept here: {advice}"))
        }));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_unfinished_files_are_found() {
        let check = |text: &str| check_source("a.rs", text).len();
        assert_eq!(check("fn main() {}\n"), 0);
        assert_eq!(check(&"\n".repeat(LINES_MAX)), 0);
        assert_eq!(check(&"\n".repeat(LINES_MAX + 1)), 1);
        for (word, _) in BANNED {
            assert_eq!(check(&format!("fn a() {{}}\n// {word}\n")), 1, "{word}");
        }
    }
}
