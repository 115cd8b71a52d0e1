//! SUBSCRIBE and UNSUBSCRIBE (S-47 to S-56), and the queues behind them.

use std::borrow::Cow;
use std::str::FromStr;

use stomp_parser::headers::AckType;
use trivium_core::control::{self, Answer, Binding, Consume, DeclareQueue, Request, Response};
use trivium_core::{Batch, ConsumerId, Outcome, Refusal, Table, Value};

use super::{Connection, Waiting, receipt_of};
use crate::destination::{Destination, TEMPORARY_PREFIX};
use crate::failure::Failure;
use crate::frame::Frame;
use crate::receipt;
use crate::subscription::{Subscription, Terms};
use crate::version::Version;

/// Name of a subscription's own queue.
const OWN_QUEUE_PREFIX: &str = "stomp-subscription-";

/// `x-retained:snapshot` asks for the last value of each address first.
const RETAINED: &str = "x-retained";

/// Longest queue name of AMQP 0-9-1.
const QUEUE_BYTES_MAX: usize = 255;

/// Headers of SEND and SUBSCRIBE that are arguments of the queue that they declare.
const QUEUE_ARGUMENTS: &[(&str, Kind)] = &[
    ("x-dead-letter-exchange", Kind::Text),
    ("x-dead-letter-routing-key", Kind::Text),
    ("x-expires", Kind::Integer),
    ("x-message-ttl", Kind::Integer),
    ("x-max-length", Kind::Integer),
    ("x-max-length-bytes", Kind::Integer),
    ("x-max-priority", Kind::Integer),
    ("x-overflow", Kind::Text),
    ("x-queue-type", Kind::Text),
    ("x-single-active-consumer", Kind::Flag),
    ("x-delivery-limit", Kind::Integer),
    ("x-consumer-timeout", Kind::Integer),
    ("x-max-age", Kind::Text),
    ("x-stream-max-segment-size-bytes", Kind::Integer),
    ("x-stream-filter-size-bytes", Kind::Integer),
];

#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Integer,
    Flag,
}

/// The steps of one SUBSCRIBE: declare, bind, consume; those not needed are `None`.
#[derive(Debug)]
pub(super) struct Subscribing {
    terms: Terms,
    declare: Option<DeclareQueue>,
    /// The exchange and the binding key.
    bind: Option<(String, String)>,
    /// Of the binding: `x-retained`.
    arguments: Table,
    consume: Consume,
    receipt: Option<Vec<u8>>,
    /// It is for the `reply-to` of a SEND that comes again, and has the receipt.
    is_temporary: bool,
}

/// The steps of one UNSUBSCRIBE.
#[derive(Debug)]
pub(super) struct Unsubscribing {
    consumer: Option<ConsumerId>,
    delete_queue: bool,
    receipt: Option<Vec<u8>>,
}

impl Subscribing {
    /// A queue of this connection that `reply-to` calls `name`: its answers arrive under that
    /// name as the subscription's id.
    pub(super) fn temporary(name: &str, receipt: Option<Vec<u8>>) -> Self {
        let terms = Terms {
            id: Some(name.to_owned()),
            destination: name.to_owned(),
            mode: AckType::Auto,
            has_durable_queue: false,
            shows_origin: false,
        };
        let declare = DeclareQueue {
            exclusive: true,
            auto_delete: true,
            is_private: true,
            ..Default::default()
        };
        let consume = Consume { no_ack: true, ..Default::default() };
        Self {
            terms,
            declare: Some(declare),
            bind: None,
            arguments: Table::default(),
            consume,
            receipt,
            is_temporary: true,
        }
    }

    fn next_request(&mut self) -> Request {
        if let Some(declare) = self.declare.take() {
            return Request::DeclareQueue(declare);
        }
        if let Some((source, key)) = self.bind.take() {
            let destination = control::Destination::Queue(self.consume.queue.clone());
            return Request::Bind(Binding {
                source,
                destination,
                key,
                arguments: std::mem::take(&mut self.arguments),
            });
        }
        Request::Consume(self.consume.clone())
    }
}

