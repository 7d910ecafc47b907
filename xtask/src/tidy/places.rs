//! Nothing in the repository points at one machine or at one package registry: those are settings
//! of whoever builds it.

use super::{Finding, SourceFile};

/// cargo writes where it got packages from; that file is its own.
const EXEMPT: &[&str] = &["Cargo.lock"];

/// First labels of the hosts that packages come from.
const REGISTRY_LABELS: &[&str] =
    &["artifactory", "deb", "index", "mirror", "nexus", "npm", "pypi", "registry", "repo", "repo1"];
/// Registries whose hosts do not begin with such a label.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("static.crates", ".io"),
    concat!("crates", ".io"),
    concat!("files.python", "hosted.org"),
];
/// Settings that name a registry.
const REGISTRY_SETTINGS: &[&str] =
    &[concat!("--index", "-url"), concat!("extra-index", "-url"), concat!("_auth", "Token")];

/// Folders of the machines that this is written on.
const MACHINE_FOLDERS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/")];
/// Fine in scripts and tests, but a reader of a document has other files there.
const SCRATCH_FOLDER: &str = concat!("/tm", "p/");

pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let files = files.iter().filter(|file| !EXEMPT.contains(&file.path.as_str()));
    files.flat_map(|file| check_file(&file.path, &file.text)).collect()
}

fn check_file(path: &str, text: &str) -> Vec<Finding> {
    let is_document = path.ends_with(".md");
    let lines = text.lines().enumerate();
    lines
        .filter_map(|(number, line)| {
            problem(line, is_document).map(|problem| Finding::at(path, number + 1, problem))
        })
        .collect()
}

fn problem(line: &str, is_document: bool) -> Option<String> {
    if let Some(host) = hosts(line).find(|host| is_registry(host)) {
        return Some(format!("names the registry {host}; leave that to the client's own settings"));
    }
    if let Some(setting) = REGISTRY_SETTINGS.iter().find(|it| line.contains(**it)) {
        return Some(format!("sets {setting}; leave that to the client's own settings"));
    }
    let folders = MACHINE_FOLDERS.iter().chain(is_document.then_some(&SCRATCH_FOLDER));
    let folder = folders.copied().find(|folder| names_folder(line, folder))?;
    Some(format!("names {folder}, a folder of one machine; use a path below the repository"))
}

/// The hosts of the URLs in a line.
fn hosts(line: &str) -> impl Iterator<Item = &str> {
    line.split("://").skip(1).map(|rest| {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-')));
        &rest[..end.unwrap_or(rest.len())]
    })
}

fn is_registry(host: &str) -> bool {
    let first = host.split('.').next().unwrap_or_default();
    let several_labels = host.contains('.');
    (several_labels && REGISTRY_LABELS.contains(&first)) || REGISTRY_HOSTS.contains(&host)
}

/// Whether an absolute path in the line begins with `folder`.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        // Part of a longer path or a URL otherwise.
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '}' | '*'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_and_machines_are_found() {
        let index = concat!("inde", "x");
        let cases = [
            (concat!("plain words about crates", ".io").to_owned(), true),
            ("see https://docs.rs/fjall".to_owned(), true),
            ("xmlns=\"http://maven.apache.org/POM/4.0.0\"".to_owned(), true),
            ("curl http://127.0.0.1:8080/c/x".to_owned(), true),
            (format!("https://{index}.example.org/simple"), false),
            (format!("sparse+https://{index}.crates.{}/", "io"), false),
            (concat!("pip install --index", "-url x").to_owned(), false),
            (concat!("cd /wo", "rk/main").to_owned(), false),
            (concat!("`/ro", "ot/.cargo`").to_owned(), false),
            (concat!("target/wo", "rk/x").to_owned(), true),
            (concat!("https://example.com/wo", "rk/x").to_owned(), true),
        ];
        for (line, fine) in cases {
            assert_eq!(problem(&line, false).is_none(), fine, "{line}");
        }
        let scratch = format!("look into {SCRATCH_FOLDER}x");
        assert!(problem(&scratch, true).is_some());
        assert!(problem(&scratch, false).is_none());
    }
}
