//! A conversation partner for adapters' tests: the real broker on the log that makes nothing
//! durable until `step()`, and the driver's rules without a socket.

use std::sync::Arc;

use crate::log::StepLog;
use crate::{Adapter, Broker, Instant};

/// One broker and the time, shared by the clients of a test.
#[derive(Debug)]
pub struct World {}

impl World {
    /// A fresh broker on the stepped log, with vhost `/` and a user `guest`/`guest` who may enter it.
    pub fn new() -> Self {
        todo!()
    }
    /// The broker.
    pub fn broker(&self) -> &Arc<Broker> {
        todo!()
    }
    /// Makes everything appended durable.
    pub fn step(&self) {
        todo!()
    }
    /// The log.
    pub fn log(&self) -> &Arc<StepLog> {
        todo!()
    }
    /// The time now.
    pub fn now(&self) -> Instant {
        todo!()
    }
    /// Lets time pass.
    pub fn pass(&self, _millis: u64) {
        todo!()
    }
    /// A client that speaks to `adapter`; each call of `send` cuts its bytes into pieces of `chunk_len`.
    pub fn client<A: Adapter>(&self, _adapter: A, _chunk_len: usize) -> Client<'_, A> {
        todo!()
    }
}

/// One client, and the adapter that serves it.
#[derive(Debug)]
pub struct Client<'w, A: Adapter> {
    x: &'w (),
    /** The adapter. */
    pub adapter: A,
}

impl<A: Adapter> Client<'_, A> {
    /// The client sends `bytes`; returns what it can read afterwards (events and timeouts that are due included).
    pub fn send(&mut self, _bytes: &[u8]) -> Vec<u8> {
        todo!()
    }
    /// What the client can read now, after other clients or the world moved.
    pub fn read(&mut self) -> Vec<u8> {
        todo!()
    }
    /// The socket breaks.
    pub fn disconnect(&mut self) {
        todo!()
    }
    /// The gateway shuts down; returns the goodbye.
    pub fn shutdown(&mut self) -> Vec<u8> {
        todo!()
    }
    /// Whether the broker has closed the connection.
    pub fn is_closed(&self) -> bool {
        todo!()
    }
}
