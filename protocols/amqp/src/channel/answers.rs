//! What the broker answered, as the reply the client waits for.

use amq_protocol::protocol::{AMQPClass, basic, queue};
use amq_protocol::types::ShortString;
use trivium_core::control::Got;
use trivium_core::{Answer, Batch, ConsumerId, Protocol, Refusal, Response, Transmit};

use super::Channel;
use super::consumers::Consumer;
use super::methods::{Next, basic_class, cancel_ok};
use super::replies::{self, Replies};
use super::transaction;
use crate::hot::deliver::{self, Target};
use crate::method::MethodId;
use crate::reply_code::Fault;

/// What was asked of the broker, to know what its answer means.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(super) method: MethodId,
    /// The client wants no reply.
    pub(super) nowait: bool,
    pub(super) then: Then,
}

/// What a good answer leads to.
#[derive(Debug)]
pub(super) enum Then {
    /// This reply.
    Reply(AMQPClass),
    /// `queue.declare-ok`.
    Declared,
    /// `queue.purge-ok`.
    Purged,
    /// `queue.delete-ok`.
    Deleted,
    /// `basic.consume-ok`, then the first delivery.
    Consuming {
        tag: Box<str>,
        no_ack: bool,
        /// The queue, when it is that of direct replies.
        replies: Option<String>,
    },
    /// The consumer of this tag on the queue, which was made for direct replies.
    RepliesMade { tag: Box<str> },
    /// `queue.declare-ok` for somebody's queue of direct replies.
    RepliesDeclared,
    /// `basic.cancel-ok`.
    Cancelled { consumer: ConsumerId, tag: ShortString },
    /// `tx.commit-ok`.
    Committed,
    /// `basic.get-ok` or `basic.get-empty`.
    Got { no_ack: bool },
}

impl Channel {
    /// The answer to the method that the channel waits for. It may lead to another question.
    pub(crate) fn on_answer(
        &mut self,
        asked: Asked,
        answer: Answer,
        frame_bytes_max: usize,
        batch: &mut Batch<'_>,
        out: &mut Transmit,
    ) -> Result<Next, Fault> {
        let Asked { method, nowait, then } = asked;
        let answer = match then {
            Then::RepliesDeclared => replies::declared(answer),
            Then::Committed => transaction::committed(answer),
            _ => answer,
        };
        let response = answer.map_err(|refusal| Fault::of(&refusal, method))?;
        let reply = match (then, response) {
            (Then::Reply(reply), Response::Done) => reply,
            (Then::Committed, Response::Done) => transaction::commit_ok(),
            (
                Then::Declared | Then::RepliesDeclared,
                Response::Queue { name, messages, consumers },
            ) => {
                self.last_queue.clone_from(&name);
                declare_ok(name, messages, consumers)
            }
            (Then::Purged, Response::Count(count)) => {
                queue_class(queue::AMQPMethod::PurgeOk(queue::PurgeOk {
                    message_count: clamped(count),
                }))
            }
            (Then::Deleted, Response::Count(count)) => {
                queue_class(queue::AMQPMethod::DeleteOk(queue::DeleteOk {
                    message_count: clamped(count),
                }))
            }
            (Then::RepliesMade { tag }, Response::Queue { name, .. }) => {
                return Ok(replies::consume(method, nowait, tag, name));
            }
            (Then::Consuming { tag, no_ack, replies }, Response::Consuming(id)) => {
                if !nowait {
                    self.reply(out, &consume_ok(&tag));
                }
                if let Some(queue) = replies {
                    self.replies = Some(Replies::new(id, queue));
                }
                self.consumers.insert(Consumer { id, tag, no_ack });
                batch.start(&mut self.session, id);
                return Ok(Next::Continue);
            }
            (Then::Cancelled { consumer, tag }, Response::Done) => {
                self.remove_consumer(consumer);
                cancel_ok(tag)
            }
            (Then::Got { no_ack }, Response::Got(got)) => {
                self.on_got(got, no_ack, frame_bytes_max, batch, out);
                return Ok(Next::Continue);
            }
            _ => return Err(Fault::of(&Refusal::Internal, method)),
        };
        if !nowait {
            self.reply(out, &reply);
        }
        Ok(Next::Continue)
    }

    fn on_got(
        &mut self,
        got: Option<Got>,
        no_ack: bool,
        frame_bytes_max: usize,
        batch: &Batch<'_>,
        out: &mut Transmit,
    ) {
        let Some(got) = got else {
            let empty = basic::AMQPMethod::GetEmpty(basic::GetEmpty {});
            return self.reply(out, &basic_class(empty));
        };
        self.delivery_tag += 1;
        if !no_ack {
            self.unsettled.push(self.delivery_tag, got.delivery);
        }
        let delivery_count = got.delivery_count;
        let target = Target { channel: self.number, frame_bytes_max, delivery_count };
        let (tag, remaining) = (self.delivery_tag, got.remaining);
        let lost = deliver::get_ok(out, target, tag, got.redelivered, remaining, &got.message);
        batch.note_lost(&got.message, Protocol::Amqp, lost);
    }
}

pub(super) fn declare_ok(name: String, messages: u64, consumers: u64) -> AMQPClass {
    queue_class(queue::AMQPMethod::DeclareOk(queue::DeclareOk {
        // Queue names end at 255 octets.
        queue: ShortString::try_new(name).unwrap_or_default(),
        message_count: clamped(messages),
        consumer_count: clamped(consumers),
    }))
}

fn consume_ok(tag: &str) -> AMQPClass {
    let consumer_tag = ShortString::try_new(tag).unwrap_or_default();
    basic_class(basic::AMQPMethod::ConsumeOk(basic::ConsumeOk { consumer_tag }))
}

const fn queue_class(method: queue::AMQPMethod) -> AMQPClass {
    AMQPClass::Queue(method)
}

/// Counts are 32 bits wide on the wire.
fn clamped(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
