//! Bounds on what one request may name. AMQP's names end at 255 bytes on the wire; those that
//! MQTT and STOMP clients make up end here, or no AMQP client could ever see them.

use trivium_core::{Refusal, Request};

use super::Ask;

/// The longest name, in bytes (AMQP 0-9-1, short strings).
const NAME_BYTES_MAX: usize = 255;

/// See the module.
pub(super) fn names_fit(ask: &Ask) -> Result<(), Refusal> {
    let name = match &ask.request {
        Request::DeclareExchange(declare) => declare.name.as_str(),
        Request::DeclareQueue(declare) => declare.name.as_str(),
        Request::Open { vhost, .. } => vhost.as_deref().unwrap_or_default(),
        _ => "",
    };
    if name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    Err(Refusal::LimitReached { what: "length of a name", limit: NAME_BYTES_MAX as u64 })
}
