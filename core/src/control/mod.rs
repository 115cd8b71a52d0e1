//! Control: what may have to wait. Requests are values, so that one stack (authorize, limits,
//! audit) serves three protocols and the HTTP API, and so that a replicated catalogue can answer
//! them later.

mod alarm;
mod arguments;
mod binding;
mod client;
mod consumer;
mod exchange;
mod planned;
mod queue;
mod retained;
mod share;
mod snapshot;
mod subscribe;
mod transaction;
mod validate;

use std::sync::Arc;

pub use retained::RetainedRest;

pub(crate) use arguments::{show as show_value, type_name};
use planned::Wish;
pub(crate) use share::{new_queue as new_share_queue, queue_name as share_name};
pub(crate) use subscribe::new_session_queue;

use crate::address::Pattern;
use crate::catalogue::StoredWill;
use crate::encoder::{Encoder, Variant};
use crate::policy::{Policy, PolicyKind};
use crate::{
    Connection, ConsumerId, DeliveryId, Instant, Message, Principal, Refusal, SessionHandle, Table,
    Transaction,
};

/// Who asks.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The session that asks; `None` before one exists and for the HTTP API.
    pub session: Option<SessionHandle>,
    /// Who is logged in; `None` before [`Request::Login`] was answered.
    pub principal: Option<Principal>,
    /// What the client speaks.
    pub protocol: crate::Protocol,
}

/// What a client presents to log in.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The SASL mechanism (AMQP), or `PLAIN`.
    pub mechanism: &'static str,
    /// User name; `None` for a client that presents no credentials at all.
    pub user: Option<String>,
    /// Password octets.
    pub password: Vec<u8>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("mechanism", &self.mechanism)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// What the gateway keeps between two steps of a login that takes several.
pub struct LoginState(pub Box<dyn std::any::Any + Send>);

impl std::fmt::Debug for LoginState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LoginState")
    }
}

/// Something the broker is asked to do outside the message path.
#[derive(Debug)]
pub enum Request {
    /// Who is this? Answered with [`Response::LoggedIn`] by the gateway, never by the core; with
    /// [`Response::Challenge`] where the mechanism has one.
    Login(Credentials),
    /// What the client says to a challenge. Answered with [`Response::Challenge`] or
    /// [`Response::Proven`] by the gateway.
    LoginStep {
        /// As [`Response::Challenge`] gave it.
        state: LoginState,
        /// The client's octets.
        data: Vec<u8>,
    },
    /// Enter a vhost. Answered with [`Response::Opened`].
    Open {
        /// Who enters, as [`Response::LoggedIn`] said.
        principal: Principal,
        /// `None` for the default vhost of the listener or of the user's name.
        vhost: Option<String>,
        /// Enter the default one if there is none of that name: what a STOMP client calls `host` may
        /// be what it dialled.
        or_default: bool,
    },
    /// Answered with [`Response::Done`].
    DeclareExchange(DeclareExchange),
    /// Answered with [`Response::Done`], also when there is none of that name.
    DeleteExchange {
        /// Its name.
        name: String,
        /// Refuse when something is bound to it.
        if_unused: bool,
    },
    /// Bind a queue or an exchange to an exchange. Answered with [`Response::Done`]. A queue that is
    /// bound to `amq.topic` with argument `x-retained: snapshot` gets the retained messages that
    /// match first.
    Bind(Binding),
    /// The reverse; unbinding what is not bound is no error. Answered with [`Response::Done`].
    Unbind(Binding),
    /// Answered with [`Response::Queue`].
    DeclareQueue(DeclareQueue),
    /// Answered with [`Response::Count`] of ready messages; 0 when there is no such queue.
    DeleteQueue {
        /// Its name.
        name: String,
        /// Refuse when it has consumers.
        if_unused: bool,
        /// Refuse when it has messages.
        if_empty: bool,
    },
    /// Drop its ready messages. Answered with [`Response::Count`].
    PurgeQueue {
        /// Its name.
        name: String,
    },
    /// Attach a consumer, with no credit until [`crate::Batch::start`]. Answered with
    /// [`Response::Consuming`].
    Consume(Consume),
    /// Detach a consumer of this session. Answered with [`Response::Done`], also when it is gone.
    /// What was delivered to it stays unsettled. Every delivery to it is in the outbox before the
    /// answer.
    Cancel {
        /// As [`Response::Consuming`] named it.
        consumer: ConsumerId,
    },
    /// Take one message. Answered with [`Response::Got`].
    Get {
        /// The queue's name.
        queue: String,
        /// Settle it at once.
        no_ack: bool,
    },
    /// Do all of a transaction, or, refused, nothing of it. Answered with [`Response::Done`] once
    /// its persistent messages are as safe as their queues promise; what came back is in the outbox
    /// before.
    Commit {
        /// What [`crate::Batch::hold`] and [`Transaction::settle`] collected.
        transaction: Transaction,
        /// The adapter's time.
        now: Instant,
    },
    /// Wait until no alarm is on. Answered with [`Response::Done`].
    AwaitCalm,
    /// Open the session of an MQTT client, taking it over from another connection if there is
    /// one. Answered with [`Response::SessionOpened`].
    OpenSession {
        /// The client identifier; empty to have one made.
        client_id: String,
        /// End an earlier session of that name first.
        clean_start: bool,
        /// Seconds that the session outlives its connection; 0 for not at all, `u32::MAX` for ever.
        expiry_s: u32,
        /// Deliveries that may be unsettled at once (Receive Maximum), at least 1.
        unsettled_max: u16,
        /// What is published if the broker ends without warning while the client is connected; kept
        /// with a session that outlives its connection.
        will: Option<Box<StoredWill>>,
    },
    /// Subscribe the MQTT session; a subscription to the same source is replaced. Answered with
    /// [`Response::Subscribed`].
    Subscribe(Vec<Subscription>),
    /// Asks for more retained messages of a new subscription of the MQTT session. Answered with
    /// [`Response::Retained`].
    Retained(Box<RetainedRest>),
    /// Set a policy, in place of the one of that name. Answered with [`Response::Done`]; queues obey
    /// within ticks. Needs no session.
    SetPolicy {
        /// Where.
        vhost: String,
        /// Which kind.
        kind: PolicyKind,
        /// What it says.
        policy: Box<Policy>,
    },
    /// Answered with [`Response::Done`], also when there is none of that name. Needs no session.
    ClearPolicy {
        /// Where.
        vhost: String,
        /// Which kind.
        kind: PolicyKind,
        /// Its name.
        name: String,
    },
    /// Answered with [`Response::Policies`]. Needs no session.
    ListPolicies {
        /// Where.
        vhost: String,
        /// Which kind.
        kind: PolicyKind,
    },
    /// Answered with [`Response::Unsubscribed`].
    Unsubscribe(Vec<Source>),
}