impl Connection {
    pub(super) fn on_subscribe(&mut self, frame: &Frame<'_>) -> Result<(), Failure> {
        let text = frame.value("destination");
        let text = text.ok_or_else(|| Failure::missing_destination("SUBSCRIBE"))?;
        let destination = Destination::parse(&text, "SUBSCRIBE")?;
        let id = self.subscription_id(frame, &text)?;
        let mode = match frame.value("ack") {
            None => AckType::Auto,
            Some(mode) => AckType::from_str(&mode).map_err(|_| Failure::processing_error())?,
        };
        let consume = Consume {
            no_ack: mode == AckType::Auto,
            prefetch: number(frame, "SUBSCRIBE", "prefetch-count")?.unwrap_or(0),
            priority: number(frame, "SUBSCRIBE", "x-priority")?.unwrap_or(0),
            ..Default::default()
        };
        let destination_text = text.clone().into_owned();
        let mut subscribing = Subscribing {
            terms: Terms {
                id,
                destination: destination_text,
                mode,
                has_durable_queue: false,
                shows_origin: flag(frame, "x-trivium-origin", false),
            },
            declare: None,
            bind: None,
            arguments: Table::default(),
            consume,
            receipt: receipt_of(frame),
            is_temporary: false,
        };
        subscribing.read_from(destination, frame)?;
        self.begin_subscription(subscribing)
    }

    /// The id, which is nobody else's (S-48).
    fn subscription_id(
        &self,
        frame: &Frame<'_>,
        destination: &str,
    ) -> Result<Option<String>, Failure> {
        let id = frame.value("id");
        let name = match &id {
            Some(id) if id.starts_with(TEMPORARY_PREFIX) => return Err(temporary_id("SUBSCRIBE")),
            Some(id) => format!("T_{id}"),
            None if self.version > Version::V1_0 => {
                return Err(Failure::missing_header("SUBSCRIBE", "id"));
            }
            None => format!("Q_{destination}"),
        };
        if self.subscriptions.find(id.as_deref(), destination).is_some() {
            let body = format!("A subscription identified by '{name}' already exists.");
            let failure = Failure::new("Duplicated subscription identifier", body);
            return Err(Failure { is_about_one_frame: false, ..failure });
        }
        Ok(id.map(Cow::into_owned))
    }

    /// Takes the first step.
    pub(super) fn begin_subscription(
        &mut self,
        mut subscribing: Subscribing,
    ) -> Result<(), Failure> {
        if self.subscriptions.len() >= self.config.subscriptions_max {
            return Err(Failure::limit("subscriptions", self.config.subscriptions_max));
        }
        let request = subscribing.next_request();
        self.ask(request, Waiting::Subscribe(Box::new(subscribing)));
        Ok(())
    }

    pub(super) fn on_subscribe_answer(
        &mut self,
        mut subscribing: Box<Subscribing>,
        answer: Answer,
        batch: &mut Batch<'_>,
    ) {
        match answer {
            Ok(Response::Consuming(consumer)) => {
                return self.on_consuming(*subscribing, consumer, batch);
            }
            Ok(Response::Queue { name, .. }) => subscribing.consume.queue = name,
            Ok(Response::Done) => {}
            Ok(_) => return self.fail(&Failure::from(&Refusal::Internal), None),
            Err(refusal) => {
                return self.fail(&Failure::from(&refusal), subscribing.receipt.as_deref());
            }
        }
        let request = subscribing.next_request();
        self.ask(request, Waiting::Subscribe(subscribing));
    }

    /// The RECEIPT is written before the first message can be (S-78).
    fn on_consuming(
        &mut self,
        subscribing: Subscribing,
        consumer: ConsumerId,
        batch: &mut Batch<'_>,
    ) {
        let Some(open) = &mut self.open else { return };
        let Subscribing { terms, consume, receipt, is_temporary, .. } = subscribing;
        if is_temporary {
            self.temporaries.push((terms.destination.clone(), consume.queue.clone()));
        } else if let Some(receipt) = receipt {
            receipt::write(&receipt, &mut self.output);
        }
        let connection = open.connection.id();
        let subscription =
            Subscription::new(terms, consume.queue, consumer, connection, self.version);
        self.subscriptions.insert(subscription);
        batch.start(&mut open.session, consumer);
    }

