//! Turns a kind into one request, and an answer into what it means.

use crate::connection::Place;
use crate::mix::{Kind, Mix, scramble};
use crate::pool::{Accepted, Click, Made, Pool};
use crate::template::{CLICK_ID, EVENT_ID, Template, click_id_in, encode};
use schemas::PostbackId;
use serde::Deserialize;
use std::sync::Arc;

/// What a run sends to.
#[derive(Clone)]
pub struct Links {
    pub tracking: Vec<Tracking>,
    pub targets: Vec<Target>,
    /// Sums of the tracking links' weights, in their order: how hot each one's offer is.
    pub heat: Vec<u64>,
    pub click_id_parameter: Option<String>,
}

/// A tracking link, and where its clicks' postbacks go.
#[derive(Clone)]
pub struct Tracking {
    pub template: Template,
    pub target: usize,
}

/// One advertiser's offer or offers with the same events.
#[derive(Clone)]
pub struct Target {
    /// One an event, in the order of the offer's events.
    pub postbacks: Vec<Template>,
}

impl Links {
    /// The link at place n, from 1, gets a share of the clicks by 1 / n^exponent (Zipf's law); 0
    /// makes all alike.
    pub fn heat(count: usize, exponent: f64) -> Vec<u64> {
        const WHOLE: f64 = (1_u64 << 32) as f64;
        let weight = |place: usize| (WHOLE / (place as f64 + 1.0).powf(exponent)) as u64;
        let sums = (0..count).scan(0_u64, |sum, place| {
            *sum += weight(place).max(1);
            Some(*sum)
        });
        sums.collect()
    }

    fn tracking_link(&self, random: u64) -> u16 {
        let total = self.heat.last().copied().unwrap_or(1);
        let at = self.heat.partition_point(|sum| *sum <= random % total);
        at.min(self.tracking.len() - 1) as u16
    }

    pub fn postbacks_of(&self, link: u16) -> &[Template] {
        &self.targets[self.tracking[usize::from(link)].target].postbacks
    }
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
    pub place: Place,
    pub path_and_query: String,
    pub subject: Subject,
    pub note: Note,
}

/// What a ledger keeps of a request: enough to say what must become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// Index of the tracking link.
    pub link: u16,
    /// Index of the event.
    pub event: u8,
    pub shape: Shape,
    /// The click's number in its pool; none when it names no click that there is.
    pub click: Option<u32>,
}

/// What is wrong with a request; each of these is judged by its own rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    Fine,
    NoClickId,
    EmptyEvent,
    /// The conversion stands, and the sale amount does not.
    BrokenAmount,
    MadeUpClickId,
}

impl Shape {
    pub const ALL: [Self; 5] =
        [Self::Fine, Self::NoClickId, Self::EmptyEvent, Self::BrokenAmount, Self::MadeUpClickId];
}

/// Plans the request with this number. What needs a click or an accepted postback while there is
/// none becomes a click.
pub fn plan(links: &Links, mix: &Mix, seed: u64, number: u64, pool: &mut Pool) -> Planned {
    let random = scramble(seed.rotate_left(17), number);
    let kind = mix.kind(seed, number);
    let of_click = |made: &Made, event: usize, subject: Subject| {
        let template = &links.postbacks_of(made.link)[event];
        let note = note(made, event, Shape::Fine);
        planned(kind, template, template.for_click(&made.id), subject, note)
    };
    let planned = match kind {
        Kind::Click => None,
        Kind::Valid | Kind::Retry => pool.take().map(|click| {
            let (made, event) = (click.made.clone(), click.next_event);
            of_click(&made, event, Subject::NextEvent(click))
        }),
        Kind::Duplicate => pool
            .some_accepted(seed, number)
            .map(|Accepted { made, event }| of_click(&made, event, Subject::Nothing)),
        Kind::OutOfOrder => pool.take_fresh().and_then(|click| {
            match later_event(links.postbacks_of(click.made.link), random) {
                Some(event) => {
                    let made = click.made.clone();
                    Some(of_click(&made, event, Subject::OtherEvent(click, event)))
                }
                None => {
                    pool.give_back(click, 1);
                    None
                }
            }
        }),
        Kind::Forged => pool.some_click().map(|made| {
            let template = &links.postbacks_of(made.link)[0];
            let text = template.forged_for_click(&made.id);
            planned(kind, template, text, Subject::Nothing, note(&made, 0, Shape::Fine))
        }),
        Kind::Malformed => pool.some_click().map(|made| {
            let template = &links.postbacks_of(made.link)[0];
            let (shape, text) = malformed(template, &made.id, random);
            let mut note = note(&made, 0, shape);
            if matches!(shape, Shape::NoClickId | Shape::MadeUpClickId) {
                note.click = None;
            }
            planned(kind, template, text, Subject::Nothing, note)
        }),
        Kind::MacroNotReplaced => {
            let link = links.tracking_link(random);
            let template = &links.postbacks_of(link)[0];
            let text = template.with(&[
                (CLICK_ID, Some(&encode("{gk_click_id}"))),
                (EVENT_ID, Some(&encode("{event_name}"))),
            ]);
            let note = Note { link, event: 0, shape: Shape::Fine, click: None };
            Some(planned(kind, template, text, Subject::Nothing, note))
        }
    };
    planned.unwrap_or_else(|| {
        let link = links.tracking_link(random);
        let template = &links.tracking[usize::from(link)].template;
        let note = Note { link, event: 0, shape: Shape::Fine, click: None };
        self::planned(Kind::Click, template, template.plain(), Subject::Nothing, note)
    })
}

