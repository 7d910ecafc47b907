//! Only servers that prove who they are hear anything, with certificates made for each test.

use crate::world::{World, conversion, get};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use schemas::DeliveryProblem;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server with a certificate of its own; counts the requests that reach it.
async fn server(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    name: &str,
    change: impl FnOnce(&mut CertificateParams),
) -> (u16, Arc<AtomicUsize>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    change(&mut params);
    let certificate = params.signed_by(&key, issuer).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
            tokio::spawn(async move {
                // The other side may refuse the certificate.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut buffer = [0; 8192];
                if matches!(stream.read(&mut buffer).await, Ok(bytes) if bytes > 0) {
                    count.fetch_add(1, Ordering::Relaxed);
                    let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                    let _ = stream.write_all(answer).await;
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    (port, requests)
}

#[tokio::test]
async fn certificates_are_checked() {
    let (known, unknown) = (authority(), authority());
    let servers = [
        ("good", server(&known, "localhost", |_| ()).await),
        ("unknown", server(&unknown, "localhost", |_| ()).await),
        ("other-name", server(&known, "other.example", |_| ()).await),
        (
            "expired",
            server(&known, "localhost", |it| {
                it.not_before = date_time_ymd(2020, 1, 1);
                it.not_after = date_time_ymd(2021, 1, 1);
            })
            .await,
        ),
        (
            "not-yet",
            server(&known, "localhost", |it| {
                it.not_before = date_time_ymd(3000, 1, 1);
                it.not_after = date_time_ymd(3001, 1, 1);
            })
            .await,
        ),
    ];
    let postbacks: Vec<_> = servers
        .iter()
        .map(|(name, (port, _))| get(name, &format!("https://localhost:{port}/{name}")))
        .collect();
    let mut world = World::new();
    world.configure(json!(postbacks), json!([])).await;
    // Without the authority's certificate nobody is known.
    let running = world.start();
    world.decide(vec![conversion(1, 1, "Success")]).await;
    world.until("retrying", servers.len()).await;
    running.kill().await;
    assert!(servers.iter().all(|(_, (_, requests))| requests.load(Ordering::Relaxed) == 0));

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("authority.pem");
    std::fs::write(&file, known.pem()).unwrap();
    world.config.ca_file = Some(file);
    let running = world.start();
    world.decide(vec![conversion(2, 1, "Success")]).await;
    world.until("delivered", 1).await;
    let attempts = world.until("retrying", 2 * servers.len() - 1).await;
    running.stop().await;
    for (name, (_, requests)) in &servers {
        let expected = usize::from(*name == "good");
        assert_eq!(requests.load(Ordering::Relaxed), expected, "{name}");
    }
    for attempt in attempts.iter().filter(|it| it.outcome.code() == "retrying") {
        assert_eq!(attempt.problem, Some(DeliveryProblem::Tls), "{attempt:?}");
    }
}
