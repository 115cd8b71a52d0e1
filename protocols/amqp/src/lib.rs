//! One AMQP 0-9-1 connection as a state machine, without a socket, in RabbitMQ 3.13's dialect.
//!
//! [`Connection`] implements [`trivium_core::Adapter`]: bytes, events, answers and time go in,
//! frames, requests and a deadline come out. [`Config`] is its argument. [`PROPERTY_CODEC`] reads
//! the properties of what AMQP clients published for clients of the other protocols.
//!
//! # Reading order
//!
//! `connection` (the states, then `handshake`, `dispatch`, `closing`), `channel` (what a client
//! asks, what it is answered), `hot` (publish, deliver, acknowledge: the message path),
//! `properties` and `translate` (property lists, both ways). Below them: `frame`, `method`,
//! `table`, `cursor`, and `reply_code`, the table from refusals to AMQP's codes.
//!
//! # What stands between a peer's octets and us
//!
//! `frame` bounds their number, `method` walks them by the method's layout, and `table` bounds how
//! deep and how many its fields are. Only then `amq-protocol` decodes them: it is complete, but it
//! recurses without a limit. It decodes and encodes every method off the message path; on it, the
//! codec in `hot` reads slices of the read buffer and allocates nothing.

mod channel;
mod config;
mod connection;
mod cursor;
mod frame;
mod heartbeat;
mod hot;
mod marker;
mod method;
mod properties;
mod reply_code;
mod sasl;
mod table;
mod translate;

pub use config::Config;
pub use connection::Connection;
pub use properties::PROPERTY_CODEC;
