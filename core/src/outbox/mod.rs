//! What goes back to one connection: events, and packets already encoded.
//!
//! An outbox is bounded in bytes. Past its bound queues stop granting to its consumers and note
//! themselves as waiting; what is fetched counts until it is written to the socket, so a slow
//! client holds a bounded amount in the driver, too. Only fire-and-forget packets are dropped.

mod wake;

/// What the wake protocol is built from; its model check puts loom's types here.
mod sync {
    pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
}

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::Event;
use crate::queue::Queue;
use wake::WakeFlag;

/// What one event costs besides its message: its own size and its encoded frame's head.
const EVENT_BYTES: usize = 64;

/// Everything the broker has to say to one connection, until its driver fetches it.
#[derive(Debug)]
pub struct Outbox {
    bytes_max: usize,
    packets_bytes_max: usize,
    /// Queued and fetched, but not yet written.
    bytes: AtomicUsize,
    flag: WakeFlag,
    /// Guards what waits for the driver. The last lock in the order: queue, then outbox.
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    events: Vec<Event>,
    packets: Vec<u8>,
    queued_bytes: usize,
    waker: Option<Waker>,
    /// Queues with a consumer here that found no room.
    waiting: Vec<Arc<Queue>>,
    /// The connection is gone: keep nothing.
    closed: bool,
}

impl Outbox {
    /// An outbox for about `bytes_max` bytes of queued deliveries before queues stop granting to
    /// it, and `packets_bytes_max` bytes before fire-and-forget packets are dropped.
    #[must_use]
    pub fn new(bytes_max: usize, packets_bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            packets_bytes_max,
            bytes: AtomicUsize::new(0),
            flag: WakeFlag::default(),
            contents: Mutex::default(),
        })
    }

    /// Registers the driver's waker and takes what is there: events in order into `events`, and
    /// packets already encoded into `packets`. Returns what [`Outbox::release`] must be given once
    /// all of it is written to the socket.
    pub fn fetch(&self, waker: &Waker, events: &mut Vec<Event>, packets: &mut Vec<u8>) -> usize {
        let mut contents = self.contents();
        if !contents.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            contents.waker = Some(waker.clone());
        }
        self.flag.lower();
        take(&mut contents.events, events);
        take(&mut contents.packets, packets);
        std::mem::take(&mut contents.queued_bytes)
    }

    /// So many bytes of what was fetched are written. True when queues wait for the room: call
    /// [`crate::Broker::resume`].
    #[must_use]
    pub fn release(&self, bytes: usize) -> bool {
        let before = self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        debug_assert!(before >= bytes, "released more than was fetched");
        before - bytes < self.bytes_max && !self.contents().waiting.is_empty()
    }

    /// Bytes queued or fetched, and not yet written to the socket.
    pub fn pending_bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// The connection is gone: what is queued is dropped, and all that follows.
    pub fn close(&self) {
        let mut contents = self.contents();
        let bytes = contents.queued_bytes;
        let closed = Contents { closed: true, ..Contents::default() };
        let dropped = std::mem::replace(&mut *contents, closed);
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        drop(contents);
        drop(dropped);
    }

    /// What a delivery of a message of `message_bytes` is charged with.
    pub(crate) const fn delivery_cost(message_bytes: usize) -> usize {
        EVENT_BYTES + message_bytes
    }

    /// Whether a delivery may be added, with `pending` bytes on their way here already.
    pub(crate) fn has_room(&self, pending: usize) -> bool {
        self.bytes.load(Ordering::Acquire) + pending < self.bytes_max
    }

    /// Appends events of that cost in all. The caller wakes the driver ([`Outbox::wake`]) once it
    /// holds no lock.
    pub(crate) fn push(&self, events: &mut Vec<Event>, cost_bytes: usize) {
        let mut contents = self.contents();
        if contents.closed {
            return events.clear();
        }
        contents.events.append(events);
        contents.queued_bytes += cost_bytes;
        self.bytes.fetch_add(cost_bytes, Ordering::AcqRel);
    }

    /// Appends one event that is not a delivery; it is never refused.
    pub(crate) fn push_event(&self, event: Event) {
        self.push(&mut vec![event], EVENT_BYTES);
    }

    /// Appends encoded packets, or drops them all when the outbox is past its bound for them.
    pub(crate) fn push_packets(&self, packets: &[u8]) -> bool {
        if self.bytes.load(Ordering::Acquire) >= self.packets_bytes_max {
            return false;
        }
        let mut contents = self.contents();
        if contents.closed {
            return false;
        }
        contents.packets.extend_from_slice(packets);
        contents.queued_bytes += packets.len();
        self.bytes.fetch_add(packets.len(), Ordering::AcqRel);
        true
    }

    /// Notes that `queue` waits for room. False when there is room again by now.
    pub(crate) fn wait_for_room(&self, queue: &Arc<Queue>) -> bool {
        let mut contents = self.contents();
        if self.has_room(0) {
            return false;
        }
        if !contents.closed && !contents.waiting.iter().any(|known| Arc::ptr_eq(known, queue)) {
            contents.waiting.push(queue.clone());
        }
        true
    }

    /// The queues that waited for room.
    pub(crate) fn take_waiting(&self) -> Vec<Arc<Queue>> {
        std::mem::take(&mut self.contents().waiting)
    }

    /// Wakes the driver unless a wake is already under way. Never under a lock.
    pub(crate) fn wake(&self) {
        if self.flag.raise() {
            let waker = self.contents().waker.clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// A panic elsewhere leaves the contents whole: every change is one call.
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves all of `from` to the end of `to`: a swap when `to` is empty.
fn take<T>(from: &mut Vec<T>, to: &mut Vec<T>) {
    if to.is_empty() {
        std::mem::swap(from, to);
    } else {
        to.append(from);
    }
}
