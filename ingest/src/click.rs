//! The way of a click: find its link, judge it, mint its id, write it down, send the user on.

use crate::handler::{Arrival, Ingest};
use crate::late_clicks;
use crate::limits::{Importance, Slot};
use crate::link;
use crate::liveness::{self, Landing, Obstacle, Visit};
use crate::parameters::Parameters;
use crate::platform;
use crate::random::random;
use crate::reply::{Answer, CLICK_METHODS};
use crate::submit::{Submitted, record};
use crate::world::World;
use hyper::Method;
use hyper::header::USER_AGENT;
use keyring::SealedClick;
use schemas::click::SUB_ID_BYTES_MAX;
use schemas::topic::partition_of;
use schemas::{Click, ClickDetails, ClickKey, Flag, ResolvedClick, SubIds, Topic};
use std::borrow::Cow;
use std::sync::Arc;

/// The parameter that makes a click a test; signed, so that nobody else can.
const TEST: &str = "gk_test";
const MEMBER: &str = "pub_member_id";

impl Ingest {
    /// Answers a request for `/c/<share>`.
    pub(crate) async fn click(&self, arrival: &Arrival<'_>, share: &str) -> Answer {
        match *arrival.method() {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => return Answer::Options(CLICK_METHODS),
            _ => return Answer::MethodNotAllowed(CLICK_METHODS),
        }
        let parameters = Parameters::from_query(arrival.query());
        let world = self.known.world.load_full();
        let visit = self.visit(arrival, share);
        let Some(landing) = liveness::find(&world.catalog, &visit) else {
            return self.no_such_link(arrival);
        };
        let test = match parameters.get(TEST) {
            None => false,
            Some(given) if self.keyring.is_test_link(&landing.share.id, given.trim()) => true,
            Some(_) => return self.no_such_link(arrival),
        };
        let judged = if test {
            liveness::judge_test(&landing).map(|()| Vec::new())
        } else {
            liveness::judge(&landing, &self.known.used_up.load(), &visit)
        };
        let filling = Filling { visit: &visit, landing: &landing, parameters: &parameters };
        let mut flags = match judged {
            Ok(flags) => flags,
            Err(obstacle) => {
                count_obstacle(obstacle);
                return filling.fallback(&world).unwrap_or(Answer::NotLive);
            }
        };
        if *arrival.method() == Method::HEAD {
            return Answer::Alive;
        }
        if !arrival.address.is_loopback() && !self.limits.click_addresses.allows(arrival.address) {
            return Answer::Flooding;
        }
        flags.extend_from_slice(parameters.flags());
        let quota = self.click_quota();
        let minted = self.mint(&world, &filling, test);
        let Some((click, sealed)) = minted else {
            return filling.fallback(&world).unwrap_or(Answer::LogUnavailable);
        };
        if sealed.details {
            let answer = match quota {
                Some(_) => self.write_details(&click).await,
                None => Err(Answer::Shed),
            };
            // Without its sub-ids the click would pay nobody: nothing is minted, the user goes
            // where users of offers that are not live go.
            if let Err(answer) = answer {
                return filling.fallback(&world).unwrap_or(answer);
            }
        }
        match quota {
            Some(slot) => self.write_click(&filling, &click, &sealed.token, flags, slot).await,
            None => late_clicks::count("over_quota"),
        }
        Answer::Redirect(filling.offer_link(&sealed.token))
    }

