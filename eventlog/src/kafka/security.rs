//! Who we are to the brokers, and how we know them: TLS and SASL.

use crate::OpenError;
use rdkafka::ClientConfig;
use std::fmt;
use std::path::{Path, PathBuf};

/// Kafka's `security.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    #[default]
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl Protocol {
    /// As Kafka writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    const fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    const fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// How the password is shown to the brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

impl Mechanism {
    /// As Kafka writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// TLS and SASL to the brokers. The default is neither.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    pub protocol: Protocol,
    /// With SASL only, and then it must be there, with name and password.
    pub mechanism: Option<Mechanism>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    /// With TLS only: certificates (PEM) of the authorities that are trusted; none: the system's.
    pub ca_file: Option<PathBuf>,
    /// With TLS only: our own certificate chain and its key (PEM), for brokers that ask for one.
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// Of the key file, when it is encrypted.
    pub key_password: Option<Secret>,
}

impl Security {
    /// Refuses what does not go together, rather than leaving a part of it unused.
    pub(super) fn check(&self) -> Result<(), OpenError> {
        let name = self.protocol.name();
        let wrong = |why: String| Err(OpenError::Configuration(why));
        let sasl = [
            ("--kafka-sasl-mechanism", self.mechanism.is_some()),
            ("--kafka-username", self.username.is_some()),
            ("--kafka-password-file", self.password.is_some()),
        ];
        for (flag, is_set) in sasl {
            if is_set && !self.protocol.has_sasl() {
                return wrong(format!(
                    "{flag} is for SASL, and --kafka-security-protocol is {name}: make it SASL_SSL"
                ));
            }
            if !is_set && self.protocol.has_sasl() {
                return wrong(format!("{name} to Kafka wants {flag}"));
            }
        }
        let tls = [
            ("--kafka-ca-file", &self.ca_file),
            ("--kafka-certificate-file", &self.certificate_file),
            ("--kafka-key-file", &self.key_file),
        ];
        for (flag, path) in tls {
            let Some(path) = path else { continue };
            if !self.protocol.has_tls() {
                return wrong(format!(
                    "{flag} is for TLS, and --kafka-security-protocol is {name}: make it SSL or \
                     SASL_SSL"
                ));
            }
            readable(flag, path)?;
        }
        if self.certificate_file.is_some() != self.key_file.is_some() {
            return wrong(
                "--kafka-certificate-file and --kafka-key-file belong together".to_string(),
            );
        }
        if self.key_password.is_some() && self.key_file.is_none() {
            return wrong("--kafka-key-password-file is of no use without --kafka-key-file".into());
        }
        if self.protocol == Protocol::SaslPlaintext {
            tracing::warn!("the connections to Kafka are not encrypted (SASL_PLAINTEXT)");
        }
        Ok(())
    }

    pub(super) fn apply(&self, client: &mut ClientConfig) {
        client.set("security.protocol", self.protocol.name());
        let path = |path: &PathBuf| path.display().to_string();
        let settings = [
            ("sasl.mechanism", self.mechanism.map(|it| it.name().to_string())),
            ("sasl.username", self.username.clone()),
            ("sasl.password", self.password.as_ref().map(|it| it.0.clone())),
            ("ssl.ca.location", self.ca_file.as_ref().map(path)),
            ("ssl.certificate.location", self.certificate_file.as_ref().map(path)),
            ("ssl.key.location", self.key_file.as_ref().map(path)),
            ("ssl.key.password", self.key_password.as_ref().map(|it| it.0.clone())),
        ];
        for (name, value) in settings {
            if let Some(value) = value {
                client.set(name, value);
            }
        }
    }
}

/// librdkafka's own words about a file that is not there are about TLS, not about the file.
fn readable(flag: &str, path: &Path) -> Result<(), OpenError> {
    std::fs::File::open(path).map(drop).map_err(|error| {
        OpenError::Configuration(format!("{flag} {} cannot be read: {error}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(security: &Security, words: Option<&str>) {
        let told = security.check().err().map(|error| error.to_string());
        match words {
            None => assert_eq!(told, None),
            Some(words) => {
                assert!(told.as_ref().is_some_and(|it| it.contains(words)), "{words}: {told:?}");
            }
        }
    }

    fn sasl() -> Security {
        Security {
            protocol: Protocol::SaslSsl,
            mechanism: Some(Mechanism::ScramSha512),
            username: Some("gokart".to_string()),
            password: Some(Secret::new("hunter2")),
            ..Security::default()
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        check(&Security::default(), None);
        check(&sasl(), None);
        check(&Security { password: None, ..sasl() }, Some("--kafka-password-file"));
        check(&Security { username: None, ..sasl() }, Some("--kafka-username"));
        check(&Security { protocol: Protocol::Ssl, ..sasl() }, Some("make it SASL_SSL"));
        let tls = Security { protocol: Protocol::Ssl, ..Security::default() };
        check(&tls, None);
        let missing = Some(PathBuf::from("/nowhere/ca.pem"));
        check(&Security { ca_file: missing.clone(), ..tls.clone() }, Some("/nowhere/ca.pem"));
        check(&Security { ca_file: missing, ..Security::default() }, Some("is for TLS"));
        let file = tempfile::NamedTempFile::new().unwrap();
        let own = Some(file.path().to_path_buf());
        check(&Security { key_file: own.clone(), ..tls.clone() }, Some("belong together"));
        check(&Security { certificate_file: own, ..tls.clone() }, Some("belong together"));
        check(&Security { key_password: Some(Secret::new("x")), ..tls }, Some("of no use"));
    }

    #[test]
    fn secrets_are_not_shown() {
        assert!(!format!("{:?}", sasl()).contains("hunter2"));
    }
}
