//! How fast the product is, against baselines in the same harness.
//!
//! Each area measures its sides in turn (A B A B …) in one run on one machine and writes
//! `bench/results/<area>.json` with every raw number; `bench/results.md` is drawn from all of them. A
//! number in any document of the project is one that stands there.

pub mod areas;
pub mod bare;
pub mod context;
pub mod counter;
pub mod deciding;
pub mod history;
pub mod installation;
pub mod load;
pub mod machine;
pub mod measure;
pub mod peers;
pub mod postbacks;
pub mod process;
pub mod render;
pub mod requests;
pub mod results;
pub mod state;
pub mod topics;
pub mod warehouse;
pub mod work;
