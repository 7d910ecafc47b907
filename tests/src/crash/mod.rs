//! A whole installation on a real Apache Kafka of three nodes, each process on a host of its own,
//! and everything that may happen to it while senders send. In the end nothing may be lost,
//! doubled or decided otherwise than the naive implementation of the rules decides.
//!
//! Reading order: `story` (what happens, from the seed alone), `hosts` (where), `installation`
//! (to whom), `director` (makes it happen), `load` (under what load), `probe` (what senders see), `evidence` and `counted` (what is left),
//! `check` (what must hold), `run` (all of it).

pub mod check;
#[cfg(test)]
pub mod check_tests;
pub mod counted;
pub mod director;
pub mod evidence;
pub mod hosts;
pub mod installation;
pub mod load;
#[path = "../../../processor/tests/naive/mod.rs"]
pub mod naive;
pub mod offers;
pub mod probe;
pub mod run;
pub mod story;
