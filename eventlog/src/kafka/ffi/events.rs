//! A queue of librdkafka that tells when something comes into it, so that nobody has to wait in a
//! thread of its own.

use rdkafka::bindings as c;
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use tokio::sync::Notify;

/// A queue. It must be dropped before its client.
pub struct WatchedQueue {
    queue: *mut c::rd_kafka_queue_t,
    arrived: Arc<Notify>,
}

// SAFETY: librdkafka's queues are made for use from any thread.
unsafe impl Send for WatchedQueue {}
// SAFETY: the same.
unsafe impl Sync for WatchedQueue {}

unsafe extern "C" fn wake(_: *mut c::rd_kafka_t, notify: *mut c_void) {
    // SAFETY: `notify` is the `Notify` in the `Arc` of the `WatchedQueue`, which switches this
    // callback off before it lets go of it.
    unsafe { (*notify.cast::<Notify>()).notify_one() }
}

impl WatchedQueue {
    /// Takes over a reference to a queue; `None` for a null pointer.
    ///
    /// # Safety
    /// `queue` is null or a reference that is the caller's to give, and its client outlives what is
    /// returned.
    pub unsafe fn new(queue: *mut c::rd_kafka_queue_t) -> Option<Self> {
        if queue.is_null() {
            return None;
        }
        let arrived = Arc::new(Notify::new());
        let opaque = Arc::as_ptr(&arrived).cast_mut().cast::<c_void>();
        // SAFETY: the queue is live; the callback's pointer stays valid until `drop` switches the
        // callback off.
        unsafe { c::rd_kafka_queue_cb_event_enable(queue, Some(wake), opaque) };
        Some(Self { queue, arrived })
    }

    /// The queue of a producer's reports and other events.
    ///
    /// # Safety
    /// `client` is a live client and outlives what is returned.
    pub unsafe fn main(client: *mut c::rd_kafka_t) -> Option<Self> {
        // SAFETY: the client is live; what is returned is a new reference.
        unsafe { Self::new(c::rd_kafka_queue_get_main(client)) }
    }

    /// Is told when something comes into the empty queue.
    pub fn arrived(&self) -> &Arc<Notify> {
        &self.arrived
    }

    /// Whether something is in it.
    pub fn holds_something(&self) -> bool {
        // SAFETY: the queue is live.
        unsafe { c::rd_kafka_queue_length(self.queue) > 0 }
    }

    pub(super) fn native(&self) -> *mut c::rd_kafka_queue_t {
        self.queue
    }
}

impl Drop for WatchedQueue {
    fn drop(&mut self) {
        // SAFETY: the queue is ours and the client is live (see `new`). After the callback is off,
        // nobody has the pointer to `arrived` any more.
        unsafe {
            c::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            c::rd_kafka_queue_destroy(self.queue);
        }
    }
}
