//! SEND: the hot path in (S-43 to S-46).
//!
//! One pass over the headers builds the block that travels with the message, in a buffer that is
//! reused. The destination is read once for as long as the client repeats it.

use std::collections::BTreeSet;

use trivium_core::control::{Answer, DeclareQueue, Request};
use trivium_core::properties::HEADER_PREFIX;
use trivium_core::{Batch, Body, Confirm, Draft, Published, Refusal, Session};

use super::subscribe::{Subscribing, queue_to_declare};
use super::{Connection, Declaring, Progress, Waiting, receipt_of};
use crate::destination::{Destination, TEMPORARY_PREFIX, TOPIC_EXCHANGE};
use crate::failure::Failure;
use crate::frame::{Frame, Header};
use crate::header;
use crate::name::Name;
use crate::properties::{self, PROPERTY_CODEC};
use crate::transaction::{Pending, PendingSend};
use crate::version::Version;

/// What is reused from one SEND to the next.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    route: Route,
    /// The headers that travel.
    block: Vec<u8>,
    /// Queues that this connection has declared. Bounded by `declared_queues_max`.
    declared: BTreeSet<String>,
}

/// Where the last SEND went.
#[derive(Debug, Default)]
struct Route {
    /// The destination as it was written; empty before the first SEND.
    written: String,
    exchange: String,
    key: String,
    /// The key names a queue that must be declared first.
    needs_queue: bool,
    /// A queue must be there.
    must_exist: bool,
}

/// The headers of a SEND that do not travel.
#[derive(Debug, Default)]
struct Head<'a> {
    destination: Option<Header<'a>>,
    receipt: Option<Header<'a>>,
    transaction: Option<Header<'a>>,
    persistent: Option<Header<'a>>,
    expiration: Option<Header<'a>>,
    priority: Option<Header<'a>>,
    retain: Option<Header<'a>>,
    expires: Option<Header<'a>>,
    /// From now on; `None` for a message that does not expire.
    expiry_ms: Option<u64>,
    /// `reply-to`, when it names a temporary queue.
    temporary: Option<Header<'a>>,
}

impl Connection {
    pub(super) fn on_send(
        &mut self,
        frame: &Frame<'_>,
        batch: &mut Batch<'_>,
    ) -> Result<Progress, Failure> {
        if batch.alarms().any() && !self.subscriptions.hold_deliveries() {
            // Of who holds deliveries SENDs are refused: the ACKs are behind them.
            self.ask(Request::AwaitCalm, Waiting::Calm);
            return Ok(Progress::Waits);
        }
        let mut head = self.read_head(frame)?;
        self.read_expiry(&mut head, batch);
        let Some(destination) = head.destination else {
            return Err(Failure::missing_destination("SEND"));
        };
        self.publisher.route.turn_to(destination)?;
        if let Some(retain) = head.retain
            && !self.publisher.route.may_retain(retain)
        {
            retain.write_line(&mut self.publisher.block);
        }
        if self.publisher.route.needs_queue && !self.is_declared(frame)? {
            return Ok(Progress::Waits);
        }
        if let Some(reply_to) = head.temporary
            && !self.has_temporary(&reply_to, frame)?
        {
            return Ok(Progress::Waits);
        }
        match head.transaction {
            Some(name) => self.add_send(&name.value(), &head, frame)?,
            None => self.publish(&head, frame, batch)?,
        }
        Ok(Progress::Taken)
    }

