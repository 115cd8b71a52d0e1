//! Plays operations to the real broker and to the model, and compares after each.

use std::sync::Arc;

use trivium_core::Protocol;
use trivium_core::testing::{Client, World};
use trivium_stomp::{Config, Connection};

use crate::frames::{self, Frame};
use crate::model::{Due, Mode, Model, Outcome, Step, Subscription};

const CLIENTS: usize = 3;
const QUEUES: usize = 2;
const VERSIONS: [&str; 3] = ["1.0", "1.1", "1.2"];

/// Something that happens, in numbers that mean something wherever it does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) kind: u8,
    pub(crate) client: u8,
    pub(crate) first: u8,
    pub(crate) second: u8,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: usize,
    pub(crate) delivered: usize,
    pub(crate) redelivered: usize,
    pub(crate) settled: usize,
    pub(crate) committed: usize,
    pub(crate) receipts: usize,
    pub(crate) errors: usize,
}

/// One client's socket.
struct Talker<'w> {
    client: Client<'w, Connection>,
    version: &'static str,
    read: Vec<u8>,
}

struct Run<'w> {
    world: &'w World,
    chunk_len: usize,
    talkers: Vec<Talker<'w>>,
    model: Model,
    /// Names of receipts that must come at once.
    now: Vec<String>,
    /// The `message` and `receipt-id` of the ERROR that must come at once, and whose it is.
    error: Option<(usize, &'static str, String)>,
    receipts: usize,
    counts: Counts,
}

/// Plays `ops`; what clients write arrives in pieces of `chunk_len`.
pub(crate) fn run(ops: &[Op], chunk_len: usize) -> Counts {
    let world = World::new();
    let mut run = Run {
        world: &world,
        chunk_len,
        talkers: Vec::new(),
        model: Model::default(),
        now: Vec::new(),
        error: None,
        receipts: 0,
        counts: Counts::default(),
    };
    for index in 0..CLIENTS {
        let talker = run.connect(index);
        run.talkers.push(talker);
        run.model.clients.push(crate::model::Client::default());
    }
    for (index, op) in ops.iter().enumerate() {
        run.play(index, *op);
        run.listen();
    }
    run.finish();
    run.counts
}

