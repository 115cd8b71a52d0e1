//! A client of AMQP that keeps to the rules, on three channels: one plain, one that confirms, one
//! with transactions.

use std::collections::VecDeque;
use std::fmt::Write;

use trivium_core::Protocol;

use super::names::{self, EXCHANGES, QUEUES};
use super::{body, check_body, hexadecimal};
use crate::assembler;
use crate::frames;
use crate::pattern::Names;
use crate::random::Random;
use crate::speaker::Speaker;

const CHANNELS: u16 = 3;
const CONFIRMING: u16 = 2;
const TRANSACTIONAL: u16 = 3;

/// See the module.
pub(crate) struct Amqp {
    operations: usize,
    heard: Vec<u8>,
    channels: Vec<Channel>,
    /// What must be said at once: answers to what was heard.
    owed: String,
    is_open: bool,
    is_prepared: bool,
    tags_made: u32,
    frame_bytes_max: usize,
    /// Where most of what it does happens, so that what is published is consumed, too.
    favourites: [&'static str; 2],
}

#[derive(Debug, Default)]
struct Channel {
    state: State,
    /// The last delivery tag heard.
    delivered: u64,
    /// Heard, and not settled.
    unsettled: Vec<u64>,
    /// Settled in the transaction.
    held: Vec<u64>,
    /// Whether each `basic.get` under way is settled by being answered.
    gets: VecDeque<bool>,
    /// How many recover-ok are awaited: of what comes until the last one nobody knows whether it is
    /// outstanding.
    recovers: u32,
    consumers: Vec<String>,
    published: u64,
    /// Publishes that were confirmed, and those above it that were refused.
    confirmed: u64,
    refused: Vec<u64>,
    /// What is left of a body that is being heard.
    content: Option<(u64, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// To be opened.
    #[default]
    Closed,
    Opening,
    Open,
    /// `channel.close` was said.
    Closing,
}

impl Amqp {
    pub(crate) fn new(random: &mut Random) -> Self {
        let mut amqp = Self {
            operations: random.between(20, 120),
            heard: Vec::new(),
            channels: Vec::new(),
            owed: String::new(),
            is_open: false,
            is_prepared: false,
            tags_made: 0,
            frame_bytes_max: *random.pick(&[4096, 131_072]),
            favourites: [names::queue(random), names::queue(random)],
        };
        amqp.reconnect();
        amqp
    }

    fn channel(&mut self, number: u16) -> &mut Channel {
        &mut self.channels[usize::from(number) - 1]
    }

    /// Opens what is not open, and says what the channel is for.
    fn open(&mut self, number: u16, random: &mut Random, said: &mut String) {
        *self.channel(number) = Channel { state: State::Opening, ..Channel::default() };
        write!(said, "method:{number}[ channel.open u8[] ] ").ok();
        match number {
            CONFIRMING => write!(said, "method:{number}[ confirm.select 00 ] ").ok(),
            TRANSACTIONAL => write!(said, "method:{number}[ tx.select ] ").ok(),
            _ => None,
        };
        if random.chance(60) {
            let (count, global) = (random.below(5), random.below(2));
            write!(said, "method:{number}[ basic.qos u32:0 u16:{count} 0{global} ] ").ok();
        }
        if number == 1 && !std::mem::replace(&mut self.is_prepared, true) {
            self.prepare(random, said);
        }
    }

    fn queue(&self, random: &mut Random) -> &'static str {
        let [one, other] = self.favourites;
        match random.below(10) {
            0..4 => one,
            4..7 => other,
            _ => names::queue(random),
        }
    }

    /// Most clients see to it that there is something to talk to.
    fn prepare(&mut self, random: &mut Random, said: &mut String) {
        if !random.chance(70) {
            return;
        }
        for declaration in &EXCHANGES {
            declare_exchange(1, declaration, said);
        }
        for declaration in &QUEUES {
            declare_queue(1, declaration, said);
        }
        for _ in 0..6 {
            bind(1, self.queue(random), random, said);
        }
        for _ in 0..random.below(3) {
            self.consume(1, random, said);
        }
    }