    /// Reads the headers once: what the frame says of itself, and the block of those that travel.
    fn read_head<'a>(&mut self, frame: &Frame<'a>) -> Result<Head<'a>, Failure> {
        let mut head = Head::default();
        let block = &mut self.publisher.block;
        block.clear();
        for header in frame.headers() {
            match Name::of(&header.name()) {
                Name::Destination => first(&mut head.destination, header),
                Name::Receipt => first(&mut head.receipt, header),
                Name::Transaction => first(&mut head.transaction, header),
                Name::Frame => {}
                Name::MessageId => {
                    let body = "'message-id' is not allowed on 'SEND'.\n";
                    return Err(Failure::new("Invalid header", body));
                }
                Name::Reserved => {
                    block.extend_from_slice(HEADER_PREFIX.as_bytes());
                    header.write_line(block);
                }
                Name::Persistent => {
                    first(&mut head.persistent, header);
                    header.write_line(block);
                }
                Name::Expiration => {
                    first(&mut head.expiration, header);
                    header.write_line(block);
                }
                Name::Priority => {
                    first(&mut head.priority, header);
                    header.write_line(block);
                }
                Name::Retain => first(&mut head.retain, header),
                Name::Expires if properties::number::<u64>(header.value).is_some() => {
                    first(&mut head.expires, header);
                }
                Name::ReplyTo if header.value.starts_with(TEMPORARY_PREFIX) => {
                    first(&mut head.temporary, header);
                }
                Name::UserId => {
                    check_user(&header.value(), self.user.as_deref())?;
                    header.write_line(block);
                }
                Name::ContentType
                | Name::ContentEncoding
                | Name::CorrelationId
                | Name::ReplyTo
                | Name::AmqpMessageId
                | Name::AmqpClusterId
                | Name::Type
                | Name::AppId
                | Name::Timestamp
                | Name::Expires
                | Name::PublishQos
                | Name::PayloadFormat
                | Name::HeaderTypes
                | Name::Other => header.write_line(block),
            }
        }
        Ok(head)
    }

    /// How long the message lives. `expiration` says how long, `expires` until when (0 for ever), and
    /// travels as the former, which wins: who sends back a message that it received says both. What
    /// is no number expires never, and travels as a header.
    fn read_expiry(&mut self, head: &mut Head<'_>, batch: &Batch<'_>) {
        if let Some(expiration) = head.expiration {
            head.expiry_ms = expiration.value.parse().ok();
            return;
        }
        let expires = head.expires.and_then(|expires| properties::number::<u64>(expires.value));
        let Some(expires) = expires.filter(|expires| *expires > 0) else { return };
        let left = expires.saturating_sub(batch.unix_ms(batch.now()));
        head.expiry_ms = Some(left);
        let block = &mut self.publisher.block;
        block.extend_from_slice(b"expiration:");
        header::push_decimal(block, left);
        block.push(b'\n');
    }

    fn publish(
        &mut self,
        head: &Head<'_>,
        frame: &Frame<'_>,
        batch: &mut Batch<'_>,
    ) -> Result<(), Failure> {
        let Some(open) = &mut self.open else { return Err(Failure::from(&Refusal::Internal)) };
        let route = &self.publisher.route;
        let draft = Draft {
            exchange: &route.exchange,
            routing_key: &route.key,
            codec: PROPERTY_CODEC,
            properties: &self.publisher.block,
            body: Body::Borrowed(frame.body),
            persistent: head.is_persistent(),
            mandatory: false,
            expires_at: head.expiry_ms.map(|millis| batch.now().after_millis(millis)),
            priority: head.priority(),
            retain: route.exchange == TOPIC_EXCHANGE && head.is_retained(),
        };
        let published = publish(&mut open.session, batch, draft, head.receipt.is_some())?;
        if route.must_exist && !published.routed {
            return Err(no_queue(&route.key, open.connection.vhost()));
        }
        if let Some(receipt) = head.receipt {
            self.scratch.clear();
            receipt.write_value(&mut self.scratch);
            self.receipts.push(published.ticket, &self.scratch);
            self.check_receipts()?;
        }
        Ok(())
    }

    pub(super) fn check_receipts(&self) -> Result<(), Failure> {
        let max = self.config.receipt_bytes_max;
        if self.receipts.cost_bytes() > max {
            return Err(Failure::limit("bytes of receipts under way", max));
        }
        Ok(())
    }

    fn add_send(
        &mut self,
        transaction: &str,
        head: &Head<'_>,
        frame: &Frame<'_>,
    ) -> Result<(), Failure> {
        let route = &self.publisher.route;
        let send = PendingSend {
            exchange: route.exchange.clone(),
            key: route.key.clone(),
            properties: self.publisher.block.clone(),
            body: frame.body.to_vec(),
            persistent: head.is_persistent(),
            expiry_ms: head.expiry_ms,
            priority: head.priority(),
            retain: route.exchange == TOPIC_EXCHANGE && head.is_retained(),
            must_exist: route.must_exist,
            receipt: receipt_of(frame),
        };
        self.transactions.add(transaction, Pending::Send(send), &self.config)
    }

    /// Whether the queue that the SEND goes to is declared; asks for it if not.
    fn is_declared(&mut self, frame: &Frame<'_>) -> Result<bool, Failure> {
        let publisher = &mut self.publisher;
        if publisher.declared.contains(&publisher.route.key) {
            publisher.route.needs_queue = false;
            return Ok(true);
        }
        let queue = publisher.route.key.clone();
        let defaults = DeclareQueue { name: queue.clone(), durable: true, ..Default::default() };
        let declare = queue_to_declare(frame, defaults, false)?;
        let waiting = Box::new(Declaring { queue, receipt: receipt_of(frame) });
        self.ask(Request::DeclareQueue(declare), Waiting::Declare(waiting));
        Ok(false)
    }

    pub(super) fn on_declared(&mut self, declaring: Declaring, answer: Answer) {
        match answer {
            Ok(_) => {
                let declared = &mut self.publisher.declared;
                if declared.len() >= self.config.declared_queues_max {
                    declared.clear();
                }
                declared.insert(declaring.queue);
            }
            Err(refusal) => self.fail(&Failure::from(&refusal), declaring.receipt.as_deref()),
        }
    }

    /// Whether the temporary queue of a `reply-to` is there; makes it if not.
    fn has_temporary(&mut self, reply_to: &Header<'_>, frame: &Frame<'_>) -> Result<bool, Failure> {
        let name = reply_to.value();
        if let Some((_, queue)) = self.temporaries.iter().find(|(known, _)| *known == name) {
            let value = format!("/reply-queue/{queue}");
            let block = &mut self.publisher.block;
            header::write(Version::V1_2, b"reply-to", value.as_bytes(), block);
            return Ok(true);
        }
        self.begin_subscription(Subscribing::temporary(&name, receipt_of(frame)))?;
        Ok(false)
    }
}

