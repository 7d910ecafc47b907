//! The product as its users have it: real processes, real HTTP, a real Kafka and the real ClickHouse engine.
//!
//! One binary for all of it, so that it is linked once, and so that one test works while another waits for
//! a time-out. What needs the machine for itself is beside it: `cluster`, `sink_crash`, `sink_clickhouse`.

mod bad_records;
mod bad_start;
mod canary;
mod crash;
mod erase;
mod fencing;
mod keeping;
mod late_kafka;
mod limits;
mod load_judged;
mod operations;
mod postbacks;
mod redecide;
mod rekey;
mod replay;
mod reports;
mod start;
mod worked_cases;
