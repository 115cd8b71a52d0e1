//! Durable declarations: there for others, and answered, once they are committed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use trivium_core::catalogue::{StepCatalogue, Stored};
use trivium_core::control::{Binding, DeclareExchange, DeclareQueue, Origin};
use trivium_core::log::{Codecs, Recovered, StepLog};
use trivium_core::{
    Answer, ApplyTo, Broker, Confirm, Limits, Policy, PolicyKind, Properties, PropertyCodec,
    Protocol, Refusal, Reply, Request, Response, Table, Value,
};

use crate::peer::{Peer, Publish, to_queue};

/// A codec of nothing.
#[derive(Debug)]
struct Bare(Protocol);

impl PropertyCodec for Bare {
    fn protocol(&self) -> Protocol {
        self.0
    }

    fn decode(&self, _: &[u8]) -> Properties {
        Properties::default()
    }
}

fn codecs() -> Codecs {
    Codecs::new([&Bare(Protocol::Amqp), &Bare(Protocol::Mqtt), &Bare(Protocol::Stomp)], 1_000_000)
}

fn broker(stored: Stored) -> (Arc<Broker>, Arc<StepCatalogue>) {
    let catalogue = Arc::new(StepCatalogue::with(stored.clone()));
    let (log, recovered) = (Arc::new(StepLog::default()), Recovered::default());
    let kept = (catalogue.clone() as _, stored);
    let (broker, _) = Broker::restore((log, recovered), kept, Limits::default(), (codecs(), 0));
    // The vhost.
    catalogue.step();
    (broker, catalogue)
}

/// A request that may have to wait.
struct Asked(Result<Pin<Box<dyn Future<Output = Answer> + Send>>, Option<Answer>>);

impl Asked {
    fn of(broker: &Broker, peer: &Peer, request: Request) -> Self {
        let session = Some(peer.session.handle());
        let origin = Origin { session, principal: None, protocol: Protocol::Amqp };
        Self(match broker.request(&origin, request) {
            Reply::Ready(answer) => Err(Some(answer)),
            Reply::Pending(answer) => Ok(answer),
        })
    }

    fn answer(&mut self) -> Option<Answer> {
        match &mut self.0 {
            Err(answer) => answer.take(),
            Ok(future) => match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => None,
            },
        }
    }
}

fn queue(name: &str) -> Request {
    let (name, durable) = (name.to_owned(), true);
    Request::DeclareQueue(DeclareQueue { name, durable, ..DeclareQueue::default() })
}

fn exchange(name: &str) -> Request {
    let (name, kind) = (name.to_owned(), "fanout".to_owned());
    let durable = true;
    Request::DeclareExchange(DeclareExchange { name, kind, durable, ..Default::default() })
}

fn binding(source: &str, queue: &str) -> Binding {
    let (source, key) = (source.to_owned(), "k".to_owned());
    Binding { source, destination: to_queue(queue), key, arguments: Table::default() }
}

fn delete(name: &str) -> Request {
    Request::DeleteQueue { name: name.into(), if_unused: false, if_empty: false }
}

/// Whether a message to the queue finds it.
fn is_found(peer: &mut Peer, key: &str) -> bool {
    let publish = Publish { key, persistent: true, confirm: Confirm::Wanted, ..Publish::default() };
    peer.try_publish(&publish).unwrap().routed
}

#[test]
fn a_durable_queue_is_nowhere_before_it_is_committed() {
    let (broker, catalogue) = broker(Stored::default());
    let (declarer, mut other) = (Peer::new(&broker), Peer::new(&broker));
    let mut asked = Asked::of(&broker, &declarer, queue("q"));
    assert!(asked.answer().is_none());
    assert!(!is_found(&mut other, "q"), "what is confirmed now could be lost");
    let passive = DeclareQueue { name: "q".into(), passive: true, ..DeclareQueue::default() };
    assert!(matches!(other.ask(Request::DeclareQueue(passive)), Err(Refusal::NotFound { .. })));
    assert_eq!(catalogue.stored().queues, [], "as a crash would leave it");
    catalogue.step();
    assert!(is_found(&mut other, "q"));
    assert!(matches!(asked.answer(), Some(Ok(Response::Queue { .. }))));
    assert_eq!(catalogue.stored().queues.len(), 1);
    assert!(!catalogue.is_behind(), "it is told once");
}

#[test]
fn exchanges_bindings_and_deletions_wait_for_their_commit() {
    let (broker, catalogue) = broker(Stored::default());
    let (client, mut other) = (Peer::new(&broker), Peer::new(&broker));
    let done = |request| {
        let mut asked = Asked::of(&broker, &client, request);
        assert!(asked.answer().is_none());
        asked
    };
    let mut declared = [done(exchange("e")), done(queue("q"))];
    let to_exchange = Publish { exchange: "e", persistent: true, ..Publish::default() };
    assert!(other.try_publish(&to_exchange).is_err());
    catalogue.step();
    assert!(declared.iter_mut().all(|asked| matches!(asked.answer(), Some(Ok(_)))));
    let mut bound = done(Request::Bind(binding("e", "q")));
    assert!(!other.try_publish(&to_exchange).unwrap().routed);
    catalogue.step();
    assert!(matches!(bound.answer(), Some(Ok(_))));
    assert!(other.try_publish(&to_exchange).unwrap().routed);
    let again = Asked::of(&broker, &other, Request::Bind(binding("e", "q"))).answer();
    assert!(matches!(again, Some(Ok(_))), "nothing changes: nothing to wait for");

    let mut unbound = done(Request::Unbind(binding("e", "q")));
    assert!(other.try_publish(&to_exchange).unwrap().routed, "a crash would bring it back");
    catalogue.step();
    assert!(matches!(unbound.answer(), Some(Ok(_))));
    let mut deleted =
        [done(delete("q")), done(Request::DeleteExchange { name: "e".into(), if_unused: false })];
    assert!(is_found(&mut other, "q"));
    catalogue.step();
    assert!(deleted.iter_mut().all(|asked| matches!(asked.answer(), Some(Ok(_)))));
    assert!(!is_found(&mut other, "q"));
    let stored = catalogue.stored();
    assert_eq!((stored.queues.len(), stored.bindings.len()), (0, 0));
    assert!(!stored.exchanges.iter().any(|exchange| exchange.name == "e"));
}

