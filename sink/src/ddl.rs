//! The numbered files as statements for one node or for a cluster.

use sha2::{Digest, Sha256};

/// The statements of a file, for one node (`None`) or for a cluster by its name.
#[must_use]
pub fn statements(text: &str, cluster: Option<&str>) -> Vec<String> {
    let (on_cluster, replicated) = match cluster {
        Some(name) => (format!("ON CLUSTER '{name}'"), "Replicated"),
        None => (String::new(), ""),
    };
    // Comments go first: they may hold anything, a semicolon too.
    let code: Vec<&str> =
        text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let code = code.join("\n").replace("{on_cluster}", &on_cluster);
    let code = code.replace("{replicated}", replicated);
    let statements = code.split(";\n").map(|statement| statement.trim().trim_end_matches(';'));
    statements.filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
}

/// A file's fingerprint: of its text, so that one node and a cluster record the same.
#[must_use]
pub fn sha256_hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, cluster: Option<&str>, expected: &[&str]) {
        assert_eq!(statements(text, cluster), expected, "{text}");
    }

    #[test]
    fn one_text_for_one_node_and_for_a_cluster() {
        let text =
            "-- a; b\nCREATE x {on_cluster}\nENGINE = {replicated}ReplacingMergeTree;\n\nB;\n";
        check(text, None, &["CREATE x \nENGINE = ReplacingMergeTree", "B"]);
        check(
            text,
            Some("main"),
            &["CREATE x ON CLUSTER 'main'\nENGINE = ReplicatedReplacingMergeTree", "B"],
        );
        check("-- nothing\n", None, &[]);
    }

    #[test]
    fn no_placeholder_is_left_in_our_files() {
        for file in schemas::sql::FILES.iter().chain([&schemas::sql::MIGRATIONS]) {
            for cluster in [None, Some("main")] {
                let statements = statements(file.text, cluster);
                assert!(!statements.is_empty(), "{}", file.name);
                let known = |s: &String| s.starts_with("CREATE") || s.starts_with("ALTER TABLE");
                assert!(statements.iter().all(known), "{}", file.name);
                assert!(!statements.concat().contains(['{', '}']), "{}", file.name);
            }
        }
    }

    #[test]
    fn a_known_fingerprint() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex("abc"), expected);
    }
}
