//! A run's arguments, checked before anything is sent.

use crate::cli::RunArguments;
use crate::ledger::{LinkName, Names};
use crate::request::{Links, Target, Tracking};
use crate::schedule::Pace;
use crate::target;
use crate::tcp::{Tcp, TlsSettings};
use crate::template::Template;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Numbers in a ledger have so much room.
const LINKS_MAX: usize = u16::MAX as usize;
const EVENTS_MAX: usize = u8::MAX as usize;

/// One advertiser of a run, as a file of targets or the command line names it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetText {
    tracking_links: Vec<String>,
    /// One for all events.
    #[serde(default)]
    postback_url: Option<String>,
    /// Or one an event, which names it.
    #[serde(default)]
    postback_urls: Vec<String>,
    #[serde(default)]
    events: Vec<String>,
}

/// A run whose arguments fit each other.
pub struct Plan {
    pub arguments: RunArguments,
    pub links: Links,
    pub connect: Tcp,
    pub pace: Pace,
    pub duration: Duration,
}

impl Plan {
    pub fn new(arguments: RunArguments) -> Result<Self> {
        let targets = match &arguments.targets {
            Some(path) => read(path)?,
            None => vec![TargetText {
                tracking_links: arguments.tracking_link.clone(),
                postback_url: None,
                postback_urls: arguments.postback_url.clone(),
                events: arguments.event.clone(),
            }],
        };
        let links = links(&targets, &arguments)?;
        let templates: Vec<&Template> = links
            .tracking
            .iter()
            .map(|it| &it.template)
            .chain(links.targets.iter().flat_map(|it| &it.postbacks))
            .collect();
        let first = *templates.first().context("no URL was given")?;
        ensure!(
            templates.iter().all(|it| it.tls == first.tls),
            "some URLs begin with http:// and some with https://; a run speaks one of them"
        );
        let tls = first.tls.then(|| TlsSettings {
            host: first.host(),
            ca_file: arguments.ca_file.as_deref(),
            insecure: arguments.insecure,
            http2: arguments.http2,
        });
        let connect = Tcp::new(addresses(&templates, &arguments)?, tls.as_ref())?;
        let (pace, duration) = pace(&arguments);
        Ok(Self { arguments, links, connect, pace, duration })
    }

    /// What a ledger of this run names by number.
    pub fn names(&self) -> Names {
        let link =
            |it: &Tracking| LinkName { share: it.template.share().to_owned(), target: it.target };
        let events = |it: &Target| it.postbacks.iter().map(Template::event).collect();
        Names {
            links: self.links.tracking.iter().map(link).collect(),
            targets: self.links.targets.iter().map(events).collect(),
        }
    }
}

fn pace(arguments: &RunArguments) -> (Pace, Duration) {
    let duration = Duration::from_secs(arguments.duration_s);
    if !arguments.steps.is_empty() {
        let each = Duration::from_secs(arguments.step_s);
        return (Pace::Steps(arguments.steps.clone()), each * arguments.steps.len() as u32);
    }
    let pace = match (arguments.ramp, arguments.rate) {
        (Some((from, to)), _) => Pace::Ramp(from, to),
        (None, Some(rate)) => Pace::Rate(rate),
        (None, None) => Pace::AsFastAsPossible,
    };
    (pace, duration)
}

fn read(path: &Path) -> Result<Vec<TargetText>> {
    let what = || format!("the targets in {}", path.display());
    let text = std::fs::read_to_string(path).with_context(what)?;
    serde_json::from_str(&text).with_context(what)
}

fn links(targets: &[TargetText], arguments: &RunArguments) -> Result<Links> {
    let mut tracking = Vec::new();
    for (number, target) in targets.iter().enumerate() {
        ensure!(!target.tracking_links.is_empty(), "target {} has no tracking link", number + 1);
        for url in &target.tracking_links {
            let template = Template::parse("the tracking link", url)?;
            tracking.push(Tracking { template, target: number });
        }
    }
    ensure!(!tracking.is_empty(), "there is no target");
    ensure!(tracking.len() <= LINKS_MAX, "there are more than {LINKS_MAX} tracking links");
    let targets = targets.iter().map(|it| Ok(Target { postbacks: postbacks(it)? }));
    let targets = targets.collect::<Result<_>>()?;
    let heat = Links::heat(tracking.len(), arguments.hot_offers);
    let click_id_parameter = arguments.click_id_parameter.clone();
    Ok(Links { tracking, targets, heat, click_id_parameter })
}

