//! The rules from outside: worked cases, tables of each rule, sizes, and a naive second
//! implementation that judges the first over random histories.

mod cases;
mod naive;
mod support;
