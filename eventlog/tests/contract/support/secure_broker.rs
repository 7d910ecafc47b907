//! A broker that wants to know who we are: SASL over TLS on one listener, certificates of clients
//! on another, all certificates from an authority made for the occasion.

use super::broker;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

pub const USER: &str = "gokart";
pub const PASSWORD: &str = "hunter2-canary";

pub struct SecureBroker {
    dir: TempDir,
    /// `host:port` that wants SASL (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512) over TLS.
    pub sasl: String,
    /// `host:port` that wants a client's certificate.
    pub mutual: String,
}

impl SecureBroker {
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// One for all tests of this process; `None` after having said loudly what is missing.
pub fn secure_broker() -> Option<&'static SecureBroker> {
    static BROKER: OnceLock<Option<SecureBroker>> = OnceLock::new();
    BROKER.get_or_init(start).as_ref()
}

fn start() -> Option<SecureBroker> {
    if !broker::is_installed("openssl", "version") {
        eprintln!("SKIPPED: TLS and SASL to Kafka, because `openssl` is not installed");
        return None;
    }
    if !broker::can_start() {
        return None;
    }
    let dir = tempfile::tempdir().expect("a directory");
    for authority in ["ca", "another-ca"] {
        certificate(dir.path(), authority, None);
    }
    for name in ["broker", "client"] {
        certificate(dir.path(), name, Some("ca"));
    }
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect("a PEM file");
    let both = read("broker.key") + &read("broker.pem");
    std::fs::write(dir.path().join("broker-both.pem"), both).expect("a key store");
    let (sasl, mutual) = (free_port(), free_port());
    let place = dir.path().display();
    let properties = format!(
        "listeners=BROKER://127.0.0.1:@PORT@,CONTROLLER://127.0.0.1:@CONTROLLER_PORT@,\
         SASL://127.0.0.1:{sasl},MUTUAL://127.0.0.1:{mutual}\n\
         advertised.listeners=BROKER://127.0.0.1:@PORT@,SASL://127.0.0.1:{sasl},\
         MUTUAL://127.0.0.1:{mutual}\n\
         listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_SSL,\
         MUTUAL:SSL\n\
         ssl.keystore.type=PEM\nssl.keystore.location={place}/broker-both.pem\n\
         ssl.truststore.type=PEM\nssl.truststore.location={place}/ca.pem\n\
         listener.name.mutual.ssl.client.auth=required\n\
         listener.name.sasl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
         listener.name.sasl.plain.sasl.jaas.config=\
         org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";\n\
         listener.name.sasl.scram-sha-256.sasl.jaas.config=\
         org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
         listener.name.sasl.scram-sha-512.sasl.jaas.config=\
         org.apache.kafka.common.security.scram.ScramLoginModule required;\n"
    );
    let file = dir.path().join("further.properties");
    std::fs::write(&file, properties).expect("further properties");
    let scram = ["SCRAM-SHA-256", "SCRAM-SHA-512"]
        .map(|mechanism| format!("{mechanism}=[name={USER},password={PASSWORD}]"));
    let file = file.display().to_string();
    let arguments = ["--properties", &file, "--scram", &scram[0], "--scram", &scram[1]];
    broker::start(&arguments);
    let local = |port: u16| format!("127.0.0.1:{port}");
    Some(SecureBroker { sasl: local(sasl), mutual: local(mutual), dir })
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

/// `<name>.pem` and `<name>.key`, signed by `authority` or by itself.
fn certificate(dir: &Path, name: &str, authority: Option<&str>) {
    let mut command = Command::new("openssl");
    command.current_dir(dir).args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]);
    command.args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1"]);
    command.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")]);
    if let Some(authority) = authority {
        command.args(["-CA", &format!("{authority}.pem"), "-CAkey", &format!("{authority}.key")]);
    }
    let output = command.output().expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
