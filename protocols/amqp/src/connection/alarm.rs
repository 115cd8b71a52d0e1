//! Publishing while something is short (architecture, section 3; RabbitMQ's `connection.blocked`).
//!
//! A client that publishes during an alarm is told, if it can hear it. One that holds nothing
//! unsettled is not read from until the alarm is over. Of one that does, the publishes are refused:
//! its acknowledgements are behind them in the same socket.

use amq_protocol::protocol::connection;
use amq_protocol::types::ShortString;
use trivium_core::{Batch, Request};

use super::{Connection, Pending};
use crate::frame::{self, Frame};
use crate::method::MethodId;

impl Connection {
    /// Whether what stands at the start of `input` waits for the end of the alarm.
    #[cold]
    pub(super) fn waits_for_calm(&mut self, input: &[u8], batch: &Batch<'_>) -> bool {
        let Ok(Some((frame, _))) = Frame::decode(input, self.frame_bytes_max) else { return false };
        let Some(channel) = self.channels.open_mut(frame.channel) else { return false };
        let publishes = match frame.kind {
            frame::METHOD => {
                matches!(MethodId::of(frame.payload), Some((MethodId::BASIC_PUBLISH, _)))
            }
            _ => channel.content.is_some(),
        };
        if !publishes {
            return false;
        }
        let session = channel.handle();
        if !std::mem::replace(&mut self.is_blocked, true) && self.client.is_told_of_blocks {
            let reason = ShortString::try_new(batch.alarm_reason()).unwrap_or_default();
            let blocked = connection::Blocked { reason };
            self.write_connection(connection::AMQPMethod::Blocked(blocked));
        }
        if self.channels.hold_deliveries() {
            batch.watch_alarms(&session);
            return false;
        }
        self.ask(Some(session), Request::AwaitCalm, Pending::Calm);
        true
    }

    /// The alarm is over.
    pub(super) fn on_calm(&mut self) {
        if std::mem::take(&mut self.is_blocked) && self.client.is_told_of_blocks {
            let unblocked = connection::Unblocked {};
            self.write_connection(connection::AMQPMethod::Unblocked(unblocked));
        }
    }
}
