//! Transactions: all of it or nothing, and answered once it is safe.

use std::task::{Context, Poll, Waker};

use trivium_core::control::{Consume, DeclareQueue, Origin};
use trivium_core::{
    Alarms, Broker, Confirm, Draft, Event, Instant, Limits, Outcome, Protocol, Refusal, Reply,
    Request, Response, Ticket, Transaction,
};

use crate::peer::{Peer, Publish, draft};

fn hold(peer: &mut Peer, transaction: &mut Transaction, publish: &Publish<'_>, persistent: bool) {
    let draft = Draft { persistent, ..draft(publish) };
    peer.batch(|batch, session| batch.hold(session, transaction, draft, &[]).unwrap());
}

fn commit(broker: &Broker, peer: &Peer, transaction: Transaction) -> Reply {
    let session = Some(peer.session.handle());
    let origin = Origin { session, principal: None, protocol: Protocol::Amqp };
    broker.request(&origin, Request::Commit { transaction, now: Instant::START })
}

fn to(key: &str) -> Publish<'_> {
    Publish { key, body: "x", ..Publish::default() }
}

#[test]
fn nothing_happens_before_the_commit_and_all_of_it_then() {
    let (broker, log) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    for name in ["in", "out"] {
        let declare = DeclareQueue { name: name.into(), durable: true, ..Default::default() };
        peer.ask(Request::DeclareQueue(declare)).unwrap();
    }
    let mut first = Transaction::default();
    hold(&mut peer, &mut first, &to("in"), true);
    let Reply::Pending(mut answer) = commit(&broker, &peer, first) else {
        panic!("nothing is durable yet")
    };
    peer.consume(Consume { queue: "in".into(), ..Consume::default() });
    peer.consume(Consume { queue: "out".into(), ..Consume::default() });
    let mut context = Context::from_waker(Waker::noop());
    assert!(answer.as_mut().poll(&mut context).is_pending());
    log.step();
    assert!(matches!(answer.as_mut().poll(&mut context), Poll::Ready(Ok(Response::Done))));
    let [delivery] = &peer.deliveries()[..] else { panic!("one message was committed") };
    let settled = delivery.delivery;

    let mut second = Transaction::default();
    hold(&mut peer, &mut second, &to("out"), true);
    hold(&mut peer, &mut second, &Publish { mandatory: true, ..to("nobody") }, false);
    second.settle(settled, Outcome::Accepted, &Limits::default()).unwrap();
    assert_eq!(peer.fetch().0.len(), 0);
    assert_eq!((broker.totals().unsettled, log.live()), (1, 1));
    let Reply::Pending(mut answer) = commit(&broker, &peer, second) else {
        panic!("nothing is durable yet")
    };
    assert_eq!(log.live(), 1, "one came, one went");
    let events = peer.fetch().0;
    assert!(matches!(events[..], [Event::Delivery(_), Event::Returned { .. }]), "{events:?}");
    log.step();
    assert!(matches!(answer.as_mut().poll(&mut context), Poll::Ready(Ok(Response::Done))));
}

#[test]
fn a_transient_commit_is_answered_at_once_and_a_rollback_leaves_nothing() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    peer.queue("q").unwrap();
    let mut dropped = Transaction::default();
    hold(&mut peer, &mut dropped, &to("q"), true);
    drop(dropped);
    let mut kept = Transaction::default();
    hold(&mut peer, &mut kept, &to("q"), false);
    assert!(matches!(commit(&broker, &peer, kept), Reply::Ready(Ok(Response::Done))));
    assert_eq!(broker.totals().ready, 1);
}

#[test]
fn an_alarm_refuses_what_is_published_and_held() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    peer.queue("q").unwrap();
    broker.set_alarms(Alarms { memory: false, disk: true });
    let blocked = Refusal::Blocked { reason: "low on disk".into() };
    assert_eq!(peer.try_publish(&to("q")).unwrap_err(), blocked);
    let held = peer.batch(|batch, session| {
        batch.hold(session, &mut Transaction::default(), draft(&to("q")), &[])
    });
    assert_eq!(held, Err(blocked));
    let wanted = Publish { confirm: Confirm::Wanted, ..to("q") };
    assert_eq!(peer.try_publish(&wanted).unwrap().ticket, Ticket(1));
    assert!(matches!(peer.fetch().0[..], [Event::Refused { ticket: Ticket(1), .. }]));
    broker.set_alarms(Alarms::default());
    peer.try_publish(&wanted).unwrap();
    assert!(matches!(peer.fetch().0[..], [Event::Confirmed { through: Ticket(2), .. }]));
    assert_eq!(broker.totals().ready, 1);
}

#[test]
fn a_transaction_is_bounded_in_bytes() {
    let limits = Limits { transaction_bytes_max: 1000, ..Limits::default() };
    let broker = Broker::ephemeral(limits, 0);
    let mut peer = Peer::new(&broker);
    let mut transaction = Transaction::default();
    hold(&mut peer, &mut transaction, &to("q"), false);
    let large = "x".repeat(1000);
    let refused = peer.batch(|batch, session| {
        let draft = draft(&Publish { key: "q", body: &large, ..Publish::default() });
        batch.hold(session, &mut transaction, draft, &[])
    });
    assert_eq!(refused, Err(Refusal::LimitReached { what: "transaction bytes", limit: 1000 }));
    let missing = peer.batch(|batch, session| {
        let draft = draft(&Publish { exchange: "nope", ..Publish::default() });
        batch.hold(session, &mut transaction, draft, &[])
    });
    assert_eq!(missing, Err(Refusal::no_exchange("nope", "/")));
}
