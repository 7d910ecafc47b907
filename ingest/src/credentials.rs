//! Who may send postbacks: every advertiser's credentials, derived from the configuration, found
//! by their segments and compared in constant time.

use keyring::{Credentials, Keyring};
use schemas::{AdvertiserId, Catalog, Mismatch, TenantId};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// What a request brought to show who it is.
pub struct Presented<'r> {
    /// None when the host names no configured tenant.
    pub tenant: Option<&'r TenantId>,
    /// What stood after `/api/v1/`.
    pub path: &'r [String],
    pub signature: Option<&'r str>,
}

/// An advertiser with all the credentials that are accepted from it.
pub struct KnownAdvertiser {
    pub tenant: TenantId,
    pub advertiser: AdvertiserId,
    pub credentials: Vec<Credentials>,
}

/// A request that matched, or why it did not.
pub enum Checked<'t> {
    Authentic(&'t Arc<KnownAdvertiser>),
    /// With the advertiser whose segments they were, if they were anybody's.
    Mismatch(Mismatch, Option<&'t Arc<KnownAdvertiser>>),
}

/// All credentials. The index is a keyed hash, so that looking up takes no time that depends on
/// how much of a guess is right.
#[derive(Default)]
pub struct CredentialTable {
    hasher: RandomState,
    by_segments: HashMap<u64, Vec<(Arc<KnownAdvertiser>, usize)>>,
    parts: HashSet<u64>,
}

impl CredentialTable {
    #[must_use]
    pub fn new(catalog: &Catalog, keyring: &Keyring) -> Self {
        let mut table = Self::default();
        for advertiser in catalog.advertisers() {
            let versions = advertiser.credential_versions.iter();
            let credentials = versions
                .flat_map(|v| keyring.credentials(&advertiser.tenant, &advertiser.id, *v))
                .collect();
            table.add(KnownAdvertiser {
                tenant: advertiser.tenant.clone(),
                advertiser: advertiser.id.clone(),
                credentials,
            });
        }
        table
    }

    fn add(&mut self, known: KnownAdvertiser) {
        let known = Arc::new(known);
        for (index, credentials) in known.credentials.iter().enumerate() {
            let segments = credentials.segments();
            let entry = self.by_segments.entry(self.hasher.hash_one(segments)).or_default();
            entry.push((Arc::clone(&known), index));
            for part in segments.into_iter().chain([credentials.signature()]) {
                self.parts.insert(self.hasher.hash_one(part));
            }
        }
    }

    /// Host, segments and signature must all belong to the same advertiser.
    #[must_use]
    pub fn check(&self, presented: &Presented<'_>) -> Checked<'_> {
        let Some((known, credentials)) = self.find(presented.path) else {
            let mismatch = match presented.tenant {
                Some(_) => Mismatch::Segments,
                None => Mismatch::UnknownHost,
            };
            return Checked::Mismatch(mismatch, None);
        };
        let mismatch = match (presented.tenant, presented.signature) {
            (None, _) => Mismatch::UnknownHost,
            (Some(tenant), _) if *tenant != known.tenant => Mismatch::OtherTenant,
            (Some(_), None) => Mismatch::MissingSignature,
            (Some(_), Some(signature)) if credentials.signature_matches(signature) => {
                return Checked::Authentic(known);
            }
            (Some(_), Some(_)) => Mismatch::Signature,
        };
        Checked::Mismatch(mismatch, Some(known))
    }

    fn find(&self, path: &[String]) -> Option<(&Arc<KnownAdvertiser>, &Credentials)> {
        let [one, two, three] = path else { return None };
        let segments = [one.as_str(), two.as_str(), three.as_str()];
        let candidates = self.by_segments.get(&self.hasher.hash_one(segments))?;
        candidates.iter().find_map(|(known, index)| {
            let credentials = known.credentials.get(*index)?;
            credentials.segments_match(segments).then_some((known, credentials))
        })
    }

    /// Whether a text is (all but surely) some advertiser's segment or signature.
    #[must_use]
    pub fn is_part(&self, text: &str) -> bool {
        self.parts.contains(&self.hasher.hash_one(text))
    }
}

impl fmt::Debug for CredentialTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialTable").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::{Advertiser, Document, Tenant};

    const KEYS: &str = "1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    fn table() -> (CredentialTable, Keyring) {
        let keyring = Keyring::parse(KEYS).unwrap();
        let mut catalog = Catalog::default();
        let tenant = |id: &str| {
            Document::Tenant(Arc::new(Tenant {
                id: TenantId::new(id).unwrap(),
                name: id.to_owned(),
                time_zone: "UTC".to_owned(),
                fallback_link: None,
            }))
        };
        let advertiser = |id: &str, tenant: &str, versions: &[u32]| {
            Document::Advertiser(Arc::new(Advertiser {
                id: AdvertiserId::new(id).unwrap(),
                tenant: TenantId::new(tenant).unwrap(),
                name: id.to_owned(),
                credential_versions: versions.to_vec(),
            }))
        };
        catalog.apply(
            1,
            [
                tenant("boots"),
                tenant("shoes"),
                advertiser("games", "boots", &[1, 2]),
                advertiser("trade", "boots", &[1]),
                advertiser("other", "shoes", &[1]),
            ],
        );
        (CredentialTable::new(&catalog, &keyring), keyring)
    }

    #[test]
    fn everything_must_belong_together() {
        let (table, keyring) = table();
        let of = |advertiser: &str, tenant: &str, version| {
            let tenant = TenantId::new(tenant).unwrap();
            keyring.credentials(&tenant, &AdvertiserId::new(advertiser).unwrap(), version).remove(0)
        };
        let games = of("games", "boots", 1);
        let path = |it: &Credentials| it.segments().map(str::to_owned).to_vec();
        let check =
            |tenant: Option<&str>, path: &[String], signature, expected: Option<Mismatch>| {
                let tenant = tenant.map(|id| TenantId::new(id).unwrap());
                let presented = Presented { tenant: tenant.as_ref(), path, signature };
                let got = match table.check(&presented) {
                    Checked::Authentic(known) => {
                        assert_eq!(known.advertiser.as_str(), "games");
                        None
                    }
                    Checked::Mismatch(mismatch, _) => Some(mismatch),
                };
                assert_eq!(got, expected);
            };
        use Mismatch::*;
        let right = games.signature();
        check(Some("boots"), &path(&games), Some(right), None);
        let second = of("games", "boots", 2);
        check(Some("boots"), &path(&second), Some(second.signature()), None);
        // Versions and advertisers do not mix.
        let trade = of("trade", "boots", 1);
        check(Some("boots"), &path(&games), Some(second.signature()), Some(Signature));
        check(Some("boots"), &path(&games), Some(trade.signature()), Some(Signature));
        check(Some("boots"), &path(&of("games", "boots", 3)), Some(right), Some(Segments));
        check(Some("boots"), &path(&games), None, Some(MissingSignature));
        check(Some("boots"), &path(&games), Some(&right[1..]), Some(Signature));
        check(Some("shoes"), &path(&games), Some(right), Some(OtherTenant));
        check(None, &path(&games), Some(right), Some(UnknownHost));
        check(None, &[], None, Some(UnknownHost));
        for wrong in 0..3 {
            let mut segments = path(&games);
            segments[wrong].replace_range(0..1, "!");
            check(Some("boots"), &segments, Some(right), Some(Segments));
            let mut segments = path(&games);
            segments.remove(wrong);
            check(Some("boots"), &segments, Some(right), Some(Segments));
        }
        let mut swapped = path(&games);
        swapped.swap(0, 1);
        check(Some("boots"), &swapped, Some(right), Some(Segments));
    }

    #[test]
    fn parts_are_known() {
        let (table, keyring) = table();
        let tenant = TenantId::new("shoes").unwrap();
        let other = keyring.credentials(&tenant, &AdvertiserId::new("other").unwrap(), 1).remove(0);
        assert!(other.segments().iter().all(|part| table.is_part(part)));
        assert!(table.is_part(other.signature()));
        assert!(!table.is_part("") && !table.is_part("s2s_level 200"));
    }
}