impl<'w> Run<'w> {
    fn connect(&self, seed: usize) -> Talker<'w> {
        let version = VERSIONS[seed % 3];
        let adapter = Connection::new(Arc::new(Config::default()), self.world.now());
        let mut client = self.world.client(Protocol::Stomp, adapter, self.chunk_len);
        let accept = if version == "1.0" { "" } else { version };
        let accept =
            if accept.is_empty() { String::new() } else { format!("accept-version:{accept}\n") };
        let mut read = client.send(format!("CONNECT\n{accept}host:/\n\n\0").as_bytes());
        let connected = frames::take(&mut read);
        assert_eq!(connected[0].header("version"), version);
        frames::check_independently(&connected[0]);
        Talker { client, version, read }
    }

    /// A header that asks for a receipt, for every other number; its name.
    fn receipt(&mut self, number: u8) -> (String, Option<String>) {
        if number.is_multiple_of(2) {
            return (String::new(), None);
        }
        self.receipts += 1;
        let name = format!("r{}", self.receipts);
        (format!("receipt:{name}\n"), Some(name))
    }

    fn send(&mut self, at: usize, text: &str) {
        let talker = &mut self.talkers[at];
        let mut read = talker.client.send(text.as_bytes());
        talker.read.append(&mut read);
    }

    fn play(&mut self, index: usize, op: Op) {
        let at = usize::from(op.client) % CLIENTS;
        match op.kind % 32 {
            0 | 1 => return self.settle_down(),
            2 if op.second.is_multiple_of(4) => return self.breaks(at, index),
            _ if self.model.clients[at].is_committing => return,
            _ => {}
        }
        match op.kind % 32 {
            3 if op.second.is_multiple_of(4) => self.disconnect(at, index),
            4..=7 => self.subscribe(at, op),
            8 => self.unsubscribe(at, op),
            9..=11 => self.begin(at, op),
            12 | 13 => self.commit(at, op),
            14 => self.abort(at, op),
            15..=21 => self.settle(at, op),
            _ => self.publish(at, op),
        }
    }

    /// The log syncs: everything that waits for it is due.
    fn step(&mut self) {
        self.world.step();
        for client in &mut self.model.clients {
            client.due.iter_mut().for_each(|due| due.is_safe = true);
            client.is_committing = false;
        }
    }

    /// The log syncs and reads until nothing waits for it.
    fn settle_down(&mut self) {
        // What is read makes room for what is to be read next.
        for _ in 0..3 {
            self.step();
            self.listen();
        }
        self.model.check_nothing_waits();
    }

    fn breaks(&mut self, at: usize, index: usize) {
        self.talkers[at].client.disconnect();
        self.model.end(at);
        self.talkers[at] = self.connect(index);
    }

    fn disconnect(&mut self, at: usize, index: usize) {
        // Receipts that wait for the log come first.
        self.step();
        self.listen();
        let (header, name) = self.receipt(1);
        self.send(at, &format!("DISCONNECT\n{header}\n\0"));
        self.now.extend(name);
        self.model.end(at);
        self.listen();
        assert!(self.talkers[at].client.is_closed(), "DISCONNECT is the last frame");
        self.talkers[at] = self.connect(index);
    }

    /// The next ERROR; the connection ends with it.
    fn fails(&mut self, at: usize, message: &'static str, receipt: Option<String>) {
        self.error = Some((at, message, receipt.unwrap_or_default()));
        self.counts.errors += 1;
        // What it had not settled is with others before the ERROR is read.
        self.model.end(at);
        self.listen();
        assert!(self.error.is_none(), "an ERROR '{message}' is owed");
        assert!(self.talkers[at].client.is_closed(), "an ERROR is the last frame");
        self.talkers[at] = self.connect(at + self.receipts);
    }

    /// Mistakes end a connection, and what it had begun: only some are made.
    fn subscribe(&mut self, at: usize, op: Op) {
        let (id, queue) = (op.first % 4, usize::from(op.first / 4) % QUEUES);
        if is_spared(self.model.clients[at].subscriptions.contains_key(&id), op) {
            return;
        }
        let (mode, text) = match op.second % 4 {
            0 => (Mode::Auto, "auto"),
            1 => (Mode::Client, "client"),
            _ => (Mode::Individual, "client-individual"),
        };
        let prefetch = usize::from(op.second / 4 % 4);
        let (header, name) = self.receipt(op.first / 8);
        self.send(
            at,
            &format!(
                "SUBSCRIBE\nid:{id}\ndestination:/queue/q{queue}\nack:{text}\n\
                 prefetch-count:{prefetch}\n{header}\n\0"
            ),
        );
        let subscriptions = &mut self.model.clients[at].subscriptions;
        if subscriptions.contains_key(&id) {
            return self.fails(at, "Duplicated subscription identifier", name);
        }
        let (unsettled, newest) = (Vec::new(), None);
        subscriptions.insert(id, Subscription { queue, mode, prefetch, unsettled, newest });
        self.now.extend(name);
    }

    fn unsubscribe(&mut self, at: usize, op: Op) {
        let id = op.first % 4;
        if is_spared(!self.model.clients[at].subscriptions.contains_key(&id), op) {
            return;
        }
        let (header, name) = self.receipt(op.second);
        self.send(at, &format!("UNSUBSCRIBE\nid:{id}\n{header}\n\0"));
        if !self.model.clients[at].subscriptions.contains_key(&id) {
            return self.fails(at, "No subscription found", name);
        }
        self.model.unsubscribe(at, id);
        self.now.extend(name);
    }

    fn begin(&mut self, at: usize, op: Op) {
        let transaction = op.first % 3;
        if is_spared(self.model.clients[at].transactions.contains_key(&transaction), op) {
            return;
        }
        let (header, name) = self.receipt(op.second);
        self.send(at, &format!("BEGIN\ntransaction:t{transaction}\n{header}\n\0"));
        let open = &mut self.model.clients[at].transactions;
        if open.contains_key(&transaction) {
            return self.fails(at, "Bad transaction", name);
        }
        open.insert(transaction, Vec::new());
        self.now.extend(name);
    }

    fn abort(&mut self, at: usize, op: Op) {
        let transaction = op.first % 3;
        if is_spared(!self.model.clients[at].transactions.contains_key(&transaction), op) {
            return;
        }
        let (header, name) = self.receipt(op.second);
        self.send(at, &format!("ABORT\ntransaction:t{transaction}\n{header}\n\0"));
        let Some(steps) = self.model.clients[at].transactions.remove(&transaction) else {
            return self.fails(at, "Bad transaction", name);
        };
        self.model.abort(steps);
        self.now.extend(name);
    }

    fn commit(&mut self, at: usize, op: Op) {
        let transaction = op.first % 3;
        if is_spared(!self.model.clients[at].transactions.contains_key(&transaction), op) {
            return;
        }
        let (header, name) = self.receipt(op.second);
        self.send(at, &format!("COMMIT\ntransaction:t{transaction}\n{header}\n\0"));
        let Some(steps) = self.model.clients[at].transactions.remove(&transaction) else {
            return self.fails(at, "Bad transaction", name);
        };
        self.counts.committed += usize::from(!steps.is_empty());
        let (mut must_wait, mut may_wait, mut receipts) = (false, false, Vec::new());
        for step in steps {
            match step {
                Step::Send(number, receipt) => {
                    must_wait |= self.model.messages[number].persistent;
                    receipts.extend(receipt);
                    self.model.publish(number);
                }
                Step::Settle(id, message, outcome) => {
                    may_wait = true;
                    self.counts.settled += self.model.settle(at, id, &message, outcome);
                }
            }
        }
        let client = &mut self.model.clients[at];
        client.is_committing = must_wait;
        let is_safe = !must_wait;
        let names = receipts.into_iter().chain(name);
        client.due.extend(names.map(|name| Due { name, is_safe }));
        if may_wait && !must_wait {
            // Whether settlements alone are waited for is the broker's own affair.
            self.step();
        }
    }

    fn settle(&mut self, at: usize, op: Op) {
        let talker = &self.talkers[at];
        let owed: Vec<_> = self.model.clients[at]
            .subscriptions
            .iter()
            .flat_map(|(id, subscription)| {
                subscription.unsettled.iter().map(|(name, _)| (*id, name))
            })
            .collect();
        if owed.is_empty() {
            return;
        }
        let (id, message) = owed[usize::from(op.first) % owed.len()];
        let message = message.clone();
        let (command, more, outcome) = match op.second % 4 {
            1 if talker.version != "1.0" => ("NACK", "", Outcome::Requeued),
            2 if talker.version != "1.0" => ("NACK", "requeue:false\n", Outcome::Rejected),
            _ => ("ACK", "", Outcome::Accepted),
        };
        let which = match talker.version {
            "1.2" => format!("id:{message}"),
            "1.1" => format!("subscription:{id}\nmessage-id:{message}"),
            _ => format!("message-id:{message}"),
        };
        let transaction = self.transaction(at, op.second / 4);
        let (header, name) = self.receipt(op.second / 16);
        let part = transaction.map(|number| format!("transaction:t{number}\n")).unwrap_or_default();
        self.send(at, &format!("{command}\n{which}\n{more}{part}{header}\n\0"));
        match transaction {
            None => self.counts.settled += self.model.settle(at, id, &message, outcome),
            Some(number) => match self.model.clients[at].transactions.get_mut(&number) {
                None => return self.fails(at, "Bad transaction", name),
                Some(steps) => steps.push(Step::Settle(id, message, outcome)),
            },
        }
        self.now.extend(name);
    }

    /// One of the open transactions, seldom one that is not open, or none.
    fn transaction(&self, at: usize, number: u8) -> Option<u8> {
        let open: Vec<_> = self.model.clients[at].transactions.keys().copied().collect();
        match number % 4 {
            0 | 1 => None,
            2 if number % 16 == 2 => Some(number / 16 % 3),
            _ if open.is_empty() => None,
            _ => Some(open[usize::from(number / 4) % open.len()]),
        }
    }

    fn publish(&mut self, at: usize, op: Op) {
        let (queue, persistent) =
            (usize::from(op.first) % QUEUES, (op.first / 2).is_multiple_of(2));
        let transaction = self.transaction(at, op.second);
        let (header, name) = self.receipt(op.first / 4);
        let number = self.model.new_message(queue, persistent);
        self.counts.sent += 1;
        let part = transaction.map(|number| format!("transaction:t{number}\n")).unwrap_or_default();
        self.send(
            at,
            &format!(
                "SEND\ndestination:/queue/q{queue}\npersistent:{persistent}\n{part}{header}\n{number}\0"
            ),
        );
        match transaction {
            None => {
                self.model.publish(number);
                let is_safe = !persistent;
                self.model.clients[at].due.extend(name.map(|name| Due { name, is_safe }));
            }
            Some(transaction) => {
                let open = self.model.clients[at].transactions.get_mut(&transaction);
                if let Some(steps) = open {
                    steps.push(Step::Send(number, name));
                } else {
                    self.model.messages[number].place = crate::model::Place::Gone;
                    self.fails(at, "Bad transaction", name);
                }
            }
        }
    }

    /// Reads what there is to read for everybody, until nobody hears anything more.
    fn listen(&mut self) {
        loop {
            let mut is_silent = true;
            for at in 0..self.talkers.len() {
                let talker = &mut self.talkers[at];
                let mut read = talker.client.read();
                talker.read.append(&mut read);
                let heard = frames::take(&mut talker.read);
                is_silent &= heard.is_empty();
                for frame in heard {
                    self.hear(at, &frame);
                }
            }
            if is_silent {
                break;
            }
        }
        assert!(self.now.is_empty(), "receipts are owed: {:?}", self.now);
        for client in &self.model.clients {
            let due = client.due.front().filter(|due| due.is_safe);
            assert!(due.is_none(), "a receipt is owed: {due:?}");
        }
    }

    fn hear(&mut self, at: usize, frame: &Frame) {
        if self.talkers[at].version != "1.0" {
            frames::check_independently(frame);
        }
        match &*frame.command {
            "MESSAGE" => self.hear_message(at, frame),
            "RECEIPT" => {
                let name = frame.header("receipt-id");
                self.counts.receipts += 1;
                if let Some(place) = self.now.iter().position(|known| known == name) {
                    self.now.remove(place);
                    return;
                }
                let due = self.model.clients[at].due.pop_front().expect("a receipt that is due");
                assert_eq!(due.name, name, "receipts come in the order of what they are for");
                assert!(due.is_safe, "a receipt comes once its message is safe");
            }
            "ERROR" => {
                let owed = self.error.take().unwrap_or_else(|| panic!("unexpected {frame:?}"));
                let is = (at, frame.header("message"), frame.header("receipt-id"));
                assert_eq!(is, (owed.0, owed.1, &*owed.2));
            }
            other => panic!("a server sends no {other}"),
        }
    }

    fn hear_message(&mut self, at: usize, frame: &Frame) {
        let id: u8 = frame.header("subscription").parse().expect("an id that was given");
        let number: usize = String::from_utf8_lossy(&frame.body).parse().expect("a number");
        let again = frame.header("redelivered") == "true";
        let subscription = self.model.clients[at].subscriptions.get(&id);
        let is_auto = subscription.is_some_and(|subscription| subscription.mode == Mode::Auto);
        let has_ack = self.talkers[at].version == "1.2" && !is_auto;
        assert_eq!(!frame.header("ack").is_empty(), has_ack, "S-76");
        let name = frame.header(if has_ack { "ack" } else { "message-id" });
        self.model.deliver(at, id, name, number, again);
        self.counts.delivered += 1;
        self.counts.redelivered += usize::from(again);
        let queue = self.model.messages[number].queue;
        assert_eq!(frame.header("destination"), format!("/queue/q{queue}"), "S-74");
    }

    /// Everybody leaves; what is left is exactly what the model has left.
    fn finish(&mut self) {
        self.settle_down();
        for at in 0..CLIENTS {
            self.talkers[at].client.disconnect();
            self.model.end(at);
            // What it gave back others may take.
            self.settle_down();
        }
        self.talkers.clear();
        for queue in 0..QUEUES {
            let mut talker = self.connect(2);
            let subscribe = format!("SUBSCRIBE\nid:0\ndestination:/queue/q{queue}\n\n\0");
            talker.read.append(&mut talker.client.send(subscribe.as_bytes()));
            for _ in 0..3 {
                self.world.step();
                talker.read.append(&mut talker.client.read());
            }
            let left: Vec<_> = frames::take(&mut talker.read)
                .iter()
                .map(|frame| {
                    let number: usize =
                        String::from_utf8_lossy(&frame.body).parse().expect("a number");
                    (number, frame.header("redelivered") == "true")
                })
                .collect();
            assert_eq!(left, self.model.left_in(queue), "what is left in queue {queue}");
        }
        assert_eq!(self.world.log().live(), 0, "the log holds nothing that is in no queue");
    }
}

/// Mistakes end a connection, and what it had begun: only some are made.
const fn is_spared(is_mistake: bool, op: Op) -> bool {
    is_mistake && !(op.second / 2).is_multiple_of(8)
}
