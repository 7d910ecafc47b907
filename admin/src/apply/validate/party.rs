//! Tenants, advertisers, publishers.

use super::{Checker, Found};
use crate::apply::document::{AdvertiserDocument, PublisherDocument, TenantDocument};
use crate::apply::fields::At;
use crate::apply::link;
use crate::apply::set::Placed;
use crate::apply::value::{Count, Slug};
use schemas::{Advertiser, AdvertiserId, Publisher, PublisherId, Tenant, TenantId};
use std::sync::Arc;

/// Credential versions of one advertiser at once: the old and the new while rotating.
const CREDENTIAL_VERSIONS_MAX: usize = 2;
/// Tenants are host names' labels: an underscore is not allowed there.
const HOST_LABEL_RULE: &str =
    "is part of the host name api.<tenant>.<base domain>: no '_', and no '-' at its end";

impl Checker<'_> {
    pub(super) fn check_tenants(&mut self) {
        for placed in &self.set.tenants {
            let tenant = self.check_tenant(placed);
            if let Some(id) = &placed.document.id {
                self.tenants.insert(id.value.0.clone(), tenant.map(Arc::new));
            }
        }
    }

    fn check_tenant(&self, placed: &Placed<'_, TenantDocument>) -> Option<Tenant> {
        let document = &placed.document;
        let id = document.id.as_ref();
        if let Some(id) = id.filter(|id| id.value.0.contains('_') || id.value.0.ends_with('-')) {
            self.report(placed.file, id, HOST_LABEL_RULE);
            return None;
        }
        let before = id.and_then(|id| self.current.tenant(&id.value.0));
        if let (Some(before), Some(zone)) = (before, &document.time_zone) {
            self.check_zone_change(placed.file, before, zone);
        }
        let fallback_link = match &document.fallback_link {
            None => None,
            Some(at) => match link::fallback_link(&at.value.0) {
                Ok(link) => Some(link),
                Err(message) => {
                    self.report(placed.file, at, message);
                    return None;
                }
            },
        };
        Some(Tenant {
            id: TenantId::new(&id?.value.0).ok()?,
            name: document.name.as_ref()?.value.0.clone(),
            time_zone: document.time_zone.as_ref()?.value.0.clone(),
            fallback_link,
        })
    }

    /// Offers hold times that were worked out in the tenant's zone, so they must come along.
    fn check_zone_change(&self, file: &str, before: &Tenant, zone: &At<crate::apply::value::Zone>) {
        if before.time_zone == zone.value.0 {
            return;
        }
        let brought = |id: &str| {
            self.set
                .offers
                .iter()
                .any(|it| it.document.id.as_ref().is_some_and(|i| i.value.0 == id))
        };
        let left_out: Vec<&str> = self
            .current
            .offers()
            .filter(|offer| offer.tenant == before.id && !brought(offer.id.as_str()))
            .map(|offer| offer.id.as_str())
            .collect();
        if !left_out.is_empty() {
            self.report(
                file,
                zone,
                format!(
                    "was {} until now: apply the tenant's offers together with it, because their \
                     launches and cap periods follow ({})",
                    before.time_zone,
                    left_out.join(", ")
                ),
            );
        }
    }

    pub(super) fn check_advertisers(&mut self) {
        for placed in &self.set.advertisers {
            let advertiser = self.check_advertiser(placed);
            if let Some(id) = &placed.document.id {
                self.advertisers.insert(id.value.0.clone(), advertiser.map(Arc::new));
            }
        }
    }

    fn check_advertiser(&self, placed: &Placed<'_, AdvertiserDocument>) -> Option<Advertiser> {
        let document = &placed.document;
        let before = document.id.as_ref().and_then(|id| self.current.advertiser(&id.value.0));
        let tenant =
            self.tenant_of(placed.file, document.tenant.as_ref(), before.map(|it| &it.tenant));
        let credential_versions = self.versions(
            placed.file,
            placed.line,
            "credential_versions",
            placed.document.credential_versions.as_deref(),
        );
        Some(Advertiser {
            id: AdvertiserId::new(&document.id.as_ref()?.value.0).ok()?,
            tenant: tenant?,
            name: document.name.as_ref()?.value.0.clone(),
            credential_versions: credential_versions?,
        })
    }

    /// Versions of a secret: one, or two while it is being rotated.
    fn versions(
        &self,
        file: &str,
        line: u32,
        field: &str,
        list: Option<&[At<Count>]>,
    ) -> Option<Vec<u32>> {
        let Some(list) = list else { return Some(vec![1]) };
        let mut versions = Vec::new();
        for at in list {
            match u32::try_from(at.value.0) {
                Ok(version) if version > 0 && !versions.contains(&version) => {
                    versions.push(version);
                }
                Ok(0) | Err(_) => {
                    self.report(file, at, "versions are whole numbers from 1");
                    return None;
                }
                Ok(version) => {
                    self.report(file, at, format!("{version} is there twice"));
                    return None;
                }
            }
        }
        let count = versions.len();
        if count == 0 || count > CREDENTIAL_VERSIONS_MAX {
            self.problems.add(
                file,
                list.first().map_or(line, |at| at.line),
                field,
                format!("has {count} versions; one, or {CREDENTIAL_VERSIONS_MAX} while rotating"),
            );
            return None;
        }
        Some(versions)
    }

    pub(super) fn check_publishers(&mut self) {
        for placed in &self.set.publishers {
            let publisher = self.check_publisher(placed);
            if let Some(id) = &placed.document.id {
                self.publishers.insert(id.value.0.clone(), publisher.map(Arc::new));
            }
        }
    }

    fn check_publisher(&self, placed: &Placed<'_, PublisherDocument>) -> Option<Publisher> {
        let document = &placed.document;
        let before = document.id.as_ref().and_then(|id| self.current.publisher(&id.value.0));
        let tenant =
            self.tenant_of(placed.file, document.tenant.as_ref(), before.map(|it| &it.tenant));
        let versions = self.versions(
            placed.file,
            placed.line,
            "secret_versions",
            document.secret_versions.as_deref(),
        );
        let postbacks = document.postbacks.as_deref().unwrap_or_default();
        let owner = format!("publisher/{}", document.id.as_ref()?.value.0);
        // A publisher has many offers, so its events are not known here.
        let postbacks = self.check_postbacks(placed.file, &owner, postbacks, |_| true);
        Some(Publisher {
            secret_versions: versions?,
            postbacks: postbacks?,
            id: PublisherId::new(&document.id.as_ref()?.value.0).ok()?,
            tenant: tenant?,
            name: document.name.as_ref()?.value.0.clone(),
        })
    }

    /// The tenant that something belongs to: it exists, and it is still the same.
    fn tenant_of(
        &self,
        file: &str,
        at: Option<&At<Slug>>,
        before: Option<&TenantId>,
    ) -> Option<TenantId> {
        let at = at?;
        let id = &at.value.0;
        if let Some(before) = before.filter(|before| before.as_str() != id) {
            self.report(file, at, format!("was {before}; it cannot move to another tenant"));
            return None;
        }
        match self.tenant(id) {
            Found::Known(tenant) => Some(tenant.id.clone()),
            Found::Broken => None,
            Found::Missing => {
                self.report(file, at, format!("there is no tenant {id:?}"));
                None
            }
        }
    }
}