/// An exchange to be declared (AMQP 0-9-1, `exchange.declare`).
#[derive(Clone, Debug, Default)]
pub struct DeclareExchange {
    /// Its name.
    pub name: String,
    /// `direct`, `fanout`, `topic`, ...; ignored when passive.
    pub kind: String,
    /// Only ask whether it is there.
    pub passive: bool,
    /// Survives a restart.
    pub durable: bool,
    /// Goes when its last binding as a source is removed.
    pub auto_delete: bool,
    /// Cannot be published to by clients.
    pub internal: bool,
    /// Optional arguments (`alternate-exchange`).
    pub arguments: Table,
}

/// A queue to be declared (AMQP 0-9-1, `queue.declare`).
#[derive(Clone, Debug, Default)]
pub struct DeclareQueue {
    /// Its name; empty to have one made (`amq.gen-...`).
    pub name: String,
    /// Prefix of the made name; `amq.gen-` when empty. STOMP uses `stomp-subscription-`.
    pub name_prefix: &'static str,
    /// Only ask whether it is there.
    pub passive: bool,
    /// Survives a restart.
    pub durable: bool,
    /// Belongs to this connection and ends with it.
    pub exclusive: bool,
    /// Goes when its last consumer goes.
    pub auto_delete: bool,
    /// Made for one subscription of this connection and bounded by
    /// [`crate::Limits::private_queue_bytes_max`]: past it the queue ends.
    pub is_private: bool,
    /// Optional arguments (`x-...`).
    pub arguments: Table,
}

/// One binding.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The exchange that messages come from.
    pub source: String,
    /// What they go to.
    pub destination: Destination,
    /// Binding key, in words; a pattern for topic exchanges.
    pub key: String,
    /// Optional arguments.
    pub arguments: Table,
}

/// What a binding leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A queue, by name.
    Queue(String),
    /// An exchange, by name.
    Exchange(String),
}

/// A consumer to be attached (AMQP 0-9-1, `basic.consume`; STOMP SUBSCRIBE).
#[derive(Clone, Debug, Default)]
pub struct Consume {
    /// The queue's name.
    pub queue: String,
    /// Delivered is settled.
    pub no_ack: bool,
    /// Nobody else may consume from the queue.
    pub exclusive: bool,
    /// Unsettled deliveries at once; 0 for no limit.
    pub prefetch: u32,
    /// Higher ones are served first while they can take.
    pub priority: i64,
    /// Optional arguments.
    pub arguments: Table,
}

