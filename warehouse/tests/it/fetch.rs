//! The script that fetches the engine library: what it does when npm is missing or gives
//! something else than what is pinned. Needs no network.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs the script with an empty cache and `npm` as the shell script given, or without any.
fn fetch(npm: Option<&str>) -> (Output, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let needed = [
        "sh",
        "dirname",
        "uname",
        "mkdir",
        "mktemp",
        "rm",
        "grep",
        "tail",
        "cut",
        "sleep",
        "sha512sum",
        "sha256sum",
        "tar",
        "gzip",
        "du",
        "mv",
        "chmod",
        "cat",
    ];
    for tool in needed {
        std::os::unix::fs::symlink(find(tool), bin.join(tool)).unwrap();
    }
    if let Some(npm) = npm {
        let path = bin.join("npm");
        std::fs::write(&path, format!("#!/bin/sh\n{npm}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/chdb/fetch.sh");
    let cache = folder.path().join("cache");
    let output =
        Command::new(script).env("PATH", &bin).env("GOKART_CACHE", cache).output().unwrap();
    (output, folder)
}

fn find(tool: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path)
        .map(|folder| folder.join(tool))
        .find(|path| path.is_file())
        .unwrap()
}

/// Nothing may be left that a later run would take for the library.
fn check(npm: Option<&str>, expected: &str) {
    let (output, folder) = fetch(npm);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("chdb: ") && last.contains(expected), "{said}");
    let cache = folder.path().join("cache/26.7.3-stable.1");
    let left = std::fs::read_dir(cache).map_or(0, |entries| entries.count());
    assert_eq!(left, 0, "nothing is kept");
}

#[test]
fn failures_are_one_line_and_leave_nothing() {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        eprintln!("SKIPPED: no engine library is pinned for this platform");
        return;
    }
    check(None, "npm is missing");
    check(Some("echo 'npm error network request failed' >&2; exit 1"), "network request failed");
    check(Some("exit 0"), "no package");
    let other = "while [ $# -gt 0 ]; do [ \"$1\" = --pack-destination ] && to=$2; shift; done; \
                 echo other >\"$to/x.tgz\"";
    check(Some(other), "not the pinned one");
}