    fn visit<'r>(&self, arrival: &'r Arrival<'_>, share: &'r str) -> Visit<'r> {
        let header = |name| arrival.head.headers.get(name).and_then(|value| value.to_str().ok());
        Visit {
            tenant: arrival.tenant.as_ref(),
            share,
            country: self
                .settings
                .country_header
                .as_ref()
                .and_then(header)
                .and_then(platform::country),
            platform: header(&USER_AGENT).and_then(platform::platform),
            now: arrival.now,
        }
    }

    /// Links that do not exist are what a scanner asks for.
    fn no_such_link(&self, arrival: &Arrival<'_>) -> Answer {
        if self.limits.unauthenticated.allows(arrival.address) {
            Answer::NoSuchLink
        } else {
            Answer::Flooding
        }
    }

    /// A slot for a click that is written down. Without one it is sent on all the same: a flood of
    /// clicks must not stop postbacks, and must not lose users either.
    fn click_quota(&self) -> Option<Slot> {
        let slot = self.limits.clicks.enter(Importance::Full)?;
        self.limits.click_rate.check().is_ok().then_some(slot)
    }

    /// Mints a click id; none when the system gives no random bits or no key may mint.
    fn mint(
        &self,
        world: &World,
        filling: &Filling<'_>,
        test: bool,
    ) -> Option<(ResolvedClick, SealedClick)> {
        let Filling { visit, landing: Landing { share, offer }, parameters } = filling;
        let random = random::<8>();
        let member = member(parameters)
            .map(|member| self.keyring.member_hash(&offer.root, &share.publisher, member));
        let click = ResolvedClick {
            key: ClickKey::new(visit.now, random.unwrap_or_default()),
            root_offer: offer.root.clone(),
            share: share.id.clone(),
            config_version: world.catalog.version,
            country: visit.country,
            platform: visit.platform,
            member,
            test,
            subs: sub_ids(parameters),
            details: false,
        };
        let sealed = self.keyring.seal(&click, visit.now, self.settings.config.token_chars);
        match (random, sealed) {
            (Ok(_), Ok(sealed)) => Some((click, sealed)),
            (Err(error), _) => {
                tracing::error!(%error, "no random bits: clicks cannot be minted");
                None
            }
            (_, Err(error)) => {
                tracing::error!(%error, "clicks cannot be minted");
                None
            }
        }
    }

    /// Writes the sub-ids that the click id had no room for, where the click's postbacks will
    /// follow.
    async fn write_details(&self, click: &ResolvedClick) -> Result<(), Answer> {
        let details = ClickDetails {
            click: click.key,
            root_offer: click.root_offer.clone(),
            clicked_at: click.clicked_at(),
            subs: click.subs.clone(),
        };
        let partition =
            partition_of(&click.root_offer, self.submitter.partitions(Topic::Postbacks));
        let record = record(&details, details.clicked_at);
        let wait = self.settings.config.click_details_wait;
        match self.submitter.submit(Topic::Postbacks, partition, record, wait).await {
            Submitted::Durable => Ok(()),
            Submitted::NotTaken => Err(Answer::LogUnavailable),
            Submitted::StillPending(_) => Err(Answer::TooLate),
        }
    }

    /// Writes the row for the analytics, with a bounded wait: what is not there by then is tried
    /// again in the background.
    async fn write_click(
        &self,
        filling: &Filling<'_>,
        click: &ResolvedClick,
        token: &str,
        flags: Vec<Flag>,
        slot: Slot,
    ) {
        let Landing { share, offer } = filling.landing;
        let row = Click {
            click_id: token.to_owned(),
            tenant: share.tenant.clone(),
            advertiser_id: offer.advertiser.clone(),
            offer_id: offer.id.clone(),
            root_offer_id: offer.root.clone(),
            share_id: share.id.clone(),
            publisher_id: share.publisher.clone(),
            clicked_at: click.clicked_at(),
            country: click.country().map(str::to_owned),
            platform: click.platform,
            subs: click.subs.clone(),
            offer_version: offer.version,
            test: click.test,
            flags,
        };
        let record = record(&row, row.clicked_at);
        // Any partition will do; the random part of the key spreads them.
        let [.., last] = click.key.0;
        let partition = u32::from(last) % self.submitter.partitions(Topic::Clicks);
        let wait = self.settings.config.click_record_wait;
        let submitted = self.submitter.submit(Topic::Clicks, partition, record.clone(), wait).await;
        drop(slot);
        let pending = match submitted {
            Submitted::Durable => return late_clicks::count("durable"),
            Submitted::NotTaken => None,
            Submitted::StillPending(pending) => Some(pending),
        };
        self.late_clicks.take_over(&self.submitter, partition, record, pending);
    }
}