    pub(super) fn on_unsubscribe(&mut self, frame: &Frame<'_>) -> Result<(), Failure> {
        let (id, destination) = (frame.value("id"), frame.value("destination"));
        let subject = match (&id, &destination) {
            (Some(id), _) if id.starts_with(TEMPORARY_PREFIX) => {
                return Err(temporary_id("UNSUBSCRIBE"));
            }
            (Some(id), _) => format!("id='{id}'"),
            (None, Some(destination)) => format!("destination='{destination}'"),
            (None, None) => {
                let body = "UNSUBSCRIBE must include a 'destination' or 'id' header";
                return Err(Failure::new("Missing destination or id", body));
            }
        };
        let destination = destination.as_deref().unwrap_or_default();
        let Some(subscription) = self.subscriptions.find(id.as_deref(), destination) else {
            let body = format!(
                "UNSUBSCRIBE must refer to an existing subscription.\n\
                 Subscription to \"{subject}\" not found.\n"
            );
            return Err(Failure::new("No subscription found", body));
        };
        let unsubscribing = Unsubscribing {
            consumer: Some(subscription.consumer),
            delete_queue: subscription.has_durable_queue && flag(frame, "durable", false),
            receipt: receipt_of(frame),
        };
        let request = Request::Cancel { consumer: subscription.consumer };
        self.ask(request, Waiting::Unsubscribe(Box::new(unsubscribing)));
        Ok(())
    }

    /// What was sent and not settled goes back at once: a client that unsubscribed may have
    /// thrown away what was on its way, and nobody else would get it until it disconnects.
    pub(super) fn on_unsubscribe_answer(
        &mut self,
        mut unsubscribing: Unsubscribing,
        answer: Answer,
        batch: &mut Batch<'_>,
    ) {
        if let Err(refusal) = answer {
            return self.fail(&Failure::from(&refusal), unsubscribing.receipt.as_deref());
        }
        let ended = unsubscribing.consumer.take();
        let ended = ended.and_then(|consumer| self.subscriptions.remove(consumer));
        if let (Some(mut subscription), Some(open)) = (ended, &mut self.open) {
            let queue = std::mem::take(&mut subscription.queue);
            for delivery in subscription.into_unsettled() {
                batch.settle(&mut open.session, delivery, Outcome::Requeued);
            }
            if unsubscribing.delete_queue {
                let request =
                    Request::DeleteQueue { name: queue, if_unused: false, if_empty: false };
                return self.ask(request, Waiting::Unsubscribe(Box::new(unsubscribing)));
            }
        }
        if let Some(receipt) = &unsubscribing.receipt {
            receipt::write(receipt, &mut self.output);
        }
    }
}

impl Subscribing {
    /// Decides which queue the messages come from.
    fn read_from(
        &mut self,
        destination: Destination<'_>,
        frame: &Frame<'_>,
    ) -> Result<(), Failure> {
        match destination {
            Destination::Queue(name) => {
                let name = name.into_owned();
                let defaults = DeclareQueue { name, durable: true, ..Default::default() };
                self.declare = Some(queue_to_declare(frame, defaults, true)?);
            }
            Destination::ExistingQueue(name) => self.consume.queue = name.into_owned(),
            Destination::ReplyQueue(name) => name.clone_into(&mut self.consume.queue),
            Destination::Topic(_) | Destination::Exchange(..) => {
                let (exchange, key) = destination.address();
                self.bind = Some((exchange.to_owned(), key.to_owned()));
                self.declare = Some(self.own_queue(frame)?);
                if let Some(retained) = frame.value(RETAINED) {
                    let value = Value::text(retained.as_bytes());
                    self.arguments.0.push((RETAINED.to_owned(), value));
                }
                return Ok(());
            }
        }
        if frame.value(RETAINED).is_some() {
            // A queue has no retained messages: nobody shall wait for them.
            return Err(Failure::invalid_header("SUBSCRIBE", RETAINED));
        }
        Ok(())
    }

