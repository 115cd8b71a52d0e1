//! Ties the rooms of the core together.
use crate::control::{Origin, Reply, Request};
use crate::log::{Log, StepLog};
use crate::{Batch, Connection, Instant, Limits, Outbox, Principal, Protocol, Refusal};
use std::sync::Arc;

/// The broker.
#[derive(Debug)]
pub struct Broker {}

/// One per thread of the gateway: route cache and scratch.
#[derive(Debug, Default)]
pub struct Worker {}

/// Numbers for metrics, all since the start unless said.
#[derive(Clone, Debug, Default)]
pub struct Totals {}

impl Broker {
    /// A broker with the vhost `/`.
    pub fn new(_log: Arc<dyn Log>, _limits: Limits, _seed: u64) -> Arc<Self> {
        todo!()
    }
    /// A broker for tests.
    pub fn stepped() -> (Arc<Self>, Arc<StepLog>) {
        todo!()
    }
    /// Adds a vhost; harmless when it is there.
    pub fn add_vhost(&self, _name: &str) {
        todo!()
    }
    /// Whether there is such a vhost.
    pub fn has_vhost(&self, _name: &str) -> bool {
        todo!()
    }
    /// A connection enters a vhost.
    pub fn connect(
        self: &Arc<Self>,
        _principal: &Principal,
        _vhost: &str,
        _protocol: Protocol,
        _outbox: Arc<Outbox>,
    ) -> Result<Connection, Refusal> {
        todo!()
    }
    /// Begins a batch: staged work of one read.
    pub fn batch<'a>(&'a self, _worker: &'a mut Worker, _now: Instant) -> Batch<'a> {
        todo!()
    }
    /// Answers a control request; `Login` and `Open` are the gateway's.
    pub fn request(&self, _origin: &Origin, _request: Request, _now: Instant) -> Reply {
        todo!()
    }
    /// The outbox has room again: serve the consumers that waited for it.
    pub fn resume(&self, _outbox: &Arc<Outbox>, _now: Instant) {
        todo!()
    }
    /// Does what time does; true when there is more to do at once.
    pub fn tick(&self, _now: Instant, _budget: usize) -> bool {
        todo!()
    }
    /// Numbers for metrics.
    pub fn totals(&self) -> Totals {
        todo!()
    }
}
