//! One STOMP connection as a state machine, without a socket.
//!
//! STOMP 1.0, 1.1 and 1.2 are one code path: the version is a value, and everything that depends
//! on it asks `version`. Rules are quoted by their number in the specification index
//! (`S-1` to `S-84`); destinations, headers and the texts of errors are RabbitMQ's, except that an
//! ERROR always closes, as the specification wants it.
//!
//! # Reading order
//!
//! `frame` finds frames in bytes and `header` codes their values. `destination` and
//! `properties` say what a destination and a header mean to the broker. `connection` is the
//! conversation: it holds a `subscription` list with what is `unsettled`, open `transaction`s, `receipt`s that wait
//! for their confirm, and the `heartbeat`. `failure` is every ERROR there is.
//!
//! # Deliberately absent
//!
//! Sockets, clocks and randomness (time is an argument). `stomp-parser` reads typed header values
//! and writes CONNECTED, where it is good; it never sees a whole frame from outside, because it
//! cannot find a frame's end, ignores `content-length`, and lets go of memory it still lends.
//!
//! # Invariants
//!
//! * ST-1: what a frame does is independent of how its bytes were cut: every conversation is tested
//!   whole and byte by byte.
//! * ST-2: no octet from outside panics, recurses or grows a buffer past [`Config`]'s limits.
//! * ST-3: a RECEIPT leaves after what it is for is as safe as promised, and receipts of SENDs
//!   leave in the order of the SENDs.

mod config;
mod connection;
mod destination;
mod failure;
mod frame;
mod header;
mod heartbeat;
mod name;
mod properties;
mod receipt;
mod subscription;
mod transaction;
mod unsettled;
mod version;

pub use config::Config;
pub use connection::Connection;
pub use properties::PROPERTY_CODEC;