    fn operate(&mut self, random: &mut Random, said: &mut String) {
        let number = 1 + u16::try_from(random.below(usize::from(CHANNELS))).unwrap_or(0);
        match self.channel(number).state {
            State::Open => {}
            State::Closed => return self.open(number, random, said),
            State::Opening | State::Closing => return,
        }
        match random.below(100) {
            0..40 => self.publish(number, random, said),
            40..60 => self.settle(number, random, said),
            60..68 => self.consume(number, random, said),
            68..75 => {
                let (no_ack, queue) = (random.chance(40), self.queue(random));
                self.channel(number).gets.push_back(no_ack);
                let bit = u8::from(no_ack);
                write!(said, "method:{number}[ basic.get u16:0 u8[\"{queue}\"] 0{bit} ] ").ok();
            }
            75..82 => declare_queue(number, random.pick(&QUEUES), said),
            82..86 => declare_exchange(number, random.pick(&EXCHANGES), said),
            86..92 => bind(number, self.queue(random), random, said),
            92..94 => self.cancel(number, random, said),
            94..97 if number == TRANSACTIONAL => self.end_transaction(random, said),
            94..97 => self.settle_all(number, random, said),
            97 => Self::discard(number, random, said),
            98 => {
                self.channel(number).state = State::Closing;
                write!(said, "method:{number}[ channel.close u16:200 u8[] u16:0 u16:0 ] ").ok();
            }
            _ => {
                let count = random.below(4);
                let global = random.below(2);
                write!(said, "method:{number}[ basic.qos u32:0 u16:{count} 0{global} ] ").ok();
            }
        }
    }

    fn publish(&mut self, number: u16, random: &mut Random, said: &mut String) {
        let (exchange, key) = if random.chance(65) {
            ("", self.queue(random).to_owned())
        } else {
            (random.pick(&EXCHANGES).0, names::key(random))
        };
        let mandatory = u8::from(random.chance(20));
        write!(
            said,
            "method:{number}[ basic.publish u16:0 u8[\"{exchange}\"] u8[\"{key}\"] 0{mandatory} ] "
        )
        .ok();
        let body = body(random);
        let properties = properties(random);
        let size = body.len();
        write!(said, "header:{number}[ u16:60 u16:0 u64:{size} {properties} ] ").ok();
        for piece in pieces(&body, self.frame_bytes_max, random) {
            write!(said, "body:{number}[ {} ] ", hexadecimal(piece)).ok();
        }
        self.channel(number).published += 1;
    }

    fn settle(&mut self, number: u16, random: &mut Random, said: &mut String) {
        let channel = self.channel(number);
        if channel.unsettled.is_empty() {
            return;
        }
        let at = random.below(channel.unsettled.len());
        let tag = channel.unsettled[at];
        let multiple = random.chance(25);
        let settled: Vec<u64> = if multiple {
            channel.unsettled.drain(..=at).collect()
        } else {
            vec![channel.unsettled.remove(at)]
        };
        if number == TRANSACTIONAL {
            channel.held.extend(settled);
        }
        let (requeue, many) = (u8::from(random.chance(50)) * 2, u8::from(multiple));
        match random.below(4) {
            0 if !multiple => {
                let requeue = requeue / 2;
                write!(said, "method:{number}[ basic.reject u64:{tag} 0{requeue} ] ").ok()
            }
            1 => {
                let bits = requeue | many;
                write!(said, "method:{number}[ basic.nack u64:{tag} 0{bits} ] ").ok()
            }
            _ => write!(said, "method:{number}[ basic.ack u64:{tag} 0{many} ] ").ok(),
        };
    }

    /// A tag of 0 or `basic.recover`: everything that is outstanding. Only the latter is answered,
    /// so it always ends it: what is heard before that answer may have been settled on the way.
    fn settle_all(&mut self, number: u16, random: &mut Random, said: &mut String) {
        let channel = self.channel(number);
        channel.unsettled.clear();
        channel.recovers += 1;
        match random.below(3) {
            0 => drop(write!(said, "method:{number}[ basic.ack u64:0 01 ] ")),
            1 => drop(write!(said, "method:{number}[ basic.nack u64:0 03 ] ")),
            _ => {}
        }
        write!(said, "method:{number}[ basic.recover 01 ] ").ok();
    }

