//! Turns a kind into one request, and an answer into what it means.

use crate::mix::{Kind, Mix, scramble};
use crate::pool::{Accepted, Click, Pool};
use crate::template::{CLICK_ID, EVENT_ID, Template, click_id_in, encode};
use schemas::PostbackId;
use serde::Deserialize;
use std::sync::Arc;

/// What a run sends to.
#[derive(Clone)]
pub struct Links {
    pub tracking: Vec<Template>,
    /// One an event, in the order of the offer's events.
    pub postbacks: Vec<Template>,
    pub click_id_parameter: Option<String>,
}

/// What stands behind a request; told again with its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Nothing,
    /// The next event of a click, which is out of the pool.
    NextEvent(Click),
    /// Some other event of a click, which is out of the pool and goes back as it was.
    OtherEvent(Click, usize),
}

/// One request to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub kind: Kind,
    pub authority: String,
    pub path_and_query: String,
    pub subject: Subject,
}

/// Ways of being malformed; a decision rejects each with its own reason.
const MALFORMED_SHAPES: u64 = 4;

/// Plans the request with this number. What needs a click or an accepted postback while there is
/// none becomes a click.
pub fn plan(links: &Links, mix: &Mix, seed: u64, number: u64, pool: &mut Pool) -> Planned {
    let random = scramble(seed.rotate_left(17), number);
    let kind = mix.kind(seed, number);
    let of = |template: &Template, path_and_query: String, subject: Subject| Planned {
        kind,
        authority: template.authority.clone(),
        path_and_query,
        subject,
    };
    let first = &links.postbacks[0];
    let planned = match kind {
        Kind::Click => None,
        Kind::Valid => pool.take().map(|click| {
            let template = &links.postbacks[click.next_event];
            of(template, template.for_click(&click.id), Subject::NextEvent(click))
        }),
        Kind::Duplicate => pool.some_accepted(seed, number).map(|Accepted { click_id, event }| {
            let template = &links.postbacks[event];
            of(template, template.for_click(&click_id), Subject::Nothing)
        }),
        Kind::OutOfOrder => {
            later_event(links, random).zip(pool.take_fresh()).map(|(event, click)| {
                let template = &links.postbacks[event];
                of(template, template.for_click(&click.id), Subject::OtherEvent(click, event))
            })
        }
        Kind::Forged => pool
            .some_click_id()
            .map(|click_id| of(first, first.forged_for_click(&click_id), Subject::Nothing)),
        Kind::Malformed => pool
            .some_click_id()
            .map(|click_id| of(first, malformed(first, &click_id, random), Subject::Nothing)),
        Kind::MacroNotReplaced => Some(of(
            first,
            first.with(&[
                (CLICK_ID, Some(&encode("{gk_click_id}"))),
                (EVENT_ID, Some(&encode("{event_name}"))),
            ]),
            Subject::Nothing,
        )),
    };
    planned.unwrap_or_else(|| {
        let template = &links.tracking[(random % links.tracking.len() as u64) as usize];
        Planned {
            kind: Kind::Click,
            authority: template.authority.clone(),
            path_and_query: template.plain(),
            subject: Subject::Nothing,
        }
    })
}

/// The index of an event that is not the first; none when there is only one.
fn later_event(links: &Links, random: u64) -> Option<usize> {
    let later = links.postbacks.len() as u64 - 1;
    random.checked_rem(later).map(|at| at as usize + 1)
}

fn malformed(template: &Template, click_id: &str, random: u64) -> String {
    let click_id = encode(click_id);
    match random % MALFORMED_SHAPES {
        0 => template.with(&[(CLICK_ID, None)]),
        1 => template.with(&[(CLICK_ID, Some(&click_id)), (EVENT_ID, Some(""))]),
        2 => template.with(&[(CLICK_ID, Some(&click_id)), ("revenue", Some("%zz%"))]),
        _ => template.with(&[(CLICK_ID, Some(&"A".repeat(80)))]),
    }
}

/// What an answer brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gain {
    Nothing,
    /// A redirect with a click id in it.
    ClickId(Arc<str>),
    Accepted(PostbackId),
    /// A 200 without a postback id, or a redirect without a click id.
    Unreadable(&'static str),
}

/// Reads what an answer brought. `location` is the header of a redirect.
pub fn gain(links: &Links, kind: Kind, status: u16, location: Option<&str>, body: &[u8]) -> Gain {
    #[derive(Deserialize)]
    struct Body {
        postback_id: PostbackId,
    }
    match (kind, status) {
        (Kind::Click, 302) => {
            let parameter = links.click_id_parameter.as_deref();
            location.and_then(|it| click_id_in(it, parameter)).map_or(
                Gain::Unreadable("a redirect without a click id (a fallback link?)"),
                |id| Gain::ClickId(id.into()),
            )
        }
        (_, 200..=299) => serde_json::from_slice::<Body>(body)
            .map_or(Gain::Unreadable("a 2xx without a postback id"), |body| {
                Gain::Accepted(body.postback_id)
            }),
        _ => Gain::Nothing,
    }
}