fn planned(
    kind: Kind,
    template: &Template,
    path_and_query: String,
    subject: Subject,
    note: Note,
) -> Planned {
    Planned { kind, place: template.place.clone(), path_and_query, subject, note }
}

fn note(made: &Made, event: usize, shape: Shape) -> Note {
    Note { link: made.link, event: event as u8, shape, click: Some(made.number) }
}

/// The index of an event that is not the first; none when there is only one.
fn later_event(events: &[Template], random: u64) -> Option<usize> {
    let later = events.len() as u64 - 1;
    random.checked_rem(later).map(|at| at as usize + 1)
}

fn malformed(template: &Template, click_id: &str, random: u64) -> (Shape, String) {
    let shape = Shape::ALL[1 + (random % (Shape::ALL.len() as u64 - 1)) as usize];
    let text = match shape {
        Shape::NoClickId => template.with(&[(CLICK_ID, None)]),
        Shape::EmptyEvent => template.with(&[(CLICK_ID, Some(click_id)), (EVENT_ID, Some(""))]),
        Shape::MadeUpClickId => template.with(&[(CLICK_ID, Some(&"A".repeat(80)))]),
        Shape::Fine | Shape::BrokenAmount => {
            template.with(&[(CLICK_ID, Some(click_id)), ("revenue", Some("%zz%"))])
        }
    };
    (shape, text)
}

/// What an answer brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gain {
    Nothing,
    /// A redirect with a click id in it, which is given as it stands in a query.
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
pub fn settle(links: &Links, planned: Planned, gain: &Gain, pool: &mut Pool) {
    let accepted = matches!(gain, Gain::Accepted(_));
    if let Gain::ClickId(id) = gain {
        pool.add_click(Arc::clone(id), planned.note.link);
    }
    let events = links.postbacks_of(planned.note.link).len();
    match planned.subject {
        Subject::Nothing => {}
        Subject::NextEvent(click) if accepted => {
            pool.add_accepted(Accepted { made: click.made.clone(), event: click.next_event });
            let next = Click { next_event: click.next_event + 1, ..click };
            pool.give_back(next, events);
        }
        Subject::OtherEvent(click, event) if accepted => {
            pool.add_accepted(Accepted { made: click.made.clone(), event });
            pool.give_back(click, events);
        }
        // Not accepted: sent again later, as a sender would.
        Subject::NextEvent(click) | Subject::OtherEvent(click, _) => {
            pool.give_back(click, events);
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
            tracking: vec![Tracking {
                template: Template::parse("link", "http://h:1/c/share").unwrap(),
                target: 0,
            }],
            targets: vec![Target { postbacks: vec![event("one"), event("two"), event("three")] }],
            heat: Links::heat(1, 0.0),
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
            pool.add_click("k".into(), 0);
            let made = Made { id: "old".into(), link: 0, number: 9 };
            pool.add_accepted(Accepted { made, event: 1 });
            pool
        };
        let path = |kind: &str| plan_only(kind, &mut filled()).path_and_query;
        assert_eq!(path("valid"), "/p?signature=s&gk_click_id=k&cnv_event_id=one");
        assert_eq!(path("duplicate"), "/p?signature=s&gk_click_id=old&cnv_event_id=two");
        assert_eq!(path("forged"), "/p?signature=A&gk_click_id=k&cnv_event_id=one");
        let later = path("out-of-order");
        assert!(later.ends_with("=two") || later.ends_with("=three"), "{later}");
        let fine = path("valid");
        let template = &links().targets[0].postbacks[0];
        let shapes: Vec<_> = (0..4).map(|n| malformed(template, "k", n)).collect();
        assert!(shapes.iter().all(|(_, it)| *it != fine && it.contains("signature=s")));
        assert_eq!(shapes.iter().map(|it| it.0).collect::<Vec<_>>(), Shape::ALL[1..]);
    }

    #[test]
    fn a_click_goes_on_only_when_its_postback_was_accepted() {
        let accepted = Gain::Accepted(ID.parse().unwrap());
        let next_event_after = |gain: &Gain, subject: fn(Click) -> Subject| {
            let mut pool = Pool::default();
            pool.add_click("k".into(), 0);
            let mut planned = plan(&links(), &"valid=1".parse().unwrap(), 1, 0, &mut pool);
            let Subject::NextEvent(click) = planned.subject else { panic!() };
            planned.subject = subject(click);
            settle(&links(), planned, gain, &mut pool);
            pool.take().map(|click| click.next_event)
        };
        assert_eq!(next_event_after(&accepted, Subject::NextEvent), Some(1));
        assert_eq!(next_event_after(&Gain::Nothing, Subject::NextEvent), Some(0));
        assert_eq!(next_event_after(&accepted, |click| Subject::OtherEvent(click, 2)), Some(0));
    }

    #[test]
    fn hot_links_get_more_clicks() {
        let mut links = links();
        links.tracking = vec![links.tracking[0].clone(); 4];
        let shares = |exponent: f64, links: &mut Links| {
            links.heat = Links::heat(4, exponent);
            let mut counts = [0_u32; 4];
            for number in 0..100_000 {
                counts[usize::from(links.tracking_link(scramble(7, number)))] += 1;
            }
            counts.map(|count| f64::from(count) / 100_000.0)
        };
        for (exponent, expected) in
            [(0.0, [0.25, 0.25, 0.25, 0.25]), (1.0, [0.48, 0.24, 0.16, 0.12])]
        {
            let got = shares(exponent, &mut links);
            // Six standard deviations are about 0.01.
            let near =
                got.iter().zip(expected).all(|(got, it): (&f64, f64)| (got - it).abs() < 0.01);
            assert!(near, "{exponent}: {got:?}");
        }
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