/// Where the messages of an MQTT subscription come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// What is published to matching topics, in words.
    Filter(Pattern),
    /// A queue, by name (`$queue/<name>`).
    Queue(String),
    /// What is published to matching topics, each message to one member of the group
    /// (`$share/<group>/<filter>`).
    Shared {
        /// The group's name.
        group: String,
        /// What is subscribed to, in words.
        pattern: Pattern,
    },
}

/// One subscription of an MQTT session.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// What the client calls it.
    pub name: String,
    /// Subscription Identifier.
    pub id: Option<u32>,
    /// Keep the retain flag as published.
    pub retain_as_published: bool,
    /// What is subscribed to.
    pub source: Source,
    /// The highest QoS that deliveries may have.
    pub qos: u8,
    /// Set for filters at QoS 0 whose packets depend on nothing but `Variant`: the core encodes straight
    /// into the outbox. `None`: messages go through the session's queue and come as
    /// [`crate::Event::Delivery`].
    pub fire_and_forget: Option<(&'static dyn Encoder, Variant)>,
    /// Not what the client published itself.
    pub no_local: bool,
    /// Deliver the retained messages that match, now; for filters.
    pub retained: bool,
}

/// What a client finds of its session (MQTT 5, section 4.1).
#[derive(Debug, Default)]
pub struct Resumed {
    /// Its subscriptions, to be asked for again: what depends on the connection ended with it.
    /// Nothing that they keep is lost in between.
    pub subscriptions: Vec<Subscription>,
    /// The consumer of the session's queue, if there is one.
    pub consumer: Option<ConsumerId>,
    /// Packet identifiers of deliveries that will be repeated under them.
    pub labels: Vec<u16>,
    /// Packet identifiers of QoS 2 publishes that the client has not released.
    pub received: Vec<u16>,
}

/// What became of one [`Subscription`].
#[derive(Debug, Default)]
pub struct Granted {
    /// The consumer that deliveries come from, to be given to [`crate::Batch::start`] after the
    /// SUBACK is written (again is harmless): one for all filters of the session, one for each
    /// other source. `None` for fire-and-forget.
    pub consumer: Option<ConsumerId>,
    /// Retained messages that need no acknowledgement, to be sent by the adapter; the others come
    /// through the session's queue.
    pub retained: Vec<Message>,
    /// More of them, to be asked for with [`Request::Retained`].
    pub rest: Option<Box<RetainedRest>>,
}

/// An answer to a [`Request`].
#[derive(Debug)]
pub enum Response {
    /// The login is valid.
    LoggedIn(Principal),
    /// The login goes on: the client must answer this.
    Challenge {
        /// The server's octets.
        data: Vec<u8>,
        /// For [`Request::LoginStep`].
        state: LoginState,
    },
    /// The login is valid, and the server proves itself, too.
    Proven {
        /// Who it is.
        principal: Principal,
        /// The server's last octets.
        data: Vec<u8>,
    },
    /// The vhost is entered. Dropping the connection ends what it owns.
    Opened(Connection),
    /// It is done.
    Done,
    /// A queue is there.
    Queue {
        /// Its name, made or given.
        name: String,
        /// Messages ready in it.
        messages: u64,
        /// Consumers attached to it.
        consumers: u64,
    },
    /// The policies of one kind, by name.
    Policies(Vec<Policy>),
    /// So many messages were dropped.
    Count(u64),
    /// A consumer is attached and waits for [`crate::Batch::start`].
    Consuming(ConsumerId),
    /// A message, or none was ready.
    Got(Option<Got>),
    /// The MQTT session is open.
    SessionOpened {
        /// The client identifier, made or given.
        client_id: String,
        /// What is there of an earlier session, if there was one.
        resumed: Option<Box<Resumed>>,
    },
    /// What became of each subscription of [`Request::Subscribe`], in its order.
    Subscribed(Vec<Result<Granted, Refusal>>),
    /// Some retained messages of a new subscription.
    Retained {
        /// As [`Granted::retained`].
        messages: Vec<Message>,
        /// As [`Granted::rest`].
        rest: Option<Box<RetainedRest>>,
    },
    /// For each source whether there was such a subscription.
    Unsubscribed(Vec<bool>),
}

/// One message taken with [`Request::Get`].
#[derive(Debug)]
pub struct Got {
    /// To settle it; meaningless with `no_ack`.
    pub delivery: DeliveryId,
    /// The message.
    pub message: Message,
    /// It was delivered before.
    pub redelivered: bool,
    /// How often it was put back before, in queues that tell it.
    pub delivery_count: Option<u16>,
    /// Messages still ready in the queue.
    pub remaining: u64,
}

/// What the control service answers.
pub type Answer = Result<Response, Refusal>;

/// An answer that is there, or will be.
pub enum Reply {
    /// The usual case on a single node.
    Ready(Answer),
    /// The catalogue has to agree elsewhere first.
    Pending(std::pin::Pin<Box<dyn Future<Output = Answer> + Send>>),
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready(answer) => f.debug_tuple("Ready").field(answer).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}

