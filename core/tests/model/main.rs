//! Random operations against the naive model: nothing is lost, nothing comes twice without
//! `redelivered`, order holds, what is put back stands where it stood, a confirm waits for the
//! log. The broker runs on the stepped log with a window of 4 messages and outboxes of 3, so that
//! paging, reading and stalling happen all the time; now and then memory is short, and what no log
//! has goes to a second one. `ending` does the same to a queue with TTL, bounds, priorities and a
//! dead-letter exchange; `routes` compares where messages go.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod ending;
mod naive;
mod routes;
mod subject;

use proptest::prelude::*;
use trivium_core::Outcome;

use subject::Subject;

/// One step of a run. Indexes are taken modulo what there is.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Publish { client: usize, queue: Option<usize>, count: usize, persistent: bool, confirm: bool },
    Consume { client: usize, queue: usize, prefetch: u32, no_ack: bool },
    Cancel { consumer: usize },
    Settle { delivery: usize, outcome: Outcome },
    SettleAll { client: usize, outcome: Outcome },
    Get { client: usize, queue: usize, no_ack: bool },
    Release { client: usize },
    Limit { client: usize, unsettled_max: u32 },
    Sync,
    AnswerReads,
    PageOut,
    Purge { queue: usize },
    CloseSession { client: usize },
    DeleteQueue { queue: usize },
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![Just(Outcome::Accepted), Just(Outcome::Requeued), Just(Outcome::Rejected)]
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let client = 0..subject::CLIENTS;
    let queue = 0..subject::QUEUES;
    prop_oneof![
        8 => (client.clone(), proptest::option::weighted(0.8, queue.clone()), 1..8usize,
              any::<bool>(), any::<bool>())
            .prop_map(|(client, queue, count, persistent, confirm)| Publish {
                client, queue, count, persistent, confirm }),
        4 => (client.clone(), queue.clone(), 0..4u32, any::<bool>())
            .prop_map(|(client, queue, prefetch, no_ack)| Consume {
                client, queue, prefetch, no_ack }),
        1 => (0..16usize).prop_map(|consumer| Cancel { consumer }),
        6 => (0..64usize, outcome())
            .prop_map(|(delivery, outcome)| Settle { delivery, outcome }),
        1 => (client.clone(), outcome())
            .prop_map(|(client, outcome)| SettleAll { client, outcome }),
        2 => (client.clone(), queue.clone(), any::<bool>())
            .prop_map(|(client, queue, no_ack)| Get { client, queue, no_ack }),
        6 => client.clone().prop_map(|client| Release { client }),
        1 => (client.clone(), 0..3u32)
            .prop_map(|(client, unsettled_max)| Limit { client, unsettled_max }),
        3 => Just(Sync),
        5 => Just(AnswerReads),
        2 => Just(PageOut),
        1 => queue.clone().prop_map(|queue| Purge { queue }),
        1 => client.prop_map(|client| CloseSession { client }),
        1 => queue.prop_map(|queue| DeleteQueue { queue }),
    ]
}

/// 600 runs in the plain test command; `PROPTEST_CASES=100000` for a long run.
fn config() -> ProptestConfig {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() {
        ProptestConfig::default().cases
    } else {
        600
    };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn messages_go_where_every_binding_says(topology in routes::topology()) {
        let steps = topology.steps.clone();
        let mut routes = routes::Routes::new(topology);
        for step in &steps {
            routes.apply(step);
        }
    }

    #[test]
    fn the_broker_does_what_the_model_does(
        operations in proptest::collection::vec(operation(), 1..90),
    ) {
        let mut subject = Subject::new();
        for operation in operations {
            subject.apply(&operation);
        }
        subject.settle_down();
    }

    #[test]
    fn every_message_ends_once(
        steps in proptest::collection::vec(ending::step(), 1..90),
        refuses: bool,
        quorum: bool,
    ) {
        let mut ending = ending::Ending::new(refuses, quorum);
        for step in steps {
            ending.apply(&step);
        }
        ending.settle_down();
    }
}
