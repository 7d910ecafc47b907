//! A group member's generation, and offsets that are committed with it.

use rdkafka::TopicPartitionList;
use rdkafka::bindings as c;
use rdkafka::types::RDKafkaRespErr;
use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::time::Duration;

/// Who a consumer is in its group, and in which generation.
pub struct Generation(NonNull<c::rd_kafka_consumer_group_metadata_t>);

// SAFETY: plain data of its own, which nobody changes.
unsafe impl Send for Generation {}

impl Generation {
    /// `None` when the consumer is no member just now. Its metadata would then say "no group", which
    /// brokers take for a client from before generations were looked at, and let through.
    ///
    /// # Safety
    /// `consumer` is a live consumer.
    pub unsafe fn of(consumer: *mut c::rd_kafka_t) -> Option<Self> {
        // SAFETY: the consumer is live; what is returned is ours.
        let generation =
            Self(NonNull::new(unsafe { c::rd_kafka_consumer_group_metadata(consumer) })?);
        generation.is_member().then_some(generation)
    }

    /// What a member of the group `group` would have.
    #[cfg(test)]
    fn new(group: &str, generation: i32, member: &str) -> Self {
        let text = |text: &str| std::ffi::CString::new(text).unwrap();
        let (group, member) = (text(group), text(member));
        // SAFETY: the texts are live, and are copied.
        let made = unsafe {
            c::rd_kafka_consumer_group_metadata_new_with_genid(
                group.as_ptr(),
                generation,
                member.as_ptr(),
                ptr::null(),
            )
        };
        Self(NonNull::new(made).unwrap())
    }

    fn is_member(&self) -> bool {
        let metadata = self.0.as_ptr();
        // SAFETY: the metadata is live, and its member id is a text that ends in a zero, or null.
        unsafe {
            let member = c::rd_kafka_consumer_group_metadata_member_id(metadata);
            let generation = c::rd_kafka_consumer_group_metadata_generation_id(metadata);
            generation >= 0 && !member.is_null() && *member != 0
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        // SAFETY: it is ours, and this is the last use.
        unsafe { c::rd_kafka_consumer_group_metadata_destroy(self.0.as_ptr()) }
    }
}

/// Adds offsets to the transaction under way, in the name of a generation.
///
/// # Safety
/// `producer` is a live producer.
pub unsafe fn send_offsets_to_transaction(
    producer: *mut c::rd_kafka_t,
    offsets: &TopicPartitionList,
    generation: &Generation,
    timeout: Duration,
) -> Result<(), String> {
    // SAFETY: everything is live for the call; the error is ours, and its text is live until it is
    // destroyed.
    unsafe {
        let error = c::rd_kafka_send_offsets_to_transaction(
            producer,
            offsets.ptr(),
            generation.0.as_ptr(),
            milliseconds(timeout),
        );
        if error.is_null() {
            return Ok(());
        }
        let text = CStr::from_ptr(c::rd_kafka_error_string(error)).to_string_lossy().into_owned();
        c::rd_kafka_error_destroy(error);
        Err(text)
    }
}

/// What became of a commit of offsets.
#[derive(Debug)]
pub enum Committed {
    /// What the broker says of each partition, in the order of the list.
    Answered(Vec<RDKafkaRespErr>),
    /// It failed as a whole.
    Failed(RDKafkaRespErr),
    TimedOut,
}

/// Commits offsets outside of any transaction, and looks at each partition's answer: librdkafka's
/// overall code is of the last partition that failed, or none when only some did.
///
/// # Safety
/// `consumer` is a live consumer.
pub unsafe fn commit_offsets(
    consumer: *mut c::rd_kafka_t,
    offsets: &TopicPartitionList,
    timeout: Duration,
) -> Committed {
    let no_error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
    // SAFETY: everything is live for the calls; queue and event are ours until they are destroyed,
    // and the list is the event's.
    unsafe {
        let queue = c::rd_kafka_queue_new(consumer);
        let asked = c::rd_kafka_commit_queue(consumer, offsets.ptr(), queue, None, ptr::null_mut());
        let committed =
            if asked == no_error { wait(queue, timeout) } else { Committed::Failed(asked) };
        c::rd_kafka_queue_destroy(queue);
        committed
    }
}

/// # Safety
/// `queue` is live, and nothing but events of commits comes to it.
unsafe fn wait(queue: *mut c::rd_kafka_queue_t, timeout: Duration) -> Committed {
    // SAFETY: the queue is live; the event is ours, and not used after it is destroyed.
    unsafe {
        let event = c::rd_kafka_queue_poll(queue, milliseconds(timeout));
        // Asked about no event, librdkafka reads from address 0.
        let committed = NonNull::new(event).map_or(Committed::TimedOut, |event| answer(event));
        c::rd_kafka_event_destroy(event);
        committed
    }
}

/// # Safety
/// `event` is a live event of a commit.
unsafe fn answer(event: NonNull<c::rd_kafka_event_t>) -> Committed {
    let no_error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
    // SAFETY: the event is live, and so is its list, which has as many elements as it says.
    unsafe {
        let overall = c::rd_kafka_event_error(event.as_ptr());
        let list = c::rd_kafka_event_topic_partition_list(event.as_ptr());
        if list.is_null() {
            return Committed::Failed(overall);
        }
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        let each: Vec<_> = (0..count).map(|at| (*(*list).elems.add(at)).err).collect();
        match each.iter().all(|code| *code == no_error) && overall != no_error {
            true => Committed::Failed(overall),
            false => Committed::Answered(each),
        }
    }
}

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer};

    #[test]
    fn an_answer_that_does_not_come_times_out() {
        let consumer: BaseConsumer = ClientConfig::new().set("group.id", "g").create().unwrap();
        // SAFETY: the consumer is live, and so is its queue until it is destroyed.
        let committed = unsafe {
            let queue = c::rd_kafka_queue_new(consumer.client().native_ptr());
            let committed = wait(queue, Duration::ZERO);
            c::rd_kafka_queue_destroy(queue);
            committed
        };
        assert!(matches!(committed, Committed::TimedOut), "{committed:?}");
    }

    #[test]
    fn who_is_no_member_has_no_generation() {
        let check = |generation, member, expected| {
            assert_eq!(Generation::new("g", generation, member).is_member(), expected);
        };
        check(7, "member", true);
        check(0, "member", true);
        check(-1, "member", false);
        check(7, "", false);
        check(-1, "", false);
    }
}
