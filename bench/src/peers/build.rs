//! Builds the peers, each with the tools of its own language, below `target/peers`.

use ::tests::kafka::is_installed;
use anyhow::{Context as _, Result, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What was built: a program, or a folder with jars.
#[derive(Debug)]
pub struct Built(PathBuf);

impl Built {
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The folder as Java's class path.
    #[must_use]
    pub fn class_path(&self) -> OsString {
        let mut path = self.0.join("streams.jar").into_os_string();
        path.push(":");
        path.push(self.0.join("lib"));
        path.push("/*");
        path
    }
}

/// Kafka Streams; what is missing where it cannot be built.
pub fn streams() -> Result<Result<Built, String>> {
    if let Some(missing) = ["java", "mvn"].into_iter().find(|it| !is_installed(it)) {
        return Ok(Err(format!("{missing} is missing (Java 17 and Maven)")));
    }
    let target = target("streams");
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "-f"]).arg(sources("streams").join("pom.xml"));
    let mut setting = OsString::from("-Dpeers.target=");
    setting.push(&target);
    maven.arg(setting).arg("package");
    run("mvn package", &mut maven)?;
    Ok(Ok(Built(target)))
}

/// Benthos; what is missing where it cannot be built.
pub fn benthos() -> Result<Result<Built, String>> {
    if !is_installed("go") {
        return Ok(Err("go is missing (Go 1.26)".to_owned()));
    }
    let program = target("benthos").join("benthos");
    let mut go = Command::new("go");
    go.current_dir(sources("benthos")).args(["build", "-trimpath", "-o"]).arg(&program).arg(".");
    run("go build", &mut go)?;
    Ok(Ok(Built(program)))
}

fn run(name: &str, command: &mut Command) -> Result<()> {
    eprintln!("peers: {name} (the first time it takes minutes)");
    let output = command.output().with_context(|| format!("{name} cannot be run"))?;
    let said = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    ensure!(output.status.success(), "{name} failed:\n{}{}", said[0], said[1]);
    Ok(())
}

/// The folder of a peer's sources.
#[must_use]
pub fn sources(peer: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(peer)
}

fn target(peer: &str) -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(beside, PathBuf::from);
    // Each of the tools runs in a folder of its own.
    std::path::absolute(&target).unwrap_or(target).join("peers").join(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafka_streams_is_of_the_broker_s_version() {
        let broker = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kafka/pom.xml");
        let version = |path: &Path| {
            let text = std::fs::read_to_string(path).unwrap();
            let (_, rest) = text.split_once("<kafka.version>").unwrap();
            rest.split_once('<').unwrap().0.to_owned()
        };
        assert_eq!(version(&sources("streams").join("pom.xml")), version(&broker));
    }
}