#[test]
fn who_wants_the_same_name_waits_for_its_turn() {
    let (broker, catalogue) = broker(Stored::default());
    let peers = [Peer::new(&broker), Peer::new(&broker), Peer::new(&broker), Peer::new(&broker)];
    let mut first = Asked::of(&broker, &peers[0], queue("q"));
    let mut second = Asked::of(&broker, &peers[1], queue("q"));
    let mut third = Asked::of(&broker, &peers[2], delete("q"));
    let mut last = Asked::of(&broker, &peers[3], queue("q"));
    for asked in [&mut first, &mut second, &mut third, &mut last] {
        assert!(asked.answer().is_none());
    }
    catalogue.step();
    assert!(matches!(first.answer(), Some(Ok(_))));
    assert!(last.answer().is_none(), "it came after the third");
    assert!(matches!(second.answer(), Some(Ok(_))));
    assert!(third.answer().is_none());
    drop(third);
    catalogue.step();
    assert_eq!(catalogue.stored().queues, [], "the deletion was proposed before its client went");
    assert!(last.answer().is_none());
    catalogue.step();
    assert!(matches!(last.answer(), Some(Ok(_))));
}

#[test]
fn a_storm_of_declarations_is_one_commit() {
    let (broker, catalogue) = broker(Stored::default());
    let peer = Peer::new(&broker);
    catalogue.step();
    let before = catalogue.commits();
    let name = |number: usize| format!("q{number}");
    let mut asked: Vec<_> =
        (0..1000).map(|number| Asked::of(&broker, &peer, queue(&name(number)))).collect();
    catalogue.step();
    assert!(asked.iter_mut().all(|asked| asked.answer().is_some()));
    let mut bound: Vec<_> = (0..1000)
        .map(|number| Request::Bind(binding("amq.fanout", &name(number))))
        .map(|request| Asked::of(&broker, &peer, request))
        .collect();
    catalogue.step();
    assert!(bound.iter_mut().all(|asked| asked.answer().is_some()));
    assert_eq!(catalogue.commits() - before, 2);
}

#[test]
fn what_was_proposed_is_done_although_its_client_went() {
    let (broker, catalogue) = broker(Stored::default());
    let mut other = Peer::new(&broker);
    let declarer = Peer::new(&broker);
    let asked = Asked::of(&broker, &declarer, queue("q"));
    drop((asked, declarer));
    catalogue.step();
    assert!(is_found(&mut other, "q"));
    assert_eq!(catalogue.stored().queues.len(), 1);
    let mut again = Asked::of(&broker, &other, queue("q"));
    assert!(matches!(again.answer(), Some(Ok(_))), "nobody holds its name");
}

fn policy(name: &str, max_length: i64) -> Policy {
    Policy {
        name: name.into(),
        pattern: "^q".into(),
        priority: 1,
        apply_to: ApplyTo::Queues,
        definition: Table(vec![("max-length".into(), Value::Int(max_length, 8))]),
    }
}

fn set(policy: Policy) -> Request {
    Request::SetPolicy { vhost: "/".into(), kind: PolicyKind::Policy, policy: Box::new(policy) }
}

#[test]
fn policies_are_kept_but_those_of_the_configuration_are_its_own() {
    let (first, catalogue) = broker(Stored::default());
    let peer = Peer::new(&first);
    first.set_policy("/", PolicyKind::Policy, policy("file", 5)).unwrap();
    let mut asked = Asked::of(&first, &peer, set(policy("kept", 7)));
    assert!(asked.answer().is_none());
    catalogue.step();
    assert!(matches!(asked.answer(), Some(Ok(Response::Done))));
    let refused = Asked::of(&first, &peer, set(policy("file", 7))).answer();
    let is_refused =
        |answer: &Option<Answer>| matches!(answer, Some(Err(Refusal::Precondition { .. })));
    assert!(is_refused(&refused), "{refused:?}");
    let (vhost, kind, name) = ("/".to_owned(), PolicyKind::Policy, "file".to_owned());
    let clear = Request::ClearPolicy { vhost, kind, name };
    assert!(is_refused(&Asked::of(&first, &peer, clear).answer()));

    let (second, catalogue) = broker(catalogue.stored());
    assert_eq!(second.policies("/", PolicyKind::Policy), Ok(vec![policy("kept", 7)]));
    let peer = Peer::new(&second);
    let (vhost, kind, name) = ("/".to_owned(), PolicyKind::Policy, "kept".to_owned());
    Asked::of(&second, &peer, Request::ClearPolicy { vhost, kind, name });
    catalogue.step();
    let (third, _) = broker(catalogue.stored());
    assert_eq!(third.policies("/", PolicyKind::Policy), Ok(Vec::new()));
}