    /// A queue for this subscription alone: it ends with it, or, `durable:true` with
    /// `auto-delete:false`, is found again by the same id and destination.
    fn own_queue(&mut self, frame: &Frame<'_>) -> Result<DeclareQueue, Failure> {
        let durable = flag(frame, "durable", flag(frame, "persistent", false));
        let name = match (frame.value("x-queue-name"), &self.terms.id) {
            (Some(name), _) => name.into_owned(),
            (None, _) if !durable => String::new(),
            (None, Some(id)) => durable_queue_name(id, &self.terms.destination)?,
            (None, None) => {
                let body = "Header 'id' is required for durable subscriptions";
                return Err(Failure::new("Missing Header", body));
            }
        };
        self.terms.has_durable_queue = durable;
        let defaults = DeclareQueue {
            name,
            name_prefix: OWN_QUEUE_PREFIX,
            durable,
            exclusive: !durable,
            auto_delete: true,
            ..Default::default()
        };
        let declare = queue_to_declare(frame, defaults, true)?;
        let is_private = declare.exclusive;
        Ok(DeclareQueue { is_private, ..declare })
    }
}

/// A name that the same id and destination give again, and no others.
fn durable_queue_name(id: &str, destination: &str) -> Result<String, Failure> {
    let id = id.replace('%', "%25").replace('@', "%40");
    let name = format!("{OWN_QUEUE_PREFIX}{id}@{destination}");
    if name.len() > QUEUE_BYTES_MAX {
        let body =
            format!("The queue of a durable subscription is named '{name}', which is too long.\n");
        return Err(Failure::new("Invalid id", body));
    }
    Ok(name)
}

fn temporary_id(command: &str) -> Failure {
    Failure::new("Invalid id", format!("{command} 'id' may not start with {TEMPORARY_PREFIX}\n"))
}

/// The queue that a frame's headers describe, `defaults` where they are silent. On SEND
/// `persistent` is about the message and not, as on SUBSCRIBE, another word for `durable`.
pub(super) fn queue_to_declare(
    frame: &Frame<'_>,
    defaults: DeclareQueue,
    is_subscribe: bool,
) -> Result<DeclareQueue, Failure> {
    let mut declare = defaults;
    if is_subscribe {
        declare.durable = flag(frame, "persistent", declare.durable);
    }
    declare.durable = flag(frame, "durable", declare.durable);
    declare.exclusive = flag(frame, "exclusive", declare.exclusive);
    declare.auto_delete = flag(frame, "auto-delete", declare.auto_delete);
    for &(name, kind) in QUEUE_ARGUMENTS {
        let Some(text) = frame.value(name) else { continue };
        let value = match kind {
            Kind::Text => Value::text(text.as_bytes()),
            Kind::Flag => Value::Bool(flag(frame, name, false)),
            Kind::Integer => {
                let number = text.trim().parse();
                let number = number.map_err(|_| Failure::invalid_header(frame.command, name))?;
                Value::Int(number, 8)
            }
        };
        declare.arguments.0.push((name.to_owned(), value));
    }
    Ok(declare)
}

/// A header that is `true` or `false`; what is neither is taken as absent, as in RabbitMQ.
fn flag(frame: &Frame<'_>, name: &str, default: bool) -> bool {
    match frame.value(name).as_deref() {
        Some("true" | "True") => true,
        Some("false" | "False") => false,
        _ => default,
    }
}

fn number<T: FromStr>(frame: &Frame<'_>, command: &str, name: &str) -> Result<Option<T>, Failure> {
    let Some(text) = frame.value(name) else { return Ok(None) };
    text.trim().parse().map(Some).map_err(|_| Failure::invalid_header(command, name))
}
