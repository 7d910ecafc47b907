//! The secrets with which publishers check that a postback is ours (Standard Webhooks), derived
//! and never stored.

use crate::derive::{KEY_BYTES, Key, derive};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use schemas::{PublisherId, TenantId};
use sha2::Sha256;
use std::fmt;

const LABEL: &[u8] = b"publisher-webhook";
/// What a secret begins with when it is shown, as receivers' libraries want it.
const PREFIX: &str = "whsec_";

/// A publisher's secret of one version, under one master key. Wiped when dropped; `Debug` shows
/// nothing of it.
#[derive(Clone)]
pub struct WebhookSecret(Key);

impl WebhookSecret {
    pub(crate) fn new(
        master: &[u8; KEY_BYTES],
        tenant: &TenantId,
        publisher: &PublisherId,
        version: u32,
    ) -> Self {
        let parts = [
            LABEL,
            tenant.as_str().as_bytes(),
            publisher.as_str().as_bytes(),
            &version.to_be_bytes(),
        ];
        Self(derive(master, &parts))
    }

    /// As a receiver's library takes it: `whsec_` and base64 of 32 bytes.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(*self.0))
    }

    /// One entry of `webhook-signature`: `v1,` and base64 of HMAC-SHA256 over
    /// `<id>.<timestamp>.<content>`; `timestamp` in whole seconds since 1970.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, content: &[u8]) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&*self.0).expect("HMAC takes a key of any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(content);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's libraries.
    #[test]
    fn signs_as_the_standard_says() {
        let bytes = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&bytes).unwrap();
        mac.update(b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}");
        let expected = "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(STANDARD.encode(mac.finalize().into_bytes()), expected);
    }

    #[test]
    fn every_publisher_and_version_has_its_own() {
        let of = |tenant: &str, publisher: &str, version| {
            let (tenant, publisher) =
                (TenantId::new(tenant).unwrap(), PublisherId::new(publisher).unwrap());
            WebhookSecret::new(&[1; KEY_BYTES], &tenant, &publisher, version)
        };
        let secrets = [of("t", "p", 1), of("t", "p", 2), of("t", "q", 1), of("u", "p", 1)];
        let all: std::collections::BTreeSet<String> =
            secrets.iter().map(WebhookSecret::reveal).collect();
        assert_eq!(all.len(), secrets.len());
        assert!(all.iter().all(|it| it.starts_with(PREFIX) && it.len() == 6 + 44));
        assert_eq!(format!("{:?}", secrets[0]), "WebhookSecret(redacted)");
    }
}