/// Puts what an answer brought, and the click that was out, into the pool.
pub fn settle(links: &Links, subject: Subject, gain: &Gain, pool: &mut Pool) {
    let accepted = matches!(gain, Gain::Accepted(_));
    if let Gain::ClickId(id) = gain {
        pool.add_click(Arc::clone(id));
    }
    match subject {
        Subject::Nothing => {}
        Subject::NextEvent(click) if accepted => {
            pool.add_accepted(Accepted {
                click_id: Arc::clone(&click.id),
                event: click.next_event,
            });
            let next = Click { next_event: click.next_event + 1, ..click };
            pool.give_back(next, links.postbacks.len());
        }
        Subject::OtherEvent(click, event) if accepted => {
            pool.add_accepted(Accepted { click_id: Arc::clone(&click.id), event });
            pool.give_back(click, links.postbacks.len());
        }
        // Not accepted: sent again later, as a sender would.
        Subject::NextEvent(click) | Subject::OtherEvent(click, _) => {
            pool.give_back(click, links.postbacks.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0198c0de-0000-7000-8000-000000000001";

    fn links() -> Links {
        let event = |name: &str| {
            let url = format!("http://h:1/p?signature=s&gk_click_id={{x}}&cnv_event_id={name}");
            Template::parse_postback(&url, None).unwrap()
        };
        Links {
            tracking: vec![Template::parse("link", "http://h:1/c/share").unwrap()],
            postbacks: vec![event("one"), event("two"), event("three")],
            click_id_parameter: None,
        }
    }

    fn plan_only(kind: &str, pool: &mut Pool) -> Planned {
        plan(&links(), &format!("{kind}=1").parse().unwrap(), 1, 0, pool)
    }

    #[test]
    fn without_clicks_everything_begins_with_one() {
        for kind in Kind::ALL {
            let planned = plan_only(kind.name(), &mut Pool::default());
            let expected = match kind {
                Kind::MacroNotReplaced => {
                    "/p?signature=s&gk_click_id=%7Bgk_click_id%7D&cnv_event_id=%7Bevent_name%7D"
                }
                _ => "/c/share",
            };
            assert_eq!(planned.path_and_query, expected, "{kind}");
        }
    }

    #[test]
    fn each_kind_is_what_it_says() {
        let filled = || {
            let mut pool = Pool::default();
            pool.add_click("k".into());
            pool.add_accepted(Accepted { click_id: "old".into(), event: 1 });
            pool
        };
        let path = |kind: &str| plan_only(kind, &mut filled()).path_and_query;
        assert_eq!(path("valid"), "/p?signature=s&gk_click_id=k&cnv_event_id=one");
        assert_eq!(path("duplicate"), "/p?signature=s&gk_click_id=old&cnv_event_id=two");
        assert_eq!(path("forged"), "/p?signature=A&gk_click_id=k&cnv_event_id=one");
        let later = path("out-of-order");
        assert!(later.ends_with("=two") || later.ends_with("=three"), "{later}");
        let fine = path("valid");
        let shapes = (0..MALFORMED_SHAPES).map(|n| malformed(&links().postbacks[0], "k", n));
        assert!(shapes.into_iter().all(|it| it != fine && it.contains("signature=s")));
    }

    #[test]
    fn a_click_goes_on_only_when_its_postback_was_accepted() {
        let accepted = Gain::Accepted(ID.parse().unwrap());
        let next_event_after = |gain: &Gain, subject: fn(Click) -> Subject| {
            let mut pool = Pool::default();
            settle(&links(), subject(Click { id: "k".into(), next_event: 0 }), gain, &mut pool);
            pool.take().map(|click| click.next_event)
        };
        assert_eq!(next_event_after(&accepted, Subject::NextEvent), Some(1));
        assert_eq!(next_event_after(&Gain::Nothing, Subject::NextEvent), Some(0));
        assert_eq!(next_event_after(&accepted, |click| Subject::OtherEvent(click, 2)), Some(0));
    }

    #[test]
    fn answers_are_read() {
        let click = format!("https://app.test/?label={}", "Z".repeat(50));
        let body = format!(r#"{{"status":"accepted","postback_id":"{ID}"}}"#);
        let of = |kind, status, location, body: &str| {
            gain(&links(), kind, status, location, body.as_bytes())
        };
        assert_eq!(
            of(Kind::Click, 302, Some(click.as_str()), ""),
            Gain::ClickId("Z".repeat(50).into())
        );
        assert_eq!(of(Kind::Valid, 200, None, &body), Gain::Accepted(ID.parse().unwrap()));
        assert_eq!(of(Kind::Forged, 403, None, "no"), Gain::Nothing);
        assert_eq!(of(Kind::Valid, 503, None, &body), Gain::Nothing);
        assert!(matches!(of(Kind::Click, 302, Some("https://f.test/"), ""), Gain::Unreadable(_)));
        assert!(matches!(of(Kind::Valid, 200, None, "ok"), Gain::Unreadable(_)));
    }
}
