//! The broker itself: what a message, a queue and an acknowledgement *are*, with no idea how
//! they reach us.
//!
//! An adapter stages into a [`Batch`] while it parses, and hands over as a [`Request`] whatever
//! may have to wait. What the broker has to say comes back as [`Event`]s through the connection's
//! [`Outbox`]. Nothing in this crate reads a clock, opens a file, touches a socket, spawns a task
//! or draws a random number: adapters and tests run the real broker, step by step, in one thread.
//!
//! # Reading order
//!
//! [`Message`], then [`Batch`], [`control`] and [`Event`], which with [`Adapter`] are the whole
//! contract with the adapters. `queue` is where the work happens.
//!
//! # Invariants
//!
//! C-1 to C-5 in `ARCHITECTURE.md`.

mod adapter;
pub mod address;
mod alarm;
mod batch;
mod broker;
pub mod catalogue;
pub mod control;
mod counters;
mod encoder;
mod event;
mod hash;
mod ids;
mod limits;
pub mod log;
mod loss;
mod memory;
mod message;
mod outbox;
mod pause;
mod policy;
mod principal;
pub mod properties;
mod queue;
mod refusal;
mod retained;
mod routing;
mod session;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod time;
mod transaction;
mod vhost;

pub use adapter::{Adapter, Description, Transmit};
pub use alarm::Alarms;
pub use batch::{Batch, Confirm, Outcome, Published};
pub use broker::{Broker, ClientTotals, DEFAULT_VHOST, MemoryUse, OwnTopics, Totals, Worker};
pub use control::{Answer, Reply, Request, Response};
pub use counters::{Counts, DeathCount, Deaths};
pub use encoder::{Encoder, Variant};
pub use event::{Delivery, Event};
pub use ids::{ConnectionId, ConsumerId, DeliveryId, PublisherId, QueueId, SessionId, Ticket};
pub use limits::Limits;
pub use loss::{Field, Loss, Lost};
pub use message::{Body, Draft, LARGE_BODY_BYTES, Message, Protocol};
pub use outbox::Outbox;
pub use policy::{ApplyTo, InvalidPolicy, Policy, PolicyKind};
pub use principal::Principal;
pub use properties::{Properties, PropertyCodec, ReplyTo, Table, Value, neutral_codec};
pub use refusal::{Kind, Refusal};
pub use routing::OWN_EXCHANGE;
pub use session::{Connection, Session, SessionHandle};
pub use time::Instant;
pub use transaction::Transaction;
