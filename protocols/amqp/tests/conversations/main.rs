//! Conversations with the real broker, each with its octets whole and one by one.
//!
//! `dialog.rs` is the client; then the life of a connection: `handshake`, `channels`, `messages`,
//! `replies`, `confirms`, `clock`, `alarms`; `faults` is how it ends early. `translation` delivers what other
//! protocols published, `mutation` says anything at all.

#![allow(clippy::needless_update, reason = "method! fills in what a method's fields leave out")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

/// One method: `method!(Queue queue::Declare { queue: "q".into() })`, the rest of its fields zero.
macro_rules! method {
    ($class:ident $module:ident :: $name:ident { $($field:ident : $value:expr),* $(,)? }) => {
        amq_protocol::protocol::AMQPClass::$class(
            amq_protocol::protocol::$module::AMQPMethod::$name(
                amq_protocol::protocol::$module::$name { $($field: $value,)* ..Default::default() }
            )
        )
    };
}

mod alarms;
mod channels;
mod clock;
mod confirms;
mod dialog;
mod faults;
mod handshake;
mod messages;
mod mutation;
mod replies;
mod translation;
