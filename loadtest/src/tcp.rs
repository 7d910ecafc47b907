//! TCP and TLS streams to the target.

use crate::connection::Connect;
use anyhow::{Context as _, Result, bail, ensure};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// TCP, without Nagle's delay, to several addresses in turn: a connection that was lost is made
/// again to the next one.
#[derive(Clone)]
pub struct Tcp {
    addresses: Arc<[SocketAddr]>,
    next: Arc<AtomicUsize>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// How to speak TLS with the target.
#[derive(Debug)]
pub struct TlsSettings<'s> {
    /// The host that its certificate is to be for.
    pub host: &'s str,
    /// PEM of the authorities to trust; none: those of the web.
    pub ca_file: Option<&'s Path>,
    /// Trust anybody.
    pub insecure: bool,
    pub http2: bool,
}

impl Tcp {
    /// There must be one address at least.
    pub fn new(addresses: Vec<SocketAddr>, tls: Option<&TlsSettings<'_>>) -> Result<Self> {
        let is_here = addresses.iter().all(|it| it.ip().to_canonical().is_loopback());
        ensure!(
            is_here || !tls.is_some_and(|it| it.insecure),
            "--insecure is for this machine only; name the target's authority with --ca-file"
        );
        let tls = tls.map(connector).transpose()?;
        Ok(Self { addresses: addresses.into(), next: Arc::default(), tls })
    }
}

fn connector(settings: &TlsSettings<'_>) -> Result<(TlsConnector, ServerName<'static>)> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions()?;
    let mut config = if settings.insecure {
        let anybody = Arc::new(Anybody(provider));
        builder.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth()
    } else {
        builder.with_root_certificates(authorities(settings.ca_file)?).with_no_client_auth()
    };
    let protocol: &[u8] = if settings.http2 { b"h2" } else { b"http/1.1" };
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from(settings.host.to_owned());
    let name = name.with_context(|| format!("{:?} is no host of a certificate", settings.host))?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

fn authorities(file: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    };
    let what = || format!("the authorities in {}", file.display());
    for certificate in CertificateDer::pem_file_iter(file).with_context(what)? {
        roots.add(certificate.with_context(what)?).with_context(what)?;
    }
    if roots.is_empty() {
        bail!("{} holds no certificate in PEM", file.display());
    }
    Ok(roots)
}

impl Connect for Tcp {
    type Stream = Stream;

    async fn connect(&self) -> io::Result<Stream> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.addresses.len();
        let stream = TcpStream::connect(self.addresses[turn]).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Stream::Plain(stream)),
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await?;
                Ok(Stream::Tls(Box::new(stream)))
            }
        }
    }
}

/// A connection's bytes.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Trusts every certificate, but still wants its key's signature. For loopback only.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusting_anybody_is_for_this_machine() {
        let settings =
            TlsSettings { host: "localhost", ca_file: None, insecure: true, http2: false };
        let to = |address: &str| Tcp::new(vec![address.parse().unwrap()], Some(&settings));
        assert!(to("127.0.0.1:1").is_ok());
        let error = to("192.0.2.1:1").err().unwrap().to_string();
        assert!(error.contains("--ca-file"), "{error}");
    }
}
