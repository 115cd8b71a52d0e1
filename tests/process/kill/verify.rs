//! What must be there after a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::load::{Promised, QUEUES, TOGETHER};
use crate::wire::Amqp;

/// The numbers that were in each queue, in its order.
pub(super) type Found = BTreeMap<&'static str, Vec<u64>>;

/// Takes everything out of every queue, acknowledged in a transaction: after this it is gone for good.
pub(super) fn take_all(address: SocketAddr) -> Found {
    let mut amqp = Amqp::open(address).expect("guest may log in");
    amqp.select(90).expect("transactions are known");
    let mut found = Found::new();
    let mut last = None;
    for (queue, _) in QUEUES {
        let numbers = found.entry(queue).or_default();
        while let Some((tag, body)) = amqp.get(queue).expect("the queue is there") {
            numbers.push(body.parse().expect("bodies are numbers"));
            last = Some(tag);
        }
    }
    if let Some(tag) = last {
        amqp.acknowledge(tag, true).expect("the broker is there");
    }
    amqp.commit().expect("the broker commits");
    found
}

pub(super) fn check(promised: &Promised, found: &Found, round: u64) {
    let sets: BTreeMap<_, BTreeSet<u64>> =
        found.iter().map(|(queue, numbers)| (*queue, numbers.iter().copied().collect())).collect();
    for (queue, numbers) in found {
        assert_eq!(numbers.len(), sets[queue].len(), "kill {round}: {queue} has one twice");
        // What is dead or done came in the order in which somebody took it.
        let is_ordered = numbers.is_sorted() || ["done", "dead"].contains(queue);
        assert!(is_ordered, "kill {round}: {queue} is out of order");
    }
    let both = |a: &str, b: &str| -> BTreeSet<u64> { &sets[a] | &sets[b] };
    for (queue, kept) in &promised.kept {
        // Taken on from there, by the worker or as a dead letter.
        let there = match *queue {
            "work" => both("work", "done"),
            "rejected" => both("rejected", "dead"),
            queue => sets[queue].clone(),
        };
        let lost: Vec<_> = kept.difference(&there).collect();
        assert!(lost.is_empty(), "kill {round}: promised and lost in {queue}: {lost:?}");
    }
    for (queue, gone) in &promised.gone {
        let back: Vec<_> = gone.intersection(&sets[queue]).collect();
        assert!(back.is_empty(), "kill {round}: acknowledged and back in {queue}: {back:?}");
    }
    for (from, to) in [("work", "done"), ("rejected", "dead")] {
        let twice: Vec<_> = sets[from].intersection(&sets[to]).collect();
        assert!(twice.is_empty(), "kill {round}: in {from} and in {to}: {twice:?}");
    }
    for queue in ["transacted", "committed"] {
        for first in sets[queue].iter().map(|number| number - number % TOGETHER) {
            let is_whole = (first..first + TOGETHER).all(|number| sets[queue].contains(&number));
            assert!(is_whole, "kill {round}: half of transaction {first} in {queue}");
        }
    }
}
