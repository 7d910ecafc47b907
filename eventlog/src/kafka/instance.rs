//! Who this process is among its like.

use super::config::KafkaConfig;
use crate::OpenError;
use std::hash::{BuildHasher, Hasher};

const FILE: &str = "instance-id";

/// The instance id: as set, or made up once and kept in the state directory.
pub fn id(config: &KafkaConfig) -> Result<String, OpenError> {
    if let Some(id) = &config.instance_id {
        return Ok(id.clone());
    }
    let path = config.state_dir.join(FILE);
    let say = |error: std::io::Error| {
        OpenError::Unavailable(format!(
            "the processor's directory {} cannot be used: {error}",
            config.state_dir.display()
        ))
    };
    match std::fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => return Ok(id.trim().to_string()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(say(error)),
    }
    std::fs::create_dir_all(&config.state_dir).map_err(say)?;
    let id = format!("{:016x}", random());
    // Whole or not at all: a half id would be another instance after the next start.
    let new = path.with_extension("new");
    std::fs::write(&new, &id).and_then(|()| std::fs::rename(&new, &path)).map_err(say)?;
    Ok(id)
}

/// The standard library seeds its hash keys from the system's randomness.
fn random() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_keeps_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let config = KafkaConfig::new("127.0.0.1:1", 1, dir.path().join("state"));
        let first = id(&config).unwrap();
        assert_eq!((id(&config).unwrap(), first.len()), (first, 16));
        let set = KafkaConfig { instance_id: Some("a".to_string()), ..config };
        assert_eq!(id(&set).unwrap(), "a");
    }
}
