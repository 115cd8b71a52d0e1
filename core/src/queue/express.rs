//! What goes to an MQTT client at QoS 0: it waits for nothing but the socket.

use super::Effects;
use super::lane::Entry;
use super::state::State;
use crate::{Message, Protocol};

/// Messages at QoS 0 that wait for one client's socket. A burst of 10,000 fits.
const EXPRESS_MAX: usize = 16 * 1024;

/// Bytes of their bodies; one message goes beyond.
const EXPRESS_BYTES_MAX: u64 = 16 * 1024 * 1024;

impl State {
    /// Appends a message that goes out at QoS 0 to a session's queue. It is dropped, and counted,
    /// when nobody is there to take it or too many wait. False when the queue is deleted.
    pub(crate) fn push_express(
        &mut self,
        message: &Message,
        retained: bool,
        effects: &mut Effects,
    ) -> bool {
        if self.deleted {
            return false;
        }
        let is_full = self.express.len() >= EXPRESS_MAX || self.express_bytes >= EXPRESS_BYTES_MAX;
        if self.order.is_empty() || is_full {
            effects.counters.of(Protocol::Mqtt).dropped += 1;
            return true;
        }
        let arrival = self.next_arrival;
        self.next_arrival += 1;
        let (message, bytes) = (Some(message.clone()), message.body_bytes());
        self.express_bytes += u64::from(bytes);
        self.express.push_back(Entry { message, bytes, retained, ..Entry::hole(arrival) });
        true
    }
}
