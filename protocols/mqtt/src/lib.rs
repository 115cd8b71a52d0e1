//! One MQTT connection as a state machine, without a socket: 3.1, 3.1.1 and 5, one code path with
//! the version as data.
//!
//! [`Connection`] implements [`trivium_core::Adapter`]; the gateway's driver is its only caller
//! outside the tests.
//!
//! # Reading order
//!
//! `connection.rs` is the life of a client and names its parts: `connection/opening.rs` (CONNECT to
//! CONNACK, with AUTH between), `connection/open.rs` (every packet after it), then `incoming.rs`,
//! `outgoing.rs` (with `slots.rs` and `aliases.rs`), `subscribing.rs` and `proving.rs` for what a
//! client does. Below them `packet/` reads and writes
//! packets, `guard.rs` is the bounds-checked reader and the property walker every packet passes,
//! `properties.rs` translates to and from the other protocols, `encoder.rs` writes PUBLISH.
//!
//! # Who decodes what
//!
//! Every packet passes the guard first: exact bounds, flags, identifiers, UTF-8. Behind it
//! `mqttbytes` decodes SUBSCRIBE and 3.1.1's UNSUBSCRIBE and encodes CONNACK, SUBACK and UNSUBACK.
//! Our own code reads CONNECT, DISCONNECT, AUTH and UNSUBSCRIBE of MQTT 5, which the crate gets
//! wrong, and PUBLISH and its acknowledgements in both directions, where the guard already is the
//! parser and a second one would cost an allocation a message.
//!
//! # Invariants
//!
//! - **M-1** PUBACK and PUBREC leave in the order of their publishes and none before the broker
//!   confirmed it.
//! - **M-2** an outgoing packet identifier is in use from its PUBLISH to its PUBACK and never 0.
//! - **M-3** a will is published at most once, and never after DISCONNECT with reason 0x00.
//! - **M-4** nothing larger than the client's Maximum Packet Size is written.

mod address;
mod config;
mod connection;
mod encoder;
mod fault;
mod guard;
mod packet;
mod packet_ids;
mod properties;
mod reason_code;
mod subscription;
mod version;
mod will;

pub use config::Config;
pub use connection::Connection;
pub use encoder::{ENCODER, PublishEncoder};
pub use properties::{Codec, PROPERTY_CODEC};
pub use reason_code::ReasonCode;
