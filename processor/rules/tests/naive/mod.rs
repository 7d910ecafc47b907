//! A second implementation of the rules, as naive as can be: it keeps a list of all inputs, works
//! everything out from scratch, finds things by looking through lists, has no counters, no
//! timers, no codecs. It judges the real one over random histories.

mod history;
mod limits;
mod model;
mod reversal;
mod run;
mod sequence;