impl Head<'_> {
    fn is_persistent(&self) -> bool {
        self.persistent.is_some_and(|header| matches!(header.value, "true" | "True"))
    }

    /// 0 when there is none.
    fn priority(&self) -> u8 {
        self.priority.and_then(|header| header.value.parse().ok()).unwrap_or(0)
    }

    fn is_retained(&self) -> bool {
        self.retain.is_some_and(|header| header.value == "true")
    }
}

impl Route {
    /// Whether this header is about the SEND and does not travel: an echo must not retain. Elsewhere
    /// than in `amq.topic`, and when it is no truth value, it is a header like any other.
    fn may_retain(&self, header: Header<'_>) -> bool {
        self.exchange == TOPIC_EXCHANGE && matches!(header.value, "true" | "false")
    }

    fn turn_to(&mut self, destination: Header<'_>) -> Result<(), Failure> {
        if self.written == destination.value && !self.written.is_empty() {
            return Ok(());
        }
        self.written.clear();
        let text = destination.value();
        let parsed = Destination::parse(&text, "SEND")?;
        let (exchange, key) = parsed.address();
        self.exchange.clear();
        self.exchange.push_str(exchange);
        self.key.clear();
        self.key.push_str(key);
        self.needs_queue = matches!(parsed, Destination::Queue(_));
        self.must_exist = matches!(parsed, Destination::ExistingQueue(_));
        self.written.push_str(destination.value);
        Ok(())
    }
}

/// Publishes; a refusal is an ERROR (S-46).
pub(super) fn publish(
    session: &mut Session,
    batch: &mut Batch<'_>,
    draft: Draft<'_>,
    wants_confirm: bool,
) -> Result<Published, Failure> {
    let confirm = if wants_confirm { Confirm::Wanted } else { Confirm::Unwanted };
    batch.publish(session, draft, confirm).map_err(|refusal| Failure::from(&refusal))
}

/// A SEND to a queue that must exist found none.
pub(super) fn no_queue(name: &str, vhost: &str) -> Failure {
    Failure::from(&Refusal::no_queue(name, vhost))
}

/// Of repeated headers the first counts (S-15).
fn first<'a>(slot: &mut Option<Header<'a>>, header: Header<'a>) {
    slot.get_or_insert(header);
}

/// Nobody publishes in another's name.
fn check_user(claimed: &str, user: Option<&str>) -> Result<(), Failure> {
    let user = user.unwrap_or_default();
    if claimed == user {
        return Ok(());
    }
    let reason = format!("user_id property set to '{claimed}' but authenticated user was '{user}'");
    Err(Failure::from(&Refusal::precondition(reason)))
}