/// One template an event, in order.
fn postbacks(target: &TargetText) -> Result<Vec<Template>> {
    let urls: Vec<&String> = target.postback_url.iter().chain(&target.postback_urls).collect();
    ensure!(!urls.is_empty(), "a target has no postback URL");
    ensure!(
        target.events.is_empty() || urls.len() == 1,
        "give one --postback-url for all --event, or one for each event and no --event"
    );
    let postbacks: Vec<Template> = if target.events.is_empty() {
        urls.iter().map(|url| Template::parse_postback(url, None)).collect::<Result<_>>()?
    } else {
        let of_event = |event: &String| Template::parse_postback(urls[0], Some(event));
        target.events.iter().map(of_event).collect::<Result<_>>()?
    };
    ensure!(postbacks.len() <= EVENTS_MAX, "an offer has more than {EVENTS_MAX} events");
    Ok(postbacks)
}

/// Where to connect: as told, else every URL must lead to one place.
fn addresses(templates: &[&Template], arguments: &RunArguments) -> Result<Vec<SocketAddr>> {
    if !arguments.connect.is_empty() {
        let told = arguments.connect.iter();
        return told.map(|it| target::check(*it, arguments.allow_remote)).collect();
    }
    let address =
        |it: &&Template| target::address_of(&it.authority, it.tls, arguments.allow_remote);
    let addresses = templates.iter().map(address).collect::<Result<Vec<_>>>()?;
    let first = *addresses.first().context("no URL was given")?;
    ensure!(
        addresses.iter().all(|it| *it == first),
        "the URLs lead to different addresses; name one with --connect"
    );
    Ok(vec![first])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn plan(more: &[&str]) -> Result<Plan> {
        let arguments = ["loadtest", "run", "--rate", "10"].iter().chain(more);
        match Cli::try_parse_from(arguments)?.command {
            Command::Run(arguments) => Plan::new(*arguments),
            Command::Verify(_) => unreachable!(),
        }
    }

    #[test]
    fn targets_can_be_in_a_file() {
        let path = std::env::temp_dir().join(format!("targets-{}", std::process::id()));
        let with = |text: &str| {
            std::fs::write(&path, text).unwrap();
            plan(&["--targets", path.to_str().unwrap()])
        };
        let found = with(
            r#"[{"tracking_links": ["http://localhost:1/c/a", "http://localhost:1/c/b"],
                 "postback_url": "http://localhost:1/p?signature=s", "events": ["Install", "Level 2"]},
                {"tracking_links": ["http://localhost:1/c/c/"],
                 "postback_urls": ["http://localhost:1/q?signature=t&cnv_event_id=First+Trade"]}]"#,
        );
        let names = found.unwrap().names();
        let links: Vec<_> = names.links.iter().map(|it| (it.share.as_str(), it.target)).collect();
        assert_eq!(links, [("a", 0), ("b", 0), ("c", 1)]);
        assert_eq!(names.targets, [vec!["Install", "Level 2"], vec!["First Trade"]]);
        for (text, expected) in [
            ("[]", "no target"),
            ("{", "targets-"),
            (r#"[{"tracking_links": []}]"#, "no tracking link"),
            (r#"[{"tracking_links": ["http://localhost/c/a"]}]"#, "no postback URL"),
            (r#"[{"tracking_link": ["http://localhost/c/a"]}]"#, "tracking_link"),
        ] {
            let error = format!("{:#}", with(text).err().unwrap());
            assert!(error.contains(expected), "{text}: {error}");
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let postback = "http://localhost:1/p?signature=s&cnv_event_id=e";
        for (link, expected) in [
            ("https://localhost:1/c/a", "some URLs begin with http://"),
            ("http://localhost:2/c/a", "different addresses"),
            ("http://192.0.2.1:1/c/a", "not this machine"),
        ] {
            let found = plan(&["--tracking-link", link, "--postback-url", postback]);
            let error = format!("{:#}", found.err().unwrap());
            assert!(error.contains(expected), "{link}: {error}");
        }
    }
}
