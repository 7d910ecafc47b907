//! The shortest story that still breaks the same law: steps are left out, in large pieces first,
//! for as long as it does.

use super::cluster::tell;
use super::story::Story;
use super::{Broken, Flaw};

/// Stories told before we are content with what we have.
const TRIALS_MAX: usize = 400;

pub fn shrink(story: &Story, broken: &Broken, flaw: Flaw) -> (Story, Broken) {
    let (mut shortest, mut broken) = (story.clone(), broken.clone());
    let mut trials = 0;
    let mut piece = shortest.steps.len().div_ceil(2);
    while piece > 0 {
        let mut from = 0;
        let mut has_shrunk = false;
        while from < shortest.steps.len() && trials < TRIALS_MAX {
            trials += 1;
            let mut trial = shortest.clone();
            let end = (from + piece).min(trial.steps.len());
            trial.steps.drain(from..end);
            match tell(&trial, flaw) {
                Err(still) if still.law == broken.law => {
                    (shortest, broken, has_shrunk) = (trial, still, true);
                }
                _ => from += piece,
            }
        }
        if piece == 1 && !has_shrunk || trials >= TRIALS_MAX {
            break;
        }
        piece = if piece == 1 { 1 } else { piece / 2 };
    }
    (shortest, broken)
}

/// The story for people, with how to hear it again.
pub fn report(story: &Story, length: usize, told: &Story, broken: &Broken) -> String {
    let mut text = format!(
        "seed {}: not so: {}\n{}\n\nthe shortest story found that breaks it ({} of {} steps):\n",
        story.seed,
        broken.law,
        broken.detail,
        told.steps.len(),
        story.steps.len()
    );
    for (number, step) in told.steps.iter().enumerate() {
        text.push_str(&format!("{:4}. {step}\n", number + 1));
    }
    text.push_str(&format!(
        "then everything is well again and the dust settles\n\nreplay: make sim SEED={} STEPS={length}\n",
        story.seed
    ));
    text
}
