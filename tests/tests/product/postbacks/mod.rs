//! Publisher postbacks from end to end: real processes, a real receiver, real crashes.

mod commands;
mod crashes;
mod failover;
mod signed;
mod support;
