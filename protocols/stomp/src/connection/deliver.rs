//! What the broker says: messages, confirms, and bad news (S-73 to S-79).

use trivium_core::{Batch, ConsumerId, Delivery, Event, Message, Outcome, Protocol, Refusal};

use super::Connection;
use crate::destination;
use crate::failure::Failure;
use crate::header::{self, Side, push_decimal};
use crate::properties;
use crate::version::Version;

/// Octets of a MESSAGE besides what is copied into it: fixed names, numbers, line ends.
const MESSAGE_OVERHEAD_BYTES: usize = 128;

/// The `destination` line of the last message: the next one has mostly the same.
#[derive(Debug, Default)]
pub(super) struct DestinationLine {
    exchange: Vec<u8>,
    key: Vec<u8>,
    line: Vec<u8>,
}

impl DestinationLine {
    fn of(&mut self, message: &Message, version: Version) -> &[u8] {
        let (exchange, key) = (message.exchange_bytes(), message.routing_key_bytes());
        if self.line.is_empty() || self.key != key || self.exchange != exchange {
            exchange.clone_into(&mut self.exchange);
            key.clone_into(&mut self.key);
            let mut text = Vec::new();
            destination::write(exchange, key, &mut text);
            self.line.clear();
            self.line.extend_from_slice(b"destination:");
            header::escape(version, Side::Value, &text, &mut self.line);
        }
        &self.line
    }
}

impl Connection {
    pub(super) fn on_event(&mut self, event: Event, batch: &mut Batch<'_>) {
        match event {
            Event::Delivery(delivery) => self.on_delivery(&delivery, batch),
            Event::Confirmed { through, .. } => {
                self.receipts.confirm(through, &mut self.output);
                self.close_when_done();
            }
            Event::Refused { ticket, because, .. } => {
                let receipt = self.receipts.find(ticket);
                self.fail(&Failure::from(&*because), receipt.as_deref());
            }
            // SEND is never mandatory; who waits for the end of an alarm does so with a request;
            // only MQTT sessions are resumed.
            Event::Returned { .. } | Event::Calm | Event::Released { .. } => {}
            Event::Cancelled { consumer, because, .. } => {
                self.on_cancelled(consumer, because.as_deref());
            }
            Event::TakenOver => self.fail(&Failure::from(&Refusal::TakenOver), None),
            Event::SessionEnded { because, .. } | Event::Closed { because } => {
                self.fail(&Failure::from(&*because), None);
            }
        }
    }

    /// The queue under a subscription is gone.
    fn on_cancelled(&mut self, consumer: ConsumerId, because: Option<&Refusal>) {
        let Some(subscription) = self.subscriptions.of_consumer(consumer) else { return };
        let id = subscription.id.as_deref();
        let failure = Failure::cancelled(id, &subscription.destination, because);
        if self.goes_on_after(&failure) {
            failure.write(self.version, None, &mut self.output);
            if let Some(ended) = self.subscriptions.remove(consumer) {
                self.temporaries.retain(|(_, queue)| *queue != ended.queue);
            }
        } else {
            self.fail(&failure, None);
        }
    }

    /// The hot path out: everything but the numbers is copied.
    fn on_delivery(&mut self, delivery: &Delivery, batch: &mut Batch<'_>) {
        let Some(subscription) = self.subscriptions.of_consumer(delivery.consumer) else {
            if let Some(open) = &mut self.open {
                batch.settle(&mut open.session, delivery.delivery, Outcome::Requeued);
            }
            return;
        };
        let message = &delivery.message;
        let body = message.body();
        let block = if let Some(block) = message.wire(Protocol::Stomp) {
            block
        } else {
            self.scratch.clear();
            let lost = properties::encode(message.properties(), &mut self.scratch);
            batch.note_lost(message, Protocol::Stomp, lost);
            &self.scratch
        };
        let out = &mut self.output.bytes;
        out.reserve(MESSAGE_OVERHEAD_BYTES + block.len() + body.len());
        subscription.begin_message(delivery.delivery, out);
        out.extend_from_slice(self.destination.of(message, self.version));
        out.extend_from_slice(if delivery.redelivered {
            b"\nredelivered:true\n"
        } else {
            b"\nredelivered:false\n"
        });
        if subscription.shows_origin {
            out.extend_from_slice(b"x-trivium-protocol:");
            out.extend_from_slice(message.protocol().name().as_bytes());
            out.push(b'\n');
        }
        if let Some(at) = message.expires_at() {
            out.extend_from_slice(b"expires:");
            push_decimal(out, batch.unix_ms(at));
            out.push(b'\n');
        }
        let lost = header::write_block(self.version, block, out);
        batch.note_lost(message, Protocol::Stomp, lost);
        out.extend_from_slice(b"content-length:");
        push_decimal(out, body.len() as u64);
        out.extend_from_slice(b"\n\n");
        out.extend_from_slice(body);
        out.push(0);
        self.output.end_frame();
    }
}
