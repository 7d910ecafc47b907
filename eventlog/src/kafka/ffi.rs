//! What the `rdkafka` crate does not give of librdkafka: a partition's queue read in batches, the
//! offset at which the end of a partition was met, whether a failed message may have been persisted,
//! and a member's generation ([`group`]), queues that wake a task ([`events`]) and topics by handle
//! ([`produce`]). All unsafe code of this crate is here and below.

pub mod events;
pub mod group;
pub mod produce;

use crate::{Offset, Record, StoredRecord};
use bytes::Bytes;
use events::WatchedQueue;
use rdkafka::bindings as c;
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;
use schemas::UnixMillis;
use std::ffi::{CString, c_void};
use std::ptr;
use tokio::sync::Notify;

/// Something from a partition's queue.
pub enum Item {
    Record(StoredRecord),
    /// There was nothing from this offset on.
    End(Offset),
    Error(RDKafkaRespErr),
}

/// The queue of one partition of a consumer, apart from the consumer's other queues.
///
/// It must be dropped before the consumer: the owner holds the consumer and drops this first.
pub struct PartitionQueue(WatchedQueue);

impl PartitionQueue {
    /// Splits a partition's queue off. To be called before the partition is assigned. `None` for a
    /// name or number that Kafka does not allow.
    ///
    /// # Safety
    /// `consumer` is a live consumer and outlives what is returned.
    pub unsafe fn split(consumer: *mut c::rd_kafka_t, topic: &str, partition: i32) -> Option<Self> {
        let topic = CString::new(topic).ok()?;
        // SAFETY: the consumer is live; the queue is checked before use, and is a new reference.
        unsafe {
            let queue = c::rd_kafka_queue_get_partition(consumer, topic.as_ptr(), partition);
            if queue.is_null() {
                return None;
            }
            c::rd_kafka_queue_forward(queue, ptr::null_mut());
            WatchedQueue::new(queue).map(Self)
        }
    }

    /// Is told when something comes into the empty queue.
    pub fn arrived(&self) -> &Notify {
        self.0.arrived()
    }

    /// Takes up to `max` items that are there already; never waits.
    pub fn take(&mut self, max: usize) -> Vec<Item> {
        let mut messages: Vec<*mut c::rd_kafka_message_t> = vec![ptr::null_mut(); max];
        // SAFETY: the array has room for `max` pointers; each one that is filled in is ours, is
        // read before it is destroyed, and its lengths are those of its buffers.
        unsafe {
            let queue = self.0.native();
            let count = c::rd_kafka_consume_batch_queue(queue, 0, messages.as_mut_ptr(), max);
            messages.truncate(usize::try_from(count).unwrap_or(0));
            let mut items = Vec::with_capacity(messages.len());
            for message in messages {
                items.push(item(&*message));
                c::rd_kafka_message_destroy(message);
            }
            items
        }
    }
}

/// # Safety
/// The message's pointers and lengths are librdkafka's.
unsafe fn item(message: &c::rd_kafka_message_t) -> Item {
    let offset = u64::try_from(message.offset).unwrap_or(0);
    match message.err {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {
            // SAFETY: as above.
            let (key, value, at) = unsafe {
                let at = c::rd_kafka_message_timestamp(message, ptr::null_mut());
                (copy(message.key, message.key_len), copy(message.payload, message.len), at)
            };
            Item::Record(StoredRecord { offset, record: Record { key, value, at: UnixMillis(at) } })
        }
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => Item::End(offset),
        error => Item::Error(error),
    }
}

/// # Safety
/// `data` is null or has `len` bytes.
unsafe fn copy(data: *const c_void, len: usize) -> Bytes {
    if data.is_null() || len == 0 {
        return Bytes::new();
    }
    // SAFETY: as above.
    Bytes::copy_from_slice(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) })
}

/// Whether a message that failed is certainly not in the log.
pub fn certainly_not_persisted(message: &BorrowedMessage<'_>) -> bool {
    // SAFETY: the message is alive, as the borrow says.
    let status = unsafe { c::rd_kafka_message_status(message.ptr()) };
    status == c::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}

/// Gives a client an error that it does not recover from.
///
/// # Safety
/// `client` is a live client.
#[cfg(test)]
pub unsafe fn break_for_good(client: *mut c::rd_kafka_t) {
    let code = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    // SAFETY: the client is live, and the text is for the call.
    unsafe { c::rd_kafka_test_fatal_error(client, code, c"a test".as_ptr()) };
}
