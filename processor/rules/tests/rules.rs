//! The rules from outside: worked cases, tables of each rule, sizes, and a naive second
//! implementation that judges the first over random histories.

#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "tests print what they measured, read how long to run, and use the machine's zones"
)]

mod cases;
mod naive;
mod support;
