//! Which confirms left too early.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::trace::Event;

/// What confirms: a word for each, as failures are reported.
pub(super) const KINDS: [&str; 7] =
    ["basic.ack", "tx.commit-ok", "PUBACK", "PUBREC", "PUBCOMP", "RECEIPT", "RECEIPT of COMMIT"];

/// What every body begins with; behind it stand the kind's letter and five digits.
pub(super) const TOKEN: &[u8] = b"proof:";
const TOKEN_BYTES: usize = TOKEN.len() + 6;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// How many messages each kind confirmed.
    pub(super) confirmed: BTreeMap<&'static str, usize>,
    /// Confirms that left before the sync of their message returned.
    pub(super) early: Vec<String>,
    /// Syncs of the log.
    pub(super) syncs: usize,
}

/// The number of a message: the letter of who published it, and when.
pub(super) type Token = (u8, u32);

/// Goes through the events once. `ports` are those of AMQP, MQTT and STOMP.
pub(super) fn check(events: &[Event], ports: [u16; 3]) -> Verdict {
    let mut verdict = Verdict::default();
    // By file: what is written and not synced. By thread: what a sync that runs covers.
    let mut written: HashMap<&str, BTreeSet<Token>> = HashMap::new();
    let mut covered: HashMap<u32, BTreeSet<Token>> = HashMap::new();
    let mut safe: BTreeSet<Token> = BTreeSet::new();
    let mut streams: HashMap<(u16, u16), Stream> = HashMap::new();
    for event in events {
        match event {
            Event::Written { file, bytes } => {
                written.entry(file).or_default().extend(tokens(bytes));
            }
            Event::SyncBegins { thread, file } => {
                verdict.syncs += usize::from(file.contains("/log/") && file.contains("segment"));
                covered.insert(*thread, written.remove(&**file).unwrap_or_default());
            }
            Event::Synced { thread } => safe.extend(covered.remove(thread).unwrap_or_default()),
            Event::Sent { from, to, bytes } => {
                let Some(protocol) = ports.iter().position(|port| port == from) else { continue };
                let stream = streams.entry((*from, *to)).or_default();
                stream.bytes.extend(bytes);
                for (kind, token) in stream.confirms(protocol) {
                    *verdict.confirmed.entry(kind).or_default() += 1;
                    if !safe.contains(&token) {
                        let (letter, number) = (char::from(token.0), token.1);
                        verdict.early.push(format!("{kind} for {letter}{number}"));
                    }
                }
            }
        }
    }
    verdict
}

fn tokens(bytes: &[u8]) -> impl Iterator<Item = Token> {
    bytes.windows(TOKEN_BYTES).filter(|window| window.starts_with(TOKEN)).filter_map(|window| {
        let number = std::str::from_utf8(&window[TOKEN.len() + 1..]).ok()?;
        Some((window[TOKEN.len()], number.parse().ok()?))
    })
}

/// What one message of the broker confirms.
type Confirms = Vec<(&'static str, Token)>;

/// What the broker sends on one connection.
#[derive(Debug, Default)]
struct Stream {
    bytes: Vec<u8>,
    /// The last tag confirmed, of AMQP's channel 1.
    last_tag: u32,
    /// Transactions committed, on AMQP's channel 2.
    commits: u32,
}

impl Stream {
    /// What the whole frames that are there confirm.
    fn confirms(&mut self, protocol: usize) -> Confirms {
        let mut found = Vec::new();
        loop {
            let (taken, confirms) = match protocol {
                0 => self.amqp(),
                1 => self.mqtt(),
                _ => self.stomp(),
            };
            if taken == 0 {
                return found;
            }
            self.bytes.drain(..taken);
            found.extend(confirms);
        }
    }

    /// Channel 1 publishes `a` with confirms, numbered as their tags; channel 2 publishes `t`, one a
    /// transaction.
    fn amqp(&mut self) -> (usize, Confirms) {
        let Some(header) = self.bytes.get(..7) else { return NOTHING };
        let (kind, channel) = (header[0], header[2]);
        if header == b"AMQP\0\0\x09" {
            return (8, Vec::new());
        }
        let taken = 8 + number(&header[3..7]) as usize;
        let Some(payload) = self.bytes.get(7..taken - 1) else { return NOTHING };
        let confirms = match (kind, channel, payload) {
            (1, 1, [0, 60, 0, 80, tag @ .., multiple]) => {
                let tag = number(&tag[4..]);
                let first = if *multiple == 1 { self.last_tag + 1 } else { tag };
                self.last_tag = self.last_tag.max(tag);
                (first..=tag).map(|tag| ("basic.ack", (b'a', tag))).collect()
            }
            (1, 2, [0, 90, 0, 21]) => {
                self.commits += 1;
                vec![("tx.commit-ok", (b't', self.commits))]
            }
            _ => Vec::new(),
        };
        (taken, confirms)
    }

    /// Messages are numbered as their packets: `q` at QoS 1, `r` at QoS 2.
    fn mqtt(&self) -> (usize, Confirms) {
        let [kind, len, behind @ ..] = &*self.bytes else { return NOTHING };
        let Some(body) = behind.get(..usize::from(*len)) else { return NOTHING };
        let confirm = |kind, letter| vec![(kind, (letter, number(&body[..2])))];
        let confirms = match kind >> 4 {
            4 => confirm("PUBACK", b'q'),
            5 => confirm("PUBREC", b'r'),
            7 => confirm("PUBCOMP", b'r'),
            _ => Vec::new(),
        };
        (2 + body.len(), confirms)
    }

    /// Receipts are called as the message, `s` for a send and `c` for the commit of one.
    fn stomp(&self) -> (usize, Confirms) {
        let Some(end) = self.bytes.iter().position(|byte| *byte == 0) else { return NOTHING };
        let text = String::from_utf8_lossy(&self.bytes[..end]);
        let receipt = text.lines().find_map(|line| line.strip_prefix("receipt-id:"));
        let confirm = receipt.and_then(|receipt| {
            let number = receipt.get(1..)?.parse().ok()?;
            match receipt.as_bytes()[0] {
                b's' => Some(("RECEIPT", (b's', number))),
                b'c' => Some(("RECEIPT of COMMIT", (b'c', number))),
                _ => None,
            }
        });
        (end + 1, confirm.into_iter().collect())
    }
}

/// No whole frame is there.
const NOTHING: (usize, Confirms) = (0, Vec::new());

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}
