//! How Kafka's brokers are reached, and who we are to them.

use super::parse;
use clap::{Args, ValueEnum};
use eventlog::kafka::security;
use std::path::PathBuf;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Kafka")]
pub struct Kafka {
    /// As in Kafka: with SSL the connections are encrypted, with SASL we give a name and password.
    #[arg(
        long,
        env = "GOKART_KAFKA_SECURITY_PROTOCOL",
        value_name = "NAME",
        value_enum,
        ignore_case = true,
        default_value = "PLAINTEXT"
    )]
    pub kafka_security_protocol: Protocol,
    /// How the password is shown to the brokers (SASL).
    #[arg(
        long,
        env = "GOKART_KAFKA_SASL_MECHANISM",
        value_name = "NAME",
        value_enum,
        ignore_case = true
    )]
    pub kafka_sasl_mechanism: Option<Mechanism>,
    /// Who we are to the brokers (SASL).
    #[arg(long, env = "GOKART_KAFKA_USERNAME", value_name = "NAME")]
    pub kafka_username: Option<String>,
    /// File that holds the password (SASL). Without one, the environment variable
    /// GOKART_KAFKA_PASSWORD holds it.
    #[arg(long, env = "GOKART_KAFKA_PASSWORD_FILE", value_name = "FILE")]
    pub kafka_password_file: Option<PathBuf>,
    /// Certificates (PEM) of the authorities that the brokers' certificates are checked with; the
    /// system's without it (SSL).
    #[arg(long, env = "GOKART_KAFKA_CA_FILE", value_name = "FILE")]
    pub kafka_ca_file: Option<PathBuf>,
    /// Our certificate chain (PEM), for brokers that ask for one (SSL).
    #[arg(long, env = "GOKART_KAFKA_CERTIFICATE_FILE", value_name = "FILE")]
    pub kafka_certificate_file: Option<PathBuf>,
    /// The key (PEM) of our certificate.
    #[arg(long, env = "GOKART_KAFKA_KEY_FILE", value_name = "FILE")]
    pub kafka_key_file: Option<PathBuf>,
    /// File that holds the password of an encrypted key file. Without one, the environment variable
    /// GOKART_KAFKA_KEY_PASSWORD holds it.
    #[arg(long, env = "GOKART_KAFKA_KEY_PASSWORD_FILE", value_name = "FILE")]
    pub kafka_key_password_file: Option<PathBuf>,
    /// A librdkafka property, as name=value; repeat it for more, or separate them by `;` in the
    /// environment variable. Those that something rests on are refused, and so are secrets.
    #[arg(long = "kafka-property", env = "GOKART_KAFKA_PROPERTY", value_name = "NAME=VALUE",
        value_delimiter = ';', value_parser = parse::property, hide_env_values = true)]
    pub kafka_properties: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    #[value(name = "PLAINTEXT")]
    Plaintext,
    #[value(name = "SSL")]
    Ssl,
    #[value(name = "SASL_PLAINTEXT")]
    SaslPlaintext,
    #[value(name = "SASL_SSL")]
    SaslSsl,
}

impl From<Protocol> for security::Protocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Plaintext => Self::Plaintext,
            Protocol::Ssl => Self::Ssl,
            Protocol::SaslPlaintext => Self::SaslPlaintext,
            Protocol::SaslSsl => Self::SaslSsl,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mechanism {
    #[value(name = "PLAIN")]
    Plain,
    #[value(name = "SCRAM-SHA-256")]
    ScramSha256,
    #[value(name = "SCRAM-SHA-512")]
    ScramSha512,
}

impl From<Mechanism> for security::Mechanism {
    fn from(mechanism: Mechanism) -> Self {
        match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::ScramSha256 => Self::ScramSha256,
            Mechanism::ScramSha512 => Self::ScramSha512,
        }
    }
}
