//! What goes back to one connection, and the wake protocol.
use crate::Event;
use std::sync::Arc;
use std::task::Waker;

/// Everything the broker has to say to one connection, until its driver fetches it.
#[derive(Debug)]
pub struct Outbox {}
impl Outbox {
    /// An outbox that holds about `bytes_max` bytes of queued deliveries before queues stop granting to it.
    pub fn new(_bytes_max: usize) -> Arc<Self> {
        todo!()
    }
    /// Registers the driver's waker and takes what is there: events in order into `events`, and
    /// packets already encoded into `packets`. Returns what `release` must be given once all of it is
    /// written to the socket. Call it once per poll; it clears the "scheduled" flag first.
    pub fn fetch(&self, _waker: &Waker, _events: &mut Vec<Event>, _packets: &mut Vec<u8>) -> usize {
        todo!()
    }
    /// So many bytes of what was fetched are written. When it returns true call [`crate::Broker::resume`].
    pub fn release(&self, _bytes: usize) -> bool {
        todo!()
    }
}
