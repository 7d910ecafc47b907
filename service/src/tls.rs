//! TLS for a server: a certificate and its key from two PEM files, which are looked at again while
//! the server runs, so that a renewed certificate is served without a restart.

use crate::{ServiceError, Shutdown};
use arc_swap::ArcSwap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys, ServerConfig, version};

/// A chain of certificates, or a key, is never near this.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// How often the files are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// What a client may choose by ALPN, best first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [HTTP2, b"http/1.1"];
const HTTP2: &[u8] = b"h2";

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the server's own certificate first, then those between it and the authority.
    pub certificate: PathBuf,
    /// PEM: the key of the first certificate, without a password.
    pub key: PathBuf,
}

/// A server's TLS. Clones share the certificate.
#[derive(Clone)]
pub struct Tls {
    files: TlsFiles,
    served: Arc<Served>,
    config: Arc<ServerConfig>,
}

/// The certificate that is served now, and the bytes of the files that it came from.
struct Served(ArcSwap<(Arc<CertifiedKey>, [Vec<u8>; 2])>);

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    ///
    /// Bad configuration: a file that cannot be read or holds something else, or a key that does not
    /// belong to the certificate.
    pub fn load(files: TlsFiles) -> Result<Self, ServiceError> {
        let wrong = |message: String| ServiceError::Configuration(message);
        let bytes = read(&files).map_err(wrong)?;
        let key = certified(&files, &bytes).map_err(wrong)?;
        let served = Arc::new(Served(ArcSwap::from_pointee((key, bytes))));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(|error| ServiceError::Failed(format!("TLS: {error}")))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&served) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        // Who comes back is known again without anything being kept here for it.
        config.ticketer = ring::Ticketer::new()
            .map_err(|error| ServiceError::Failed(format!("TLS tickets: {error}")))?;
        Ok(Self { files, served, config: Arc::new(config) })
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Looks at the files again and again until told to stop. What cannot be served is told in the
    /// log, once for each change, and what was served before is served on.
    pub(crate) async fn follow(self, shutdown: Shutdown) {
        let mut refused = None;
        loop {
            tokio::select! {
                () = shutdown.wait() => return,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            let (this, before) = (self.clone(), refused.clone());
            // Files may be on a disk that hangs.
            let looked = tokio::task::spawn_blocking(move || this.reload(before)).await;
            refused = looked.unwrap_or(refused);
        }
    }

    /// Serves what the files hold now, if that is something else; gives back what was refused.
    fn reload(&self, refused: Option<String>) -> Option<String> {
        let renewed = read(&self.files).and_then(|bytes| {
            if self.served.0.load().1 == bytes {
                return Ok(false);
            }
            let key = certified(&self.files, &bytes)?;
            self.served.0.store(Arc::new((key, bytes)));
            Ok(true)
        });
        match renewed {
            Ok(true) => tracing::info!(
                certificate = %self.files.certificate.display(),
                "a new TLS certificate is served from now on"
            ),
            Ok(false) => {}
            Err(message) => {
                if refused.as_ref() != Some(&message) {
                    tracing::warn!("{message}; the TLS certificate of before is served on");
                }
                return Some(message);
            }
        }
        None
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Served")
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().0))
    }
}

/// Whether HTTP/2 is what client and server agreed on.
pub(crate) fn is_http2(agreed: Option<&[u8]>) -> bool {
    agreed == Some(HTTP2)
}

fn read(files: &TlsFiles) -> Result<[Vec<u8>; 2], String> {
    let of = |path: &Path, what: &str| {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| {
                format!("the TLS {what} {} cannot be read: {error}", path.display())
            })?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(format!("the TLS {what} {} is larger than 1 MiB", path.display()));
        }
        Ok(bytes)
    };
    Ok([of(&files.certificate, "certificate")?, of(&files.key, "key")?])
}

/// Reads the PEM texts and sees whether they belong together. Never says what is in the key's file.
fn certified(files: &TlsFiles, [chain, key]: &[Vec<u8>; 2]) -> Result<Arc<CertifiedKey>, String> {
    let (chain_path, key_path) = (files.certificate.display(), files.key.display());
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or_else(|| {
            format!(
                "the TLS certificate {chain_path} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"
            )
        })?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        PemError::NoItemsFound => format!(
            "the TLS key {key_path} holds no key in PEM without a password (-----BEGIN PRIVATE KEY-----)"
        ),
        _ => format!("the TLS key {key_path} is not PEM"),
    })?;
    let certified = CertifiedKey::from_der(chain, key, &ring::default_provider());
    certified.map(Arc::new).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => format!(
            "the TLS key {key_path} does not belong to the first certificate in {chain_path}"
        ),
        Error::InvalidCertificate(_) => {
            format!("the first certificate in {chain_path} is not one of a server: {error}")
        }
        _ => format!(
            "the TLS key {key_path} cannot be used; make it ECDSA P-256, Ed25519 or RSA of 2048 bits or more"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn files(directory: &Path, certificate: &str, key: &str) -> TlsFiles {
        let files =
            TlsFiles { certificate: directory.join("tls.pem"), key: directory.join("tls.key") };
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.key, key).unwrap();
        files
    }

    #[test]
    fn what_is_wrong_with_the_files_is_said_without_what_is_in_them() {
        let directory = tempfile::tempdir().unwrap();
        let ((certificate, key), (_, other)) = (pair("a.test"), pair("b.test"));
        let big = "x".repeat(FILE_BYTES_MAX as usize + 1);
        let secret = key.lines().nth(1).unwrap();
        assert!(Tls::load(files(directory.path(), &certificate, &key)).is_ok());
        for (certificate, key, expected) in [
            (certificate.as_str(), other.as_str(), "does not belong to the first certificate"),
            ("", key.as_str(), "holds no certificate in PEM"),
            (key.as_str(), key.as_str(), "holds no certificate in PEM"),
            (&certificate, "", "holds no key in PEM"),
            (&certificate, &certificate, "holds no key in PEM"),
            (&certificate, &key.replace('\n', ""), "tls.key"),
            (&certificate, &big, "larger than 1 MiB"),
        ] {
            let error = Tls::load(files(directory.path(), certificate, key)).unwrap_err();
            assert_eq!(error.exit_code(), 78);
            let error = error.to_string();
            assert!(error.contains(expected) && !error.contains('\n'), "{expected}: {error}");
            assert!(!error.contains(secret), "{error}");
        }
        let missing = TlsFiles { certificate: "/nowhere/a".into(), key: "/nowhere/b".into() };
        assert!(Tls::load(missing).unwrap_err().to_string().contains("/nowhere/a cannot be read"));
    }

    #[test]
    fn a_renewed_certificate_is_served_and_a_broken_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let ((first, first_key), (second, second_key)) = (pair("a.test"), pair("b.test"));
        let tls = Tls::load(files(directory.path(), &first, &first_key)).unwrap();
        let served = || tls.served.0.load().0.cert[0].clone();
        let before = served();
        assert_eq!(tls.reload(None), None);
        assert_eq!(served(), before);
        // Between the two files of a renewal: the key does not belong to the certificate yet.
        files(directory.path(), &second, &first_key);
        let refused = tls.reload(None);
        assert!(refused.as_ref().unwrap().contains("does not belong"), "{refused:?}");
        assert_eq!(served(), before);
        files(directory.path(), &second, &second_key);
        assert_eq!(tls.reload(refused), None);
        assert_ne!(served(), before);
    }
}