    fn consume(&mut self, number: u16, random: &mut Random, said: &mut String) {
        let queue = self.queue(random);
        self.tags_made += 1;
        let no_ack = random.chance(30);
        let tag = format!("{}{}", if no_ack { 'n' } else { 'a' }, self.tags_made);
        let bits = u8::from(no_ack) * 2 + u8::from(random.chance(5)) * 4;
        let priority = match random.below(3) {
            0 => format!("u8[\"x-priority\"] \"I\" u32:{}", random.below(5)),
            _ => String::new(),
        };
        write!(
            said,
            "method:{number}[ basic.consume u16:0 u8[\"{queue}\"] u8[\"{tag}\"] 0{bits} \
             u32[ {priority} ] ] "
        )
        .ok();
        self.channel(number).consumers.push(tag);
    }

    fn cancel(&mut self, number: u16, random: &mut Random, said: &mut String) {
        let channel = self.channel(number);
        if channel.consumers.is_empty() {
            return;
        }
        let at = random.below(channel.consumers.len());
        let tag = channel.consumers.remove(at);
        write!(said, "method:{number}[ basic.cancel u8[\"{tag}\"] 00 ] ").ok();
    }

    fn end_transaction(&mut self, random: &mut Random, said: &mut String) {
        let channel = self.channel(TRANSACTIONAL);
        let how = if random.chance(70) {
            channel.held.clear();
            "commit"
        } else {
            channel.unsettled.append(&mut channel.held);
            channel.unsettled.sort_unstable();
            "rollback"
        };
        write!(said, "method:{TRANSACTIONAL}[ tx.{how} ] ").ok();
    }

    /// Deletes and purges: rarely, for then there is nothing to deliver.
    fn discard(number: u16, random: &mut Random, said: &mut String) {
        let (queue, exchange) = (names::queue(random), random.pick(&EXCHANGES[..8]).0);
        match random.below(4) {
            0 => write!(said, "method:{number}[ queue.delete u16:0 u8[\"{queue}\"] 00 ] ").ok(),
            1 => {
                write!(said, "method:{number}[ exchange.delete u16:0 u8[\"{exchange}\"] 00 ] ").ok()
            }
            _ => write!(said, "method:{number}[ queue.purge u16:0 u8[\"{queue}\"] 00 ] ").ok(),
        };
    }

    fn on_frame(&mut self, frame: &[u8]) -> Result<(), String> {
        let [kind, high, low, _, _, _, _, payload @ .., _] = frame else {
            return Err("it is told that its header is wrong".into());
        };
        let number = u16::from_be_bytes([*high, *low]);
        if number == 0 {
            return self.on_connection(payload);
        }
        let frame_bytes_max = self.frame_bytes_max;
        if frame.len() > frame_bytes_max {
            return Err(format!("a frame of {} octets is over frame_max", frame.len()));
        }
        match kind {
            1 => self.on_method(number, payload),
            2 => {
                let size = payload.get(4..12).and_then(|size| size.try_into().ok());
                let size = u64::from_be_bytes(size.ok_or("a short header")?);
                self.channel(number).on_content(Some(size), &[])
            }
            3 => self.channel(number).on_content(None, payload),
            _ => Ok(()),
        }
    }

    fn on_connection(&mut self, payload: &[u8]) -> Result<(), String> {
        match payload {
            [0, 10, 0, 41, ..] => {
                self.is_open = true;
                Ok(())
            }
            [0, 10, 0, 50, code @ ..] => {
                let code = code.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
                let text = String::from_utf8_lossy(payload);
                // The broker goes down; queues of a quorum and a limit for all are no match.
                if code == 320 || text.contains("does not support global qos") {
                    self.is_open = false;
                    return Ok(());
                }
                Err(format!("a client that keeps to the rules is closed: {text}"))
            }
            _ => Ok(()),
        }
    }

