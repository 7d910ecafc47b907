//! The whole pipeline, from the ingesters to the tables, in one thread from a seed: the real
//! `processor::run` over the simulated log, with everything going wrong that may.
//!
//! `GOKART_SIM_SEED` tells one story again, `GOKART_SIM_STEPS` makes stories longer,
//! `GOKART_SIM_STORIES` tells more of them.

mod naive;
mod sim;

use schemas::{CommandEffect, Reason, RedecisionEffect};
use sim::cluster::{Ending, tell};
use sim::shrink::{report, shrink};
use sim::story::{Step, Story};
use sim::{Broken, Flaw};
use std::collections::BTreeSet;

/// Steps of a story, and stories, in CI.
const STEPS: usize = 300;
const STORIES: u64 = 240;
/// Stories within which every flaw must have shown.
const STORIES_FOR_A_FLAW: u64 = 60;
/// Stories that reach every reason which the simulated senders can lead to.
const STORIES_TO_GET_SOMEWHERE: u64 = 60;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Tells a story; one that breaks a law fails the test, as short as it can be told.
fn check(seed: u64, steps: usize) -> Ending {
    let story = Story::of(seed, steps);
    tell(&story, Flaw::None).unwrap_or_else(|broken| {
        let (told, broken) = shrink(&story, &broken, Flaw::None);
        panic!("{}", report(&story, steps, &told, &broken))
    })
}

/// Tells the stories of one half of the seeds, so that two threads have something to do.
fn tell_stories(half: u64) {
    let steps = setting("GOKART_SIM_STEPS").map_or(STEPS, |steps| steps as usize);
    let stories = setting("GOKART_SIM_STORIES").unwrap_or(STORIES);
    let seeds: Vec<u64> = match setting("GOKART_SIM_SEED") {
        Some(seed) if half == 0 => vec![seed],
        Some(_) => Vec::new(),
        None => (0..stories).filter(|seed| seed % 2 == half).collect(),
    };
    let endings: Vec<Ending> = seeds.iter().map(|seed| check(*seed, steps)).collect();
    let sum = |of: fn(&Ending) -> usize| endings.iter().map(of).sum::<usize>();
    println!(
        "{} stories of {steps} steps: {} postbacks, {} revisions, {} commits, {} repeated rows collapsed",
        endings.len(),
        sum(|it| it.postbacks),
        sum(|it| it.revisions),
        sum(|it| it.commits),
        sum(|it| it.repeated_rows),
    );
}

#[test]
fn every_story_ends_well_even_seeds() {
    tell_stories(0);
}

#[test]
fn every_story_ends_well_odd_seeds() {
    tell_stories(1);
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    for seed in [1, 2, 3] {
        let story = Story::of(seed, STEPS);
        assert_eq!(story, Story::of(seed, STEPS));
        assert_eq!(tell(&story, Flaw::None), tell(&story, Flaw::None), "seed {seed}");
    }
    assert_ne!(Story::of(1, STEPS), Story::of(2, STEPS));
}

/// The first story that a pipeline with this flaw does not survive.
fn check_found(flaw: Flaw) -> (Story, Broken) {
    let found = (0..STORIES_FOR_A_FLAW).find_map(|seed| {
        let story = Story::of(seed, STEPS);
        tell(&story, flaw).err().map(|broken| (story, broken))
    });
    let (story, broken) = found.unwrap_or_else(|| panic!("nobody noticed {flaw:?}"));
    println!("{flaw:?} shows at seed {}: {}", story.seed, broken.law);
    (story, broken)
}

#[test]
fn stories_get_somewhere() {
    let mut endings: Vec<Ending> = Vec::new();
    for seed in 1_000..1_000 + STORIES_TO_GET_SOMEWHERE {
        endings.push(check(seed, STEPS));
    }
    let reached: BTreeSet<&str> = endings.iter().flat_map(|it| it.reached.clone()).collect();
    let absent = [
        // No story of these senders leads there; the rules' own tests do.
        Reason::MacroNotReplaced,
        Reason::MissingClickId,
        Reason::InvalidClickId,
        Reason::AdvertiserMismatch,
        Reason::UnknownOffer,
        Reason::UnknownStatus,
        Reason::OfferClosed,
        Reason::Ignored,
    ];
    for reason in Reason::ALL.iter().filter(|reason| !absent.contains(reason)) {
        assert!(reached.contains(reason.code()), "no story led to {reason}");
    }
    for effect in [CommandEffect::Applied, CommandEffect::AlreadySo, CommandEffect::OverLimit] {
        assert!(reached.contains(effect.code()), "no story led to {effect}");
    }
    // Half a year after a click no story goes on.
    for effect in RedecisionEffect::ALL.iter().filter(|it| **it != RedecisionEffect::TooOld) {
        assert!(reached.contains(effect.code()), "no story led to {effect}");
    }
    assert!(endings.iter().any(|it| it.repeated_rows > 0), "no row was ever inserted twice");
}

/// Told once by chance, and kept: each broke a law before the code was mended.
#[test]
fn these_stories_end_well() {
    let send = |click, event| Step::Send { click, event, transaction: 1, rejects: false };
    let stories = [
        // A loop that ended after its partition had come back stopped the new loop.
        vec![Step::Run { rounds: 8 }, Step::Move { partition: 1, nth: 0 }],
        // A processor had not read the configuration that a click was made with.
        vec![Step::Run { rounds: 20 }, Step::Apply, send(7, 0)],
        // A process was suspended between reading to the end and deciding, and took the end for
        // as late as it woke up: its clock passed what had arrived meanwhile.
        vec![
            Step::CrashWorker(0),
            Step::CrashWorker(1),
            Step::StartWorker(2),
            Step::Run { rounds: 1 },
            send(6, 1),
            Step::Run { rounds: 3 },
            Step::Repeat { back: 0 },
            Step::Advance { ms: 3_600_000 },
        ],
    ];
    for steps in stories {
        for seed in 0..20 {
            let story = Story { seed, steps: steps.clone() };
            tell(&story, Flaw::None).unwrap_or_else(|broken| {
                panic!("{}", report(&story, steps.len(), &story, &broken))
            });
        }
    }
}

/// An ingester's clock was ahead across midnight: what it took used up a day that had not begun, and
/// nobody was told when it did.
#[test]
fn a_day_that_begins_used_up_is_told() {
    check(1_612, 400);
}

#[test]
fn wrongly_built_pipelines_are_found_out() {
    for flaw in Flaw::ALL {
        check_found(flaw);
    }
}

#[test]
fn a_story_that_goes_wrong_is_told_shortly() {
    let (story, broken) = check_found(Flaw::OutputsTwice);
    let (told, still) = shrink(&story, &broken, Flaw::OutputsTwice);
    assert_eq!(still.law, broken.law);
    let text = report(&story, STEPS, &told, &still);
    assert!(told.steps.len() <= 5, "{text}");
    assert!(text.contains("a postback") && text.contains("make sim SEED="), "{text}");
}
