//! Publisher postbacks from the log to real HTTP receivers on loopback, under a clock that the
//! tests set.

mod delivery;
mod faults;
mod model;
mod receiver;
mod safety;
mod tls;
mod world;
