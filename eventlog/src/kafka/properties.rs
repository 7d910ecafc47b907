//! librdkafka's own properties, which users may set but for those that something rests on.

use crate::OpenError;
use rdkafka::ClientConfig;

const EXACTLY_ONCE: &str = "exactly-once processing rests on it";
const NEVER_SKIP: &str = "records would be skipped or committed before they are done with";
const OWNERSHIP: &str = "who owns a partition, and who may commit for it, rests on it";
const BOUNDS: &str = "what may wait or be read at once is bounded by gokart's own limits";
const HAS_FLAG: &str = "it has a flag of its own (see the help, under Event log)";
const SECRET: &str = "it is a secret, which belongs into a file or the environment: see \
                      --kafka-password-file and --kafka-key-password-file";
const CODE: &str = "it would load code into the process";

/// What cannot be set, and why. librdkafka's aliases stand beside the names.
const REFUSED: &[(&str, &[&str])] = &[
    (
        EXACTLY_ONCE,
        &[
            "acks",
            "request.required.acks",
            "enable.gapless.guarantee",
            "enable.idempotence",
            "isolation.level",
            "log.connection.close",
            "max.in.flight",
            "max.in.flight.requests.per.connection",
            "message.send.max.retries",
            "retries",
            "transaction.timeout.ms",
            "transactional.id",
        ],
    ),
    (
        NEVER_SKIP,
        &[
            "auto.commit.enable",
            "auto.commit.interval.ms",
            "auto.offset.reset",
            "enable.auto.commit",
            "enable.auto.offset.store",
            "enable.partition.eof",
        ],
    ),
    (
        OWNERSHIP,
        &[
            "group.id",
            "group.instance.id",
            "group.protocol",
            "group.remote.assignor",
            "partition.assignment.strategy",
        ],
    ),
    (
        BOUNDS,
        &[
            "delivery.timeout.ms",
            "fetch.message.max.bytes",
            "max.partition.fetch.bytes",
            "message.max.bytes",
            "message.timeout.ms",
            "queue.buffering.max.kbytes",
            "queue.buffering.max.messages",
            "queued.max.messages.kbytes",
            "queued.min.messages",
        ],
    ),
    (
        HAS_FLAG,
        &[
            "bootstrap.servers",
            "metadata.broker.list",
            "sasl.mechanism",
            "sasl.mechanisms",
            "sasl.username",
            "security.protocol",
            "ssl.ca.location",
            "ssl.certificate.location",
            "ssl.key.location",
        ],
    ),
    (
        SECRET,
        &[
            "https.ca.pem",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
            "sasl.password",
            "ssl.key.password",
            "ssl.key.pem",
            "ssl.keystore.password",
        ],
    ),
    (CODE, &["plugin.library.paths", "ssl.engine.location", "ssl_engine_callback_data"]),
];

/// Refuses what cannot be set, and names that librdkafka does not know. Values are not repeated:
/// nobody knows what is in them.
pub fn check(properties: &[(String, String)]) -> Result<(), OpenError> {
    for (name, value) in properties {
        let refused = REFUSED.iter().find(|(_, names)| names.contains(&name.as_str()));
        if let Some((why, _)) = refused {
            return Err(OpenError::Configuration(format!(
                "the Kafka property {name} cannot be set: {why}"
            )));
        }
        let mut probe = ClientConfig::new();
        probe.set(name, value);
        if let Err(error) = probe.create_native_config() {
            return Err(OpenError::Configuration(format!(
                "the Kafka property {name}: {}",
                super::context::explain(&error)
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(property: &str, value: &str, allowed: bool, words: &str) {
        let told = super::check(&[(property.to_string(), value.to_string())]);
        let why = told.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert_eq!(told.is_ok(), allowed, "{property}: {why}");
        assert!(why.contains(words) && (value.len() < 6 || !why.contains(value)), "{why}");
    }

    #[test]
    fn what_something_rests_on_cannot_be_set() {
        check("linger.ms", "5", true, "");
        check("client.rack", "a", true, "");
        check("ssl.endpoint.identification.algorithm", "none", true, "");
        check("isolation.level", "read_uncommitted", false, EXACTLY_ONCE);
        check("acks", "0", false, EXACTLY_ONCE);
        check("enable.auto.commit", "true", false, NEVER_SKIP);
        check("group.instance.id", "a", false, OWNERSHIP);
        check("delivery.timeout.ms", "1", false, BOUNDS);
        check("security.protocol", "SSL", false, HAS_FLAG);
        check("sasl.password", "hunter2", false, SECRET);
        check("plugin.library.paths", "evil.so", false, CODE);
        check("no.such.setting", "hunter2", false, "no.such.setting");
        check("linger.ms", "hunter2", false, "linger.ms");
    }

    /// A name that librdkafka has given up would refuse nothing.
    #[test]
    fn every_refused_name_is_known() {
        for name in REFUSED.iter().flat_map(|(_, names)| names.iter()) {
            let mut probe = ClientConfig::new();
            // Some values are wrong for some of them; what counts is that the name is known.
            probe.set(*name, "1");
            if let Err(error) = probe.create_native_config() {
                assert!(!error.to_string().contains("No such configuration"), "{name}: {error}");
            }
        }
    }
}
