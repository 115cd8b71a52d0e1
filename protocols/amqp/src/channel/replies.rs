//! Direct reply-to, RabbitMQ's extension: a requester that declares no queue for its answers.
//!
//! It consumes from `amq.rabbitmq.reply-to` and publishes with that name as `reply-to`, on the same
//! channel. Behind the name stands an exclusive queue of this consumer alone, whose own name nobody
//! can guess; requests leave with that name, so that answers reach it through the default exchange
//! from any connection and any protocol.

use amq_protocol::protocol::basic;
use trivium_core::control::{Consume, DeclareQueue};
use trivium_core::{Answer, ConsumerId, Refusal, Request, Response, Transmit};

use super::Channel;
use super::answers::{Asked, Then, declare_ok};
use super::methods::{Next, ask};
use crate::method::MethodId;
use crate::properties::{DIRECT_REPLY_TO, PropertyList};
use crate::reply_code::{Fault, ReplyCode};

/// In front of the names of the queues behind [`DIRECT_REPLY_TO`].
const QUEUE_PREFIX: &str = "amq.rabbitmq.reply-to.";

/// The consumer of direct replies, at most one a channel.
#[derive(Debug)]
pub(super) struct Replies {
    consumer: ConsumerId,
    /// The name of its queue.
    queue: String,
    /// The property list of the last request, kept for its memory: no longer than a frame.
    list: Vec<u8>,
}

impl Replies {
    pub(super) const fn new(consumer: ConsumerId, queue: String) -> Self {
        Self { consumer, queue, list: Vec::new() }
    }

    pub(super) fn is_from(&self, consumer: ConsumerId) -> bool {
        self.consumer == consumer
    }

    /// The property list of a request, valid and with `reply-to`, which now is where its answers go.
    pub(super) fn address<'a>(
        replies: &'a mut Option<Self>,
        wire: &[u8],
    ) -> Result<&'a [u8], Fault> {
        let Some(Self { queue, list, .. }) = replies else {
            return Err(refused(MethodId::BASIC_PUBLISH, "fast reply consumer does not exist"));
        };
        let properties = PropertyList::split(wire).map_err(super::content::undecodable)?;
        list.clear();
        properties.with_reply_to(queue).write(list);
        Ok(list)
    }
}

impl Channel {
    /// `basic.consume` from [`DIRECT_REPLY_TO`]: makes the queue first.
    pub(super) fn on_consume_replies(
        &self,
        id: MethodId,
        consume: &basic::Consume,
        tag: Box<str>,
    ) -> Result<Next, Fault> {
        if !consume.no_ack {
            return Err(refused(id, "reply consumer cannot acknowledge"));
        }
        if self.replies.is_some() {
            return Err(refused(id, "reply consumer already set"));
        }
        let request = Request::DeclareQueue(DeclareQueue {
            name_prefix: QUEUE_PREFIX,
            exclusive: true,
            auto_delete: true,
            ..DeclareQueue::default()
        });
        let then = Then::RepliesMade { tag };
        Ok(ask(request, Asked { method: id, nowait: consume.nowait, then }))
    }

    /// `queue.declare` of a reserved name, passive or not, only asks whether answers can come there.
    /// To the short name yes is the answer whoever asks: client libraries find out with it whether
    /// the broker has direct reply-to at all. Responders ask about the long ones.
    pub(super) fn on_declare_replies(
        &mut self,
        id: MethodId,
        name: String,
        nowait: bool,
        out: &mut Transmit,
    ) -> Next {
        if name != DIRECT_REPLY_TO {
            let request =
                Request::DeclareQueue(DeclareQueue { name, passive: true, ..Default::default() });
            return ask(request, Asked { method: id, nowait, then: Then::RepliesDeclared });
        }
        self.last_queue.clone_from(&name);
        if !nowait {
            self.reply(out, &declare_ok(name, 0, 1));
        }
        Next::Continue
    }
}

/// Whether `name` is [`DIRECT_REPLY_TO`] or of a queue behind it.
pub(super) fn is_reserved(name: &str) -> bool {
    name == DIRECT_REPLY_TO || name.starts_with(QUEUE_PREFIX)
}

/// What a declare of somebody's queue hears: whoever's it is, it is there, empty, with its consumer.
pub(super) fn declared(answer: Answer) -> Answer {
    match answer {
        Ok(Response::Queue { name, .. }) | Err(Refusal::Locked { name, .. }) => {
            Ok(Response::Queue { name, messages: 0, consumers: 1 })
        }
        other => other,
    }
}

/// Attaches the consumer to its queue, which was made for it.
pub(super) fn consume(method: MethodId, nowait: bool, tag: Box<str>, queue: String) -> Next {
    let request = Request::Consume(Consume {
        queue: queue.clone(),
        no_ack: true,
        exclusive: true,
        ..Consume::default()
    });
    let then = Then::Consuming { tag, no_ack: true, replies: Some(queue) };
    ask(request, Asked { method, nowait, then })
}

fn refused(method: MethodId, text: &str) -> Fault {
    Fault::new(ReplyCode::PRECONDITION_FAILED, method, text)
}
