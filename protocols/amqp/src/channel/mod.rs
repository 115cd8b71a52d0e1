//! One channel: a session of the core, and the numbers that die with the connection.
//!
//! `methods.rs` turns what a client asks into requests, `answers.rs` turns the answers into
//! replies, `content.rs` collects publishes that do not arrive in one piece. `consumers.rs` and
//! `unsettled.rs` map tags to the core's names; `replies.rs` is direct reply-to, `copies.rs` CC and
//! BCC, `transaction.rs` class `tx`; `table.rs` holds the channels of a connection.

mod answers;
mod consumers;
mod content;
pub(crate) mod copies;
mod methods;
mod replies;
mod table;
mod transaction;
mod unsettled;

use trivium_core::{
    Batch, Confirm, ConsumerId, Delivery, Draft, Lost, Message, Refusal, Session, SessionId,
    Ticket, Transmit,
};

pub(crate) use answers::Asked;
pub(crate) use content::{Content, Progress};
use content::{check_expiration, check_user};
pub(crate) use methods::{Here, Next};
pub(crate) use table::{Channels, Slot};

use crate::hot::deliver::{self, Target};
use crate::hot::settle::{self, Settle};
use crate::method::MethodId;
use crate::properties::{Checked, Property, PropertyList};
use crate::reply_code::{Fault, ReplyCode};
use consumers::{Consumer, Consumers};
use copies::Copies;
use replies::Replies;
use transaction::Held;
use unsettled::{UnknownTag, Unsettled};

/// A channel that is open. Dropping it ends its session: consumers go, unsettled messages return.
#[derive(Debug)]
pub(crate) struct Channel {
    number: u16,
    session: Session,
    /// The session's id, read once: every event is compared with it.
    id: SessionId,
    consumers: Consumers,
    /// Once the client consumes direct replies.
    replies: Option<Replies>,
    unsettled: Unsettled,
    /// The last delivery tag given out.
    delivery_tag: u64,
    /// After `confirm.select`: the last publish that was confirmed or refused.
    confirmed: Option<u64>,
    /// After `tx.select`: what waits for `tx.commit`.
    held: Option<Box<Held>>,
    /// What `basic.qos` set for consumers to come.
    prefetch: u32,
    /// What an empty queue name means.
    last_queue: String,
    /// Tags made for consumers that named none.
    tags_made: u32,
    /// A publish whose header or body is not there yet.
    pub(crate) content: Option<Box<Content>>,
}

/// The exchange of MQTT's topics, where messages may be retained.
const TOPIC_EXCHANGE: &str = "amq.topic";

/// What a publish needs of its channel.
struct Publisher<'c> {
    session: &'c mut Session,
    confirm: Confirm,
    held: Option<&'c mut Held>,
}

impl Publisher<'_> {
    #[inline]
    fn publish(
        &mut self,
        draft: Draft<'_>,
        more_keys: &[&str],
        batch: &mut Batch<'_>,
    ) -> Result<(), Refusal> {
        match &mut self.held {
            None => batch.publish_also(self.session, draft, more_keys, self.confirm).map(drop),
            Some(held) => held.publish(self.session, draft, more_keys, batch),
        }
    }
}

impl Channel {
    pub(crate) fn new(number: u16, session: Session) -> Self {
        Self {
            number,
            id: session.id(),
            session,
            consumers: Consumers::default(),
            replies: None,
            unsettled: Unsettled::default(),
            delivery_tag: 0,
            confirmed: None,
            held: None,
            prefetch: 0,
            last_queue: String::new(),
            tags_made: 0,
            content: None,
        }
    }

    pub(crate) const fn id(&self) -> SessionId {
        self.id
    }

    pub(crate) fn holds_deliveries(&self) -> bool {
        !self.unsettled.is_empty() || self.held.as_ref().is_some_and(|held| held.has_settled())
    }

    pub(crate) fn handle(&self) -> trivium_core::SessionHandle {
        self.session.handle()
    }

    /// Publishes what can be read; `properties` is what its list says, `user` who is logged in. Faults
    /// come in RabbitMQ's order: the exchange's first, then those of reply address, expiration, copies
    /// and user.
    #[inline]
    pub(crate) fn publish(
        &mut self,
        draft: Draft<'_>,
        properties: Checked,
        user: &str,
        batch: &mut Batch<'_>,
    ) -> Result<(), Fault> {
        let exchange = draft.exchange;
        self.try_publish(draft, properties, user, batch).map_err(|fault| {
            match batch.check_exchange(&self.session, exchange) {
                Ok(()) => fault,
                Err(refusal) => Fault::of(&refusal, MethodId::BASIC_PUBLISH),
            }
        })
    }

