//! What the end-to-end tests share: the real binary, run as users run it, and what they ask it.

pub mod crash;
pub mod faulty_proxy;
pub mod http;
pub mod kafka;
pub mod kafka_proxy;
pub mod messages;
pub mod process;
pub mod random;
pub mod receiver;
pub mod stack;
