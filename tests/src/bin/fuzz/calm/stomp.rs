//! A client of STOMP 1.1 or 1.2 that keeps to the rules.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write;

use trivium_core::Protocol;

use super::names::{self, EXCHANGES};
use super::{body, check_body};
use crate::frames::{self, header};
use crate::random::Random;
use crate::speaker::Speaker;

/// See the module.
pub(crate) struct Stomp {
    operations: usize,
    /// 1.2, else 1.1.
    is_12: bool,
    heard: Vec<u8>,
    says_hello: bool,
    is_open: bool,
    made: u32,
    subscriptions: Vec<Subscription>,
    /// Receipts of SENDs, in the order in which they must come.
    receipts: VecDeque<String>,
    /// Those of other frames: they do not wait for a message to be safe.
    other_receipts: BTreeSet<String>,
    has_transaction: bool,
}

#[derive(Debug)]
struct Subscription {
    id: String,
    mode: &'static str,
    /// Messages that are not settled, by `ack` or `message-id`.
    unsettled: Vec<String>,
}

impl Stomp {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            operations: random.between(10, 80),
            is_12: random.chance(60),
            heard: Vec::new(),
            says_hello: true,
            is_open: false,
            made: 0,
            subscriptions: Vec::new(),
            receipts: VecDeque::new(),
            other_receipts: BTreeSet::new(),
            has_transaction: false,
        }
    }

    fn operate(&mut self, random: &mut Random, said: &mut Vec<u8>) {
        match random.below(100) {
            0..45 => self.send(random, said),
            45..75 => self.settle(random, said),
            75..86 => self.subscribe(random, said),
            86..90 => self.unsubscribe(random, said),
            90..98 => self.turn_transaction(random, said),
            _ => {
                said.extend_from_slice(b"DISCONNECT\n\n\0");
                self.is_open = false;
            }
        }
    }

    /// Ends the head, perhaps with a receipt, and appends the body.
    fn finish(&mut self, mut head: String, body: &[u8], random: &mut Random, said: &mut Vec<u8>) {
        let is_send = head.starts_with("SEND");
        let is_part = !head.starts_with("SUB") && head.contains("\ntransaction:t\n");
        // What a transaction holds is answered with its end, or never.
        if random.chance(40) && !(is_part && (is_send || head.contains("ACK\n"))) {
            self.made += 1;
            let receipt = format!("r{}", self.made);
            writeln!(head, "receipt:{receipt}").ok();
            if is_send {
                self.receipts.push_back(receipt);
            } else {
                self.other_receipts.insert(receipt);
            }
        }
        head.push('\n');
        said.extend_from_slice(head.as_bytes());
        said.extend_from_slice(body);
        said.push(0);
    }

    fn send(&mut self, random: &mut Random, said: &mut Vec<u8>) {
        let body = body(random);
        let destination = destination(random);
        let mut head = format!("SEND\ndestination:{destination}\ncontent-length:{}\n", body.len());
        for (percent, header) in [
            (40, "persistent:true\n"),
            (20, "expiration:300\n"),
            (20, "priority:7\n"),
            (20, "f:1\n"),
            (10, "reply-to:/temp-queue/answers\n"),
        ] {
            if random.chance(percent) {
                head.push_str(header);
            }
        }
        if self.has_transaction && random.chance(50) {
            head.push_str("transaction:t\n");
        }
        self.finish(head, &body, random, said);
    }

    fn subscribe(&mut self, random: &mut Random, said: &mut Vec<u8>) {
        self.made += 1;
        let id = format!("s{}", self.made);
        let mode = *random.pick(&["auto", "client", "client-individual"]);
        let destination = destination(random);
        let mut head = format!("SUBSCRIBE\nid:{id}\ndestination:{destination}\nack:{mode}\n");
        if random.chance(50) {
            writeln!(head, "prefetch-count:{}", random.between(1, 6)).ok();
        }
        self.subscriptions.push(Subscription { id, mode, unsettled: Vec::new() });
        self.finish(head, &[], random, said);
    }

    fn unsubscribe(&mut self, random: &mut Random, said: &mut Vec<u8>) {
        if self.subscriptions.is_empty() || self.has_transaction {
            return;
        }
        let at = random.below(self.subscriptions.len());
        let id = self.subscriptions.remove(at).id;
        self.finish(format!("UNSUBSCRIBE\nid:{id}\n"), &[], random, said);
    }

    fn settle(&mut self, random: &mut Random, said: &mut Vec<u8>) {
        let some = self.subscriptions.iter_mut().filter(|known| !known.unsettled.is_empty());
        let mut some: Vec<_> = some.collect();
        if some.is_empty() {
            return;
        }
        let which = random.below(some.len());
        let known = &mut *some[which];
        let at = random.below(known.unsettled.len());
        let message = known.unsettled[at].clone();
        if known.mode == "client" {
            known.unsettled.drain(..=at);
        } else {
            known.unsettled.remove(at);
        }
        let command = if random.chance(70) { "ACK" } else { "NACK" };
        let mut head = if self.is_12 {
            format!("{command}\nid:{message}\n")
        } else {
            format!("{command}\nsubscription:{}\nmessage-id:{message}\n", known.id)
        };
        if self.has_transaction && random.chance(50) {
            head.push_str("transaction:t\n");
        }
        self.finish(head, &[], random, said);
    }

    fn turn_transaction(&mut self, random: &mut Random, said: &mut Vec<u8>) {
        let command = match (self.has_transaction, random.chance(70)) {
            (false, _) => "BEGIN",
            (true, true) => "COMMIT",
            (true, false) => "ABORT",
        };
        self.has_transaction = !self.has_transaction;
        self.finish(format!("{command}\ntransaction:t\n"), &[], random, said);
    }

    fn on_frame(&mut self, frame: &[u8]) -> Result<(), String> {
        if frame.starts_with(b"CONNECTED") {
            self.is_open = true;
        } else if frame.starts_with(b"RECEIPT") {
            let id = header(frame, "receipt-id").unwrap_or_default();
            if !self.other_receipts.remove(id) {
                let next = self.receipts.pop_front();
                if next.as_deref() != Some(id) {
                    return Err(format!("receipt {id} comes, {next:?} is next"));
                }
            }
        } else if frame.starts_with(b"MESSAGE") {
            self.on_message(frame)?;
        } else {
            const OWN_FAULTS: [&str; 6] =
                ["Invalid", "Missing", "Processing", "Bad", "Unknown", "internal"];
            let message = header(frame, "message").unwrap_or_default();
            if OWN_FAULTS.iter().any(|fault| message.starts_with(fault)) {
                let text = String::from_utf8_lossy(frame);
                return Err(format!("a client that keeps to the rules is told {text}"));
            }
            self.is_open = false;
        }
        Ok(())
    }

    fn on_message(&mut self, frame: &[u8]) -> Result<(), String> {
        let id = header(frame, "subscription").unwrap_or_default();
        let known = self.subscriptions.iter_mut().find(|known| known.id == id);
        let name = if self.is_12 { "ack" } else { "message-id" };
        match (known, header(frame, name)) {
            (Some(known), Some(message)) if known.mode != "auto" => {
                known.unsettled.push(message.to_owned());
            }
            // Of a subscription that ends, or answers to this client's own reply address.
            _ => {}
        }
        let end = frame.windows(2).position(|pair| pair == b"\n\n").unwrap_or(0);
        check_body(&frame[end + 2..frame.len() - 1])
    }
}

