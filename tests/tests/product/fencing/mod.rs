//! Whoever was delayed or paused cannot commit as if nothing had happened since: shown on a real
//! broker, behind a proxy that holds back the requests of a transaction.

mod delayed;
mod paused;
mod stale_end;
mod support;