impl crate::Broker {
    /// Answers a control request; the innermost of the gateway's control stack. Every answer is
    /// there at once, but a message that the log must read first and a commit that it must make
    /// safe.
    ///
    /// # Errors
    ///
    /// The answer is [`Refusal::Internal`] for [`Request::Login`] and [`Request::Open`], which the
    /// gateway answers, and without a session.
    pub fn request(&self, origin: &Origin, request: Request) -> Reply {
        let request = match self.request_policy(request) {
            Ok(reply) => return reply,
            Err(request) => request,
        };
        let Some(SessionHandle(session)) = &origin.session else {
            return Reply::Ready(Err(Refusal::Internal));
        };
        match request {
            Request::Get { queue, no_ack } => consumer::get(session, &queue, no_ack),
            Request::Commit { transaction, now } => transaction::commit(session, transaction, now),
            Request::AwaitCalm => alarm::calm(session),
            Request::Retained(rest) => {
                Reply::Pending(Box::pin(retained::next(session.clone(), rest)))
            }
            Request::Bind(binding) => binding::bind(session, binding),
            Request::Unbind(binding) => planned::change(session, Wish::Unbind(binding)),
            Request::DeclareExchange(declare) => {
                planned::change(session, Wish::DeclareExchange(declare))
            }
            Request::DeleteExchange { name, if_unused } => {
                planned::change(session, Wish::DeleteExchange { name, if_unused })
            }
            Request::DeclareQueue(declare) => {
                planned::change(session, Wish::declare_queue(session, declare))
            }
            Request::DeleteQueue { name, if_unused, if_empty } => {
                planned::change(session, Wish::DeleteQueue { name, if_unused, if_empty })
            }
            request => {
                let answer = answer(session, request);
                committed(&session.connection.vhost, answer)
            }
        }
    }

    /// Answers what is asked of policies; gives other requests back.
    fn request_policy(&self, request: Request) -> Result<Reply, Request> {
        let changed = match request {
            Request::SetPolicy { vhost, kind, policy } => self.keep_policy(&vhost, kind, *policy),
            Request::ClearPolicy { vhost, kind, name } => self.clear_policy(&vhost, kind, &name),
            Request::ListPolicies { vhost, kind } => {
                return Ok(Reply::Ready(self.policies(&vhost, kind).map(Response::Policies)));
            }
            other => return Err(other),
        };
        Ok(match changed {
            Ok(vhost) => committed(&vhost, Ok(Response::Done)),
            Err(refusal) => Reply::Ready(Err(refusal)),
        })
    }
}

/// Holds an answer back until every durable change that was done so far in the vhost is committed:
/// its own, and those that it may have seen.
fn committed(vhost: &crate::vhost::Vhost, answer: Answer) -> Reply {
    let Some((catalogue, number)) = vhost.proposed() else {
        return Reply::Ready(answer);
    };
    if catalogue.poll_committed(number, std::task::Waker::noop()).is_ready() {
        return Reply::Ready(answer);
    }
    let catalogue = catalogue.clone();
    let mut answer = Some(answer);
    Reply::Pending(Box::pin(std::future::poll_fn(move |context| {
        catalogue
            .poll_committed(number, context.waker())
            .map(|()| answer.take().unwrap_or(Err(Refusal::Internal)))
    })))
}

fn answer(session: &Arc<crate::session::SessionShared>, request: Request) -> Answer {
    match request {
        Request::PurgeQueue { name } => queue::purge(session, &name),
        Request::Consume(consume) => consumer::consume(session, &consume),
        Request::Cancel { consumer } => Ok(consumer::cancel(session, consumer)),
        Request::OpenSession { client_id, clean_start, expiry_s, unsettled_max, will } => {
            session.limit(u32::from(unsettled_max));
            Ok(client::open(session, &client_id, clean_start, expiry_s, will))
        }
        Request::Subscribe(subscriptions) => subscribe::subscribe(session, subscriptions),
        Request::Unsubscribe(sources) => subscribe::unsubscribe(session, &sources),
        Request::Login(_)
        | Request::LoginStep { .. }
        | Request::Open { .. }
        | Request::Get { .. }
        | Request::Bind(_)
        | Request::Unbind(_)
        | Request::DeclareExchange(_)
        | Request::DeleteExchange { .. }
        | Request::DeclareQueue(_)
        | Request::DeleteQueue { .. }
        | Request::Commit { .. }
        | Request::AwaitCalm
        | Request::Retained(_)
        | Request::SetPolicy { .. }
        | Request::ClearPolicy { .. }
        | Request::ListPolicies { .. } => Err(Refusal::Internal),
    }
}