impl Speaker for Stomp {
    fn say(&mut self, random: &mut Random) -> Vec<u8> {
        let mut said = Vec::new();
        if std::mem::take(&mut self.says_hello) {
            let version = if self.is_12 { "1.2" } else { "1.1" };
            said = format!("CONNECT\naccept-version:{version}\nhost:/\n\n\0").into_bytes();
        } else if !self.is_open {
            self.operations = self.operations.saturating_sub(1);
        }
        for _ in 0..random.between(1, 8) {
            if self.operations > 0 && self.is_open {
                self.operations -= 1;
                self.operate(random, &mut said);
            }
        }
        said
    }

    fn hear(&mut self, octets: &[u8]) -> Result<(), String> {
        self.heard.extend_from_slice(octets);
        while let Some(frame) = frames::take(Protocol::Stomp, &mut self.heard)? {
            self.on_frame(&frame)?;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.operations == 0
    }

    fn reconnect(&mut self) {
        self.heard.clear();
        self.says_hello = true;
        self.is_open = false;
        self.subscriptions.clear();
        self.receipts.clear();
        self.other_receipts.clear();
        self.has_transaction = false;
    }

    fn is_calm(&self) -> bool {
        self.is_open
    }

    fn check_end(&self) -> Result<(), String> {
        let owed = self.receipts.front().or_else(|| self.other_receipts.first());
        match owed.filter(|_| self.is_open) {
            Some(receipt) => Err(format!("receipt {receipt} never comes")),
            None => Ok(()),
        }
    }
}

fn destination(random: &mut Random) -> String {
    match random.below(4) {
        0 => format!("/queue/stomp-{}", random.below(3)),
        1 => format!("/topic/{}", names::key(random)),
        2 => format!("/exchange/{}/{}", random.pick(&EXCHANGES).0, names::key(random)),
        _ => format!("/amq/queue/{}", names::queue(random)),
    }
}
