//! What queues, subscriptions and transactions come to, as simply as it can be said.

use std::collections::{BTreeMap, VecDeque};

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a transaction that is open.
    Held,
    Ready,
    /// With that client, under that subscription.
    Unsettled(usize, u8),
    Gone,
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) queue: usize,
    pub(crate) persistent: bool,
    pub(crate) place: Place,
    /// It was delivered before.
    pub(crate) redelivered: bool,
    /// Its place in the order of its queue, once it is there.
    pub(crate) arrival: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Auto,
    Client,
    Individual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Accepted,
    Requeued,
    Rejected,
}

#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) queue: usize,
    pub(crate) mode: Mode,
    /// 0 for no limit.
    pub(crate) prefetch: usize,
    /// What acknowledgements call a message, and its number, in the order of delivery.
    pub(crate) unsettled: Vec<(String, usize)>,
    /// The arrival of the newest message that was new when it came.
    pub(crate) newest: Option<u64>,
}

impl Subscription {
    fn has_credit(&self) -> bool {
        self.mode == Mode::Auto || self.prefetch == 0 || self.unsettled.len() < self.prefetch
    }
}

/// One frame of a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A message, and whether it asks for a receipt.
    Send(usize, Option<String>),
    Settle(u8, String, Outcome),
}

/// A receipt of a SEND or COMMIT that is owed.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) name: String,
    /// It must come now; otherwise it must not.
    pub(crate) is_safe: bool,
}

/// What is known of one connection.
#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) subscriptions: BTreeMap<u8, Subscription>,
    pub(crate) transactions: BTreeMap<u8, Vec<Step>>,
    pub(crate) due: VecDeque<Due>,
    /// A COMMIT waits for the log: nothing else is taken.
    pub(crate) is_committing: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) messages: Vec<Message>,
    pub(crate) clients: Vec<Client>,
    arrivals: u64,
}

impl Model {
    /// A message that nobody has published yet. Returns its number.
    pub(crate) fn new_message(&mut self, queue: usize, persistent: bool) -> usize {
        let (place, redelivered, arrival) = (Place::Held, false, 0);
        self.messages.push(Message { queue, persistent, place, redelivered, arrival });
        self.messages.len() - 1
    }

    pub(crate) fn publish(&mut self, number: usize) {
        self.arrivals += 1;
        let message = &mut self.messages[number];
        assert_eq!(message.place, Place::Held);
        (message.place, message.arrival) = (Place::Ready, self.arrivals);
    }

    /// The broker gave a message to a subscription.
    pub(crate) fn deliver(
        &mut self,
        client: usize,
        id: u8,
        name: &str,
        number: usize,
        again: bool,
    ) {
        let message = &mut self.messages[number];
        let subscription = self.clients[client].subscriptions.get_mut(&id);
        let subscription = subscription.expect("nothing comes for a subscription that is none");
        assert_eq!(message.place, Place::Ready, "message {number} is there to be given");
        assert_eq!(message.queue, subscription.queue, "from the queue that is subscribed to");
        assert_eq!(message.redelivered, again, "message {number} says whether it came before");
        assert!(subscription.has_credit(), "no more than the prefetch count");
        if !again {
            assert!(subscription.newest < Some(message.arrival), "new messages come in order");
            subscription.newest = Some(message.arrival);
        }
        if subscription.mode == Mode::Auto {
            message.place = Place::Gone;
        } else {
            message.place = Place::Unsettled(client, id);
            subscription.unsettled.push((name.to_owned(), number));
        }
    }

    /// Settles what `name` covers, if it is still there. Returns how many messages that was.
    pub(crate) fn settle(&mut self, client: usize, id: u8, name: &str, outcome: Outcome) -> usize {
        let Some(subscription) = self.clients[client].subscriptions.get_mut(&id) else { return 0 };
        let at = subscription.unsettled.iter().position(|(known, _)| known == name);
        let covered: Vec<_> = match (at, subscription.mode) {
            (None, Mode::Client) => {
                // Settled before; what came before it may not be. Of an earlier subscription with the
                // same id it says nothing.
                let (consumer, last) = split(name);
                let covers = |known: &str| {
                    let (of, number) = split(known);
                    of == consumer && number < last
                };
                subscription.unsettled.extract_if(.., |(known, _)| covers(known)).collect()
            }
            (None, _) => Vec::new(),
            (Some(at), Mode::Client) => subscription.unsettled.drain(..=at).collect(),
            (Some(at), _) => vec![subscription.unsettled.remove(at)],
        };
        for (_, number) in &covered {
            self.leave(*number, outcome);
        }
        covered.len()
    }

    fn leave(&mut self, number: usize, outcome: Outcome) {
        let message = &mut self.messages[number];
        if outcome == Outcome::Requeued {
            (message.place, message.redelivered) = (Place::Ready, true);
        } else {
            message.place = Place::Gone;
        }
    }

    pub(crate) fn unsubscribe(&mut self, client: usize, id: u8) {
        let ended = self.clients[client].subscriptions.remove(&id);
        for (_, number) in ended.into_iter().flat_map(|ended| ended.unsettled) {
            self.leave(number, Outcome::Requeued);
        }
    }

    /// The connection is gone, and its open transactions with it.
    pub(crate) fn end(&mut self, client: usize) {
        let ids: Vec<_> = self.clients[client].subscriptions.keys().copied().collect();
        for id in ids {
            self.unsubscribe(client, id);
        }
        let transactions = std::mem::take(&mut self.clients[client]).transactions;
        for steps in transactions.into_values() {
            self.abort(steps);
        }
    }

    pub(crate) fn abort(&mut self, steps: Vec<Step>) {
        for step in steps {
            if let Step::Send(number, _) = step {
                self.messages[number].place = Place::Gone;
            }
        }
    }

    /// Everybody was listened to, and nothing is being read: no message waits where somebody would
    /// take it.
    pub(crate) fn check_nothing_waits(&self) {
        let subscriptions = self.clients.iter().flat_map(|client| client.subscriptions.values());
        for subscription in subscriptions.filter(|subscription| subscription.has_credit()) {
            let waits = self.messages.iter().position(|message| {
                message.queue == subscription.queue && message.place == Place::Ready
            });
            assert_eq!(waits, None, "a message waits, and somebody would take it");
        }
    }

    /// What is left in a queue, in its order: number and whether it was delivered before.
    pub(crate) fn left_in(&self, queue: usize) -> Vec<(usize, bool)> {
        let mut left: Vec<_> = (0..self.messages.len())
            .filter(|number| {
                let message = &self.messages[*number];
                message.queue == queue && message.place == Place::Ready
            })
            .collect();
        left.sort_by_key(|number| self.messages[*number].arrival);
        left.into_iter().map(|number| (number, self.messages[number].redelivered)).collect()
    }
}

/// The consumer that a message's name begins with, and its number there.
fn split(name: &str) -> (&str, u64) {
    let (consumer, number) = name.rsplit_once('-').expect("a name that the broker made");
    (consumer, number.parse().expect("a number"))
}
