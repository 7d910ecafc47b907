//! The warehouse against the real engine, over HTTP, in processes of its own.

mod access;
mod clients;
mod crash;
mod fetch;
mod interface;
mod support;

use std::path::PathBuf;
use std::sync::OnceLock;
use support::Warehouse;

/// Becomes a warehouse when `support` starts this very program as one; else passes.
#[test]
fn be_a_warehouse() {
    support::serve_when_asked();
}

fn library() -> Option<&'static PathBuf> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    LIBRARY.get_or_init(support::library).as_ref()
}

/// One warehouse for all tests that do not stop it; it ends with this process, whose pipe it has.
fn shared() -> Option<&'static Warehouse> {
    static SHARED: OnceLock<Option<(Warehouse, tempfile::TempDir)>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        let data_dir = tempfile::tempdir().unwrap();
        Some((Warehouse::start(library()?, data_dir.path()), data_dir))
    });
    shared.as_ref().map(|(warehouse, _)| warehouse)
}
