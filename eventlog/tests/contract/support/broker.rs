//! The Apache Kafka that the tests use: the one named by `GOKART_TEST_KAFKA` (kafka://host:port),
//! else one that is started for this process, where Java and Maven are.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// `host:port`, or `None` after having said loudly that Kafka is skipped.
pub fn address() -> Option<String> {
    static ADDRESS: OnceLock<Option<String>> = OnceLock::new();
    ADDRESS.get_or_init(find).clone()
}

fn find() -> Option<String> {
    if let Ok(url) = std::env::var("GOKART_TEST_KAFKA") {
        return Some(url.trim_start_matches("kafka://").to_string());
    }
    can_start().then(|| start(&[]))
}

/// Whether a broker can be started; says loudly what is missing.
pub fn can_start() -> bool {
    for program in ["java", "mvn"] {
        if !is_installed(program, "-version") {
            eprintln!("SKIPPED: the tests on Apache Kafka, because `{program}` is not installed");
            return false;
        }
    }
    true
}

pub fn is_installed(program: &str, question: &str) -> bool {
    Command::new(program)
        .arg(question)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Starts a broker; `host:port`. The script ends with this process: it watches its parent.
pub fn start(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kafka/start.sh");
    let mut child = Command::new(&script)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("deploy/kafka/start.sh runs");
    let output = child.stdout.take().expect("its output");
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).expect("its first line");
    let address = line.trim().strip_prefix("kafka://").unwrap_or_else(|| {
        panic!("deploy/kafka/start.sh did not start a broker; it says why above")
    });
    // It lives as long as this process does.
    std::thread::spawn(move || child.wait());
    address.to_string()
}