/// What links are filled with.
struct Filling<'r> {
    visit: &'r Visit<'r>,
    landing: &'r Landing,
    parameters: &'r Parameters,
}

impl Filling<'_> {
    fn offer_link(&self, token: &str) -> String {
        let Landing { share, offer } = self.landing;
        let link = share.link.as_ref().unwrap_or(&offer.link);
        link::fill(
            link,
            |name| if name == "gk_click_id" { Some(token.into()) } else { self.value(name) },
        )
    }

    /// The share's own fallback link, else its tenant's.
    fn fallback(&self, world: &World) -> Option<Answer> {
        let share = &self.landing.share;
        let tenants = || world.catalog.tenant(share.tenant.as_str())?.fallback_link.as_ref();
        let link = share.fallback_link.as_ref().or_else(tenants)?;
        Some(Answer::Fallback(link::fill(link, |name| self.value(name))))
    }

    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        let Landing { share, offer } = self.landing;
        let text = match name {
            "offer_id" => offer.id.as_str(),
            "offer_name" => share.name.as_ref().unwrap_or(&offer.name),
            "publisher_id" => share.publisher.as_str(),
            "country" => std::str::from_utf8(self.visit.country.as_ref()?).ok()?,
            "platform" => self.visit.platform?.code(),
            "gk_click_id" => return None,
            // The sub-ids, the member, the device's ids and the costs: as the link was called.
            given => self.parameters.get(given)?,
        };
        Some(Cow::Borrowed(text))
    }
}

/// The publisher's own user. A macro or a placeholder stands for everybody, and everybody would
/// then be one member who can convert once.
fn member(parameters: &Parameters) -> Option<&str> {
    const PLACEHOLDERS: [&str; 5] = ["0", "null", "undefined", "none", "n/a"];
    let member = parameters.trimmed(MEMBER)?;
    let is_macro = member.contains(['{', '[', '(']) && member.contains(['}', ']', ')']);
    let is_placeholder = PLACEHOLDERS.iter().any(|it| member.eq_ignore_ascii_case(it));
    (!is_macro && !is_placeholder).then_some(member)
}

fn sub_ids(parameters: &Parameters) -> SubIds {
    let mut subs = SubIds::default();
    for (name, value) in parameters.list().iter().rev().filter(|(_, value)| !value.is_empty()) {
        let number = name.strip_prefix("sub").filter(|digits| !digits.starts_with(['0', '+']));
        let index = number.and_then(|digits| digits.parse::<usize>().ok()?.checked_sub(1));
        // From the back, so that the first of a name stays.
        if let Some(sub) = index.and_then(|index| subs.0.get_mut(index)) {
            *sub = Some(Arc::from(&value[..value.floor_char_boundary(SUB_ID_BYTES_MAX)]));
        }
    }
    subs
}

fn count_obstacle(obstacle: Obstacle) {
    metrics::counter!("gokart_ingest_clicks_not_live_total", "obstacle" => obstacle.label())
        .increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_ids_are_kept_as_given() {
        let long = "é".repeat(400);
        let query = format!(
            "sub1=a+b&sub1=second&sub15=x&sub16=y&sub0=z&sub01=q&sub+2=r&sub3=&sub4={long}"
        );
        let subs = sub_ids(&Parameters::from_query(&query));
        let given: Vec<_> = (1..=15).filter_map(|n| Some((n, subs.get(n)?))).collect();
        let cut = "é".repeat(SUB_ID_BYTES_MAX / 2);
        assert_eq!(given, [(1, "a b"), (4, cut.as_str()), (15, "x")]);
    }

    #[test]
    fn members() {
        let check = |query: &str, expected: Option<&str>| {
            assert_eq!(member(&Parameters::from_query(query)), expected, "{query}");
        };
        check("pub_member_id=user+7", Some("user 7"));
        check("pub_member_id=%20u%0A", Some("u"));
        for none in
            ["", "{user}", "%7Buser%7D", "[user]", "${USER}", "0", "NULL", "N/A", "undefined"]
        {
            check(&format!("pub_member_id={none}"), None);
        }
    }
}
