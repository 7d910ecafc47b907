//! Where strangers want to go: paths and hosts of every kind. The same place however it is pasted.
//!
//! Input: the path, a line break, the host field, a line break, the authority of an absolute form.

#![no_main]

use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::{Uri, Version};
use ingest::{Route, host, route, tenant_label};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let mut next = || lines.next().unwrap_or_default();
    let (path, field, authority) = (next(), next(), next());
    check_path(&String::from_utf8_lossy(path));
    check_host(field, authority);
});

fn check_path(path: &str) {
    let found = route(path);
    match &found {
        Route::Postback(pieces) => assert!(pieces.iter().all(|it| is_piece(it))),
        Route::Click(share) => assert!(is_piece(share)),
        Route::Other => {}
    }
    assert!(route(&format!("/{path}")) == found, "a doubled slash");
    // An escape that the path leaves open would take the slash for its own.
    if !path.ends_with('%') && path.chars().rev().nth(1) != Some('%') {
        assert!(route(&format!("{path}%2F")) == found, "an encoded slash at the end");
    }
}

fn is_piece(piece: &str) -> bool {
    !piece.is_empty() && !piece.contains('/') && piece.trim() == piece
}

fn check_host(field: &[u8], authority: &[u8]) {
    let Ok(field) = HeaderValue::from_bytes(field) else { return };
    let mut headers = HeaderMap::new();
    headers.append(HOST, field);
    let origin = Uri::from_static("/");
    let absolute = Uri::builder().scheme("http").authority(authority).path_and_query("/").build();
    for uri in std::iter::once(origin).chain(absolute.ok()) {
        let Some(host) = host(Version::HTTP_11, &uri, &headers) else { continue };
        assert_eq!(host, host.to_ascii_lowercase());
        if let Some(label) = tenant_label(&host, &["localhost".to_owned()]) {
            assert_eq!(host, format!("api.{label}.localhost"));
        }
    }
}