    fn on_method(&mut self, number: u16, payload: &[u8]) -> Result<(), String> {
        let channel = &mut self.channels[usize::from(number) - 1];
        let rest = payload.get(4..).unwrap_or_default();
        let tag = |octets: &[u8]| octets.first_chunk().map_or(0, |tag| u64::from_be_bytes(*tag));
        match payload {
            [0, 20, 0, 11, ..] => channel.state = State::Open,
            [0, 20, 0, 40, ..] => {
                write!(self.owed, "method:{number}[ channel.close-ok ] ").ok();
                let text = String::from_utf8_lossy(rest);
                if text.contains("unknown delivery tag") || text.contains("INTERNAL") {
                    return Err(format!("channel {number} is closed: {text}"));
                }
                // A close of ours that crossed it is answered, too.
                if channel.state != State::Closing {
                    *channel = Channel::default();
                }
            }
            [0, 20, 0, 41, ..] => *channel = Channel::default(),
            [0, 60, 0, 60, len, fields @ ..] => {
                let (consumer, fields) = fields.split_at(usize::from(*len).min(fields.len()));
                channel.on_delivered(tag(fields), consumer.first() == Some(&b'n'))?;
            }
            [0, 60, 0, 71, ..] => {
                let no_ack = channel.gets.pop_front().ok_or("a get-ok that nobody asked for")?;
                channel.on_delivered(tag(rest), no_ack)?;
            }
            [0, 60, 0, 72, ..] => {
                channel.gets.pop_front().ok_or("a get-empty that nobody asked for")?;
            }
            [0, 60, 0, 80, ..] => channel.on_confirmed(tag(rest), rest.get(8) == Some(&1))?,
            [0, 60, 0, 111, ..] => channel.recovers = channel.recovers.saturating_sub(1),
            [0, 60, 0, 120, ..] => channel.refused.push(tag(rest)),
            _ => {}
        }
        Ok(())
    }
}

impl Channel {
    fn on_delivered(&mut self, tag: u64, no_ack: bool) -> Result<(), String> {
        if tag != self.delivered + 1 {
            return Err(format!("delivery {tag} follows {}", self.delivered));
        }
        self.delivered = tag;
        if !no_ack && self.recovers == 0 {
            self.unsettled.push(tag);
        }
        Ok(())
    }

    fn on_confirmed(&mut self, tag: u64, multiple: bool) -> Result<(), String> {
        self.refused.sort_unstable();
        let mut next = self.confirmed + 1;
        while self.refused.first() == Some(&next) {
            self.refused.remove(0);
            next += 1;
        }
        if tag < next || tag > self.published || (!multiple && tag != next) {
            return Err(format!(
                "publish {tag} is confirmed, {next} of {} is next",
                self.published
            ));
        }
        self.confirmed = tag;
        Ok(())
    }

    fn on_content(&mut self, size: Option<u64>, piece: &[u8]) -> Result<(), String> {
        let (size, mut body) = match (size, self.content.take()) {
            (Some(size), None) => (size, Vec::new()),
            (None, Some(content)) => content,
            _ => return Err("a header or body where there must be another frame".into()),
        };
        body.extend_from_slice(piece);
        match size.cmp(&(body.len() as u64)) {
            std::cmp::Ordering::Less => Err("a body is longer than announced".into()),
            std::cmp::Ordering::Equal => check_body(&body),
            std::cmp::Ordering::Greater => {
                self.content = Some((size, body));
                Ok(())
            }
        }
    }
}

impl Speaker for Amqp {
    fn say(&mut self, random: &mut Random) -> Vec<u8> {
        let mut said = std::mem::take(&mut self.owed);
        if self.is_open {
            for _ in 0..random.between(1, 10) {
                if self.operations > 0 && self.is_open {
                    self.operations -= 1;
                    self.operate(random, &mut said);
                }
            }
        } else {
            self.operations = self.operations.saturating_sub(1);
        }
        octets(&said)
    }

