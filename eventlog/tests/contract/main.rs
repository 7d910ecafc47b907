//! What every event log promises, held against all three: the local one, the simulated one and
//! Apache Kafka.

mod cases;
mod kafka_moves;
mod kafka_only;
mod kafka_security;
mod kafka_topics;
mod simulated_only;
mod support;

macro_rules! contract {
    ($($case:ident)*) => {
        mod local {
            use super::{cases, support::World};
            $(#[tokio::test] async fn $case() { cases::$case(&World::local()).await })*
        }
        mod simulated {
            use super::{cases, support::World};
            $(#[tokio::test] async fn $case() { cases::$case(&World::simulated()).await })*
        }
        mod kafka {
            use super::{cases, support::World};
            $(#[tokio::test] async fn $case() {
                if let Some(world) = World::kafka() {
                    cases::$case(&world).await;
                }
            })*
        }
    };
}

contract! {
    records_come_back_in_order
    pipelined_appends_keep_their_order
    an_acknowledged_record_is_visible_and_stays
    bounds_follow_the_records
    reading_past_the_end_is_out_of_range
    what_no_log_can_take_is_refused
    records_of_all_sizes
    an_empty_append_writes_nothing
    a_compacted_topic_gives_the_last_of_each_key
    a_follower_catches_up
    positions_and_notes_survive
    only_the_owner_commits_positions
    a_commit_holds_everything
    a_commit_that_is_cut_short_is_whole_or_nothing
    state_is_sorted_and_changes
    reopening_gives_what_was_committed
    whoever_lost_a_partition_cannot_commit
    two_processors_process_everything_once
    stages_follow_each_other_and_share_nothing
}
