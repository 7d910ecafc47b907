//! Records on their way out, by a handle of their topic: the crate's own call looks the topic up by
//! its name, in a list under a lock, for each record.

use rdkafka::bindings as c;
use rdkafka::error::{IsError, KafkaError};
use rdkafka::util::IntoOpaque;
use schemas::UnixMillis;
use std::ffi::{CString, c_void};
use std::ptr;

/// A producer's handle of a topic. It must be dropped before the producer.
pub struct TopicHandle {
    client: *mut c::rd_kafka_t,
    topic: *mut c::rd_kafka_topic_t,
}

// SAFETY: librdkafka's clients and topic handles are made for use from any thread.
unsafe impl Send for TopicHandle {}
// SAFETY: the same.
unsafe impl Sync for TopicHandle {}

impl TopicHandle {
    /// `None` for a name that Kafka does not allow.
    ///
    /// # Safety
    /// `client` is a live producer and outlives what is returned.
    pub unsafe fn new(client: *mut c::rd_kafka_t, name: &str) -> Option<Self> {
        let name = CString::new(name).ok()?;
        // SAFETY: the client is live; the name is copied; without settings it has the client's.
        let topic = unsafe { c::rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut()) };
        (!topic.is_null()).then_some(Self { client, topic })
    }

    /// Queues a copy of a record; `opaque` comes with the report about it. An empty key is none; an
    /// empty value is a tombstone. Never waits.
    ///
    /// # Errors
    /// When it was not queued: then there is no report, and `opaque` is dropped.
    pub fn produce<D: IntoOpaque>(
        &self,
        partition: i32,
        (key, value, at): (&[u8], &[u8], UnixMillis),
        opaque: D,
    ) -> Result<(), KafkaError> {
        use c::rd_kafka_vtype_t as V;
        let pointer = |bytes: &[u8]| match bytes {
            [] => ptr::null_mut::<c_void>(),
            some => some.as_ptr().cast_mut().cast(),
        };
        let opaque = opaque.into_ptr();
        // SAFETY: client and topic are live. Each tag is followed by what librdkafka takes for it,
        // and the last is the end. Key and value are copied before the call returns.
        let refused = unsafe {
            c::rd_kafka_producev(
                self.client,
                V::RD_KAFKA_VTYPE_RKT,
                self.topic,
                V::RD_KAFKA_VTYPE_PARTITION,
                partition,
                V::RD_KAFKA_VTYPE_MSGFLAGS,
                c::RD_KAFKA_MSG_F_COPY,
                V::RD_KAFKA_VTYPE_VALUE,
                pointer(value),
                value.len(),
                V::RD_KAFKA_VTYPE_KEY,
                pointer(key),
                key.len(),
                V::RD_KAFKA_VTYPE_OPAQUE,
                opaque,
                V::RD_KAFKA_VTYPE_TIMESTAMP,
                at.0.max(0),
                V::RD_KAFKA_VTYPE_END,
            )
        };
        if !refused.is_error() {
            return Ok(());
        }
        // SAFETY: it was made above, and nobody else has it.
        drop(unsafe { D::from_ptr(opaque) });
        Err(KafkaError::MessageProduction(refused.into()))
    }
}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, and the client is live (see `new`).
        unsafe { c::rd_kafka_topic_destroy(self.topic) }
    }
}