    fn hear(&mut self, octets: &[u8]) -> Result<(), String> {
        self.heard.extend_from_slice(octets);
        while let Some(frame) = frames::take(Protocol::Amqp, &mut self.heard)? {
            self.on_frame(&frame)?;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.operations == 0 && self.owed.is_empty()
    }

    fn reconnect(&mut self) {
        self.heard.clear();
        self.channels = (0..CHANNELS).map(|_| Channel::default()).collect();
        self.is_open = false;
        self.is_prepared = false;
        let frame_max = self.frame_bytes_max;
        self.owed = format!(
            "\"AMQP\" 00 00 09 01 \
             method:0[ connection.start-ok u32[ u8[\"capabilities\"] \"F\" u32[ \
             u8[\"consumer_cancel_notify\"] \"t\" 01 u8[\"connection.blocked\"] \"t\" 01 ] ] \
             u8[\"PLAIN\"] u32[\"\\0guest\\0guest\"] u8[\"en_US\"] ] \
             method:0[ connection.tune-ok u16:2047 u32:{frame_max} u16:0 ] \
             method:0[ connection.open u8[\"/\"] u8[] 00 ] "
        );
    }

    fn is_calm(&self) -> bool {
        self.is_open
    }

    fn check_end(&self) -> Result<(), String> {
        let confirming = &self.channels[usize::from(CONFIRMING) - 1];
        if !self.is_open || confirming.state != State::Open {
            return Ok(());
        }
        let is_refused = |number: &u64| confirming.refused.contains(number);
        let mut missing = confirming.confirmed + 1..=confirming.published;
        match missing.find(|number| !is_refused(number)) {
            Some(number) => Err(format!("publish {number} is never confirmed")),
            None => Ok(()),
        }
    }
}

fn declare_queue(number: u16, declaration: &(&str, &str, &str), said: &mut String) {
    let (name, bits, arguments) = declaration;
    write!(
        said,
        "method:{number}[ queue.declare u16:0 u8[\"{name}\"] {bits} u32[ {arguments} ] ] "
    )
    .ok();
}

fn declare_exchange(number: u16, declaration: &(&str, &str, &str, &str), said: &mut String) {
    let (name, kind, bits, arguments) = declaration;
    write!(
        said,
        "method:{number}[ exchange.declare u16:0 u8[\"{name}\"] u8[\"{kind}\"] {bits} \
         u32[ {arguments} ] ] "
    )
    .ok();
}

fn bind(number: u16, queue: &str, random: &mut Random, said: &mut String) {
    let (source, kind, ..) = *random.pick(&EXCHANGES);
    let key = match kind {
        "x-consistent-hash" => random.between(1, 4).to_string(),
        "topic" => names::pattern(random),
        _ => names::key(random),
    };
    let arguments = match (kind, random.below(3)) {
        ("headers", 0) => r#"u8["x-match"] "S" u32["any"] u8["f"] "I" u32:1"#,
        ("headers", _) => r#"u8["f"] "V""#,
        _ => "",
    };
    let unbinds = random.chance(20);
    let method = if random.chance(30) {
        let destination = random.pick(&EXCHANGES).0;
        let method = if unbinds { "unbind" } else { "bind" };
        format!(
            "exchange.{method} u16:0 u8[\"{destination}\"] u8[\"{source}\"] u8[\"{key}\"] 00 \
             u32[ {arguments} ]"
        )
    } else {
        let (method, bits) = if unbinds { ("unbind", "") } else { ("bind", "00") };
        format!(
            "queue.{method} u16:0 u8[\"{queue}\"] u8[\"{source}\"] u8[\"{key}\"] {bits} \
             u32[ {arguments} ]"
        )
    };
    write!(said, "method:{number}[ {method} ] ").ok();
}

/// A property list: flags, then headers, delivery mode, priority and expiration where there are.
fn properties(random: &mut Random) -> String {
    let (mut flags, mut list) = (0_u16, String::new());
    if random.chance(30) {
        flags |= 0x2000;
        let header = match random.below(3) {
            0 => {
                let (queue, other) = (names::queue(random), names::queue(random));
                format!("u8[\"CC\"] \"A\" u32[ \"S\" u32[\"{queue}\"] \"S\" u32[\"{other}\"] ]")
            }
            1 => format!("u8[\"BCC\"] \"A\" u32[ \"S\" u32[\"{}\"] ]", names::queue(random)),
            _ => "u8[\"f\"] \"I\" u32:1".to_owned(),
        };
        write!(list, "u32[ {header} ] ").ok();
    }
    if random.chance(50) {
        flags |= 0x1000;
        list.push_str("02 ");
    }
    if random.chance(20) {
        flags |= 0x0800;
        write!(list, "{:02x} ", random.below(10)).ok();
    }
    if random.chance(20) {
        flags |= 0x0100;
        write!(list, "u8[\"{}\"] ", random.pick(&[0, 1, 300, 5000])).ok();
    }
    format!("{flags:04x} {list}")
}

/// A body in frames, as large as they may be or of any size.
fn pieces<'b>(body: &'b [u8], frame_bytes_max: usize, random: &mut Random) -> Vec<&'b [u8]> {
    const OVERHEAD: usize = 8;
    let largest = frame_bytes_max - OVERHEAD;
    let size = if random.chance(80) { largest } else { random.between(1, 50).max(body.len() / 20) };
    body.chunks(size.min(largest)).collect()
}

fn octets(said: &str) -> Vec<u8> {
    let pattern = assembler::parse(said).unwrap_or_else(|error| panic!("{error} in {said}"));
    pattern.fill(&Names::new()).unwrap_or_else(|error| panic!("{error} in {said}"))
}