    fn try_publish(
        &mut self,
        draft: Draft<'_>,
        properties: Checked,
        user: &str,
        batch: &mut Batch<'_>,
    ) -> Result<(), Fault> {
        let mut draft = draft;
        draft.expires_at = properties.expiry_ms.map(|millis| batch.now().after_millis(millis));
        let mut publisher = Publisher {
            session: &mut self.session,
            confirm: if self.confirmed.is_some() { Confirm::Wanted } else { Confirm::Unwanted },
            held: self.held.as_deref_mut(),
        };
        let mut list = Vec::new();
        if properties.has_retain
            && draft.exchange == TOPIC_EXCHANGE
            && let Ok(all) = PropertyList::split(draft.properties)
            && let Some(retain) = all.take_retain(&mut list)
        {
            draft.retain = retain;
            draft.properties = &list;
        }
        if properties.asks_for_direct_replies {
            draft.properties = Replies::address(&mut self.replies, draft.properties)?;
        }
        let claims = properties.has_any([Property::Expiration, Property::UserId]);
        if claims {
            check_expiration(draft.properties)?;
        }
        let result = if properties.has_copies {
            let copies = Copies::of(draft.properties)?;
            if claims {
                check_user(draft.properties, user)?;
            }
            let draft = Draft { properties: copies.list(draft.properties), ..draft };
            publisher.publish(draft, &copies.keys(), batch)
        } else {
            if claims {
                check_user(draft.properties, user)?;
            }
            publisher.publish(draft, &[], batch)
        };
        result.map_err(|refusal| Fault::of(&refusal, MethodId::BASIC_PUBLISH))
    }

    /// Settles what a consumer answered, in a transaction at its commit.
    pub(crate) fn settle(
        &mut self,
        method: MethodId,
        settle: Settle,
        batch: &mut Batch<'_>,
    ) -> Result<(), Fault> {
        let Some(held) = &mut self.held else { return self.settle_now(method, settle, batch) };
        held.settle(&mut self.unsettled, settle, batch.limits())
            .map_err(|tag| unknown(method, tag))?
            .map_err(|refusal| Fault::of(&refusal, method))
    }

    fn settle_now(
        &mut self,
        method: MethodId,
        settle: Settle,
        batch: &mut Batch<'_>,
    ) -> Result<(), Fault> {
        let unknown = |tag| unknown(method, tag);
        if settle.multiple {
            for (_, delivery) in self.unsettled.take_through(settle.tag).map_err(unknown)? {
                batch.settle(&mut self.session, delivery, settle.outcome);
            }
        } else {
            let delivery = self.unsettled.take(settle.tag).map_err(unknown)?;
            batch.settle(&mut self.session, delivery, settle.outcome);
        }
        Ok(())
    }

    /// A message for one of the consumers.
    pub(crate) fn on_delivery(
        &mut self,
        delivery: &Delivery,
        frame_bytes_max: usize,
        out: &mut Transmit,
    ) -> Lost {
        let Some(consumer) = self.consumers.by_id(delivery.consumer) else { return Lost::NONE };
        self.delivery_tag += 1;
        if !consumer.no_ack {
            self.unsettled.push(self.delivery_tag, delivery.delivery);
        }
        deliver::deliver(
            out,
            Target {
                channel: self.number,
                frame_bytes_max,
                // RabbitMQ tells consumers from the second delivery on, and `basic.get` always.
                delivery_count: delivery.delivery_count.filter(|count| *count > 0),
            },
            &consumer.tag,
            self.delivery_tag,
            delivery.redelivered,
            &delivery.message,
        )
    }

    /// Publishes up to `through` are safe. Their tickets are the client's sequence numbers: only
    /// publishes after `confirm.select` take tickets.
    pub(crate) fn on_confirmed(&mut self, through: Ticket, out: &mut Transmit) {
        let Some(confirmed) = &mut self.confirmed else { return };
        if through.0 <= *confirmed {
            return;
        }
        settle::confirm(out, self.number, through.0, through.0 > *confirmed + 1);
        *confirmed = through.0;
    }

    /// One publish was declined; those before it were confirmed already.
    pub(crate) fn on_refused(&mut self, ticket: Ticket, out: &mut Transmit) {
        let Some(confirmed) = &mut self.confirmed else { return };
        settle::refuse(out, self.number, ticket.0);
        *confirmed = ticket.0.max(*confirmed);
    }

    /// A mandatory message came back.
    pub(crate) fn on_returned(
        &self,
        message: &Message,
        frame_bytes_max: usize,
        out: &mut Transmit,
    ) -> Lost {
        deliver::unroutable(
            out,
            Target { channel: self.number, frame_bytes_max, delivery_count: None },
            message,
        )
    }

    /// The queue under a consumer is gone. Returns the consumer's tag.
    pub(crate) fn on_cancelled(&mut self, consumer: ConsumerId) -> Option<Box<str>> {
        self.remove_consumer(consumer).map(|consumer| consumer.tag)
    }

    fn remove_consumer(&mut self, id: ConsumerId) -> Option<Consumer> {
        self.replies.take_if(|replies| replies.is_from(id));
        self.consumers.remove(id)
    }
}

fn unknown(method: MethodId, UnknownTag(tag): UnknownTag) -> Fault {
    let text = format!("unknown delivery tag {tag}");
    Fault::new(ReplyCode::PRECONDITION_FAILED, method, text)
}
