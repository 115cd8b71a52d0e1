//! Clients that keep to the rules while others do not: numbered messages, each of which must
//! arrive once, in order and in time.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::gateway::{Door, Doors};
use crate::pipe::{Pipe, is_timeout};
use crate::random::Random;
use crate::wire::{amqp, mqtt, stomp};

/// From publish to delivery, at most.
pub(crate) const LATENCY_MAX: Duration = Duration::from_secs(2);

/// When a message counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(15);

/// Between two bursts.
const PAUSE: Duration = Duration::from_millis(20);

/// Messages in one burst, at most.
const BURST_MAX: usize = 12;

/// Octets of a message: its number and when it was sent, in hexadecimal.
const BODY_BYTES: usize = 32;

/// One publisher and one consumer.
pub(crate) struct Flow {
    pub(crate) name: &'static str,
    publisher: Wire,
    consumer: Wire,
    /// Confirms and messages that came.
    confirmed: u64,
    received: u64,
    /// Published so far.
    sent: u64,
}

/// What all flows together have seen.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) messages: AtomicU64,
    /// Microseconds from publish to delivery.
    latencies: Mutex<Vec<u32>>,
    failures: Mutex<Vec<String>>,
}

impl Ledger {
    pub(crate) fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The latencies from the `from`th on that 50, 99 and 100 of 100 stay within.
    pub(crate) fn latencies(&self, from: usize) -> (usize, [Duration; 3]) {
        let all = self.latencies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut late = all.get(from..).unwrap_or_default().to_vec();
        late.sort_unstable();
        let at = |percent: usize| {
            let index = (late.len() * percent / 100).min(late.len().saturating_sub(1));
            Duration::from_micros(late.get(index).copied().unwrap_or_default().into())
        };
        (all.len(), [at(50), at(99), at(100)])
    }
}

/// One end of a flow.
struct Wire {
    pipe: Pipe,
    speech: Speech,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    Amqp { key: &'static str },
    Mqtt { level: u8, topic: &'static str },
    Stomp { destination: &'static str },
}

impl Flow {
    /// Every flow there is, connected and subscribed.
    pub(crate) fn all(doors: &Doors) -> io::Result<Vec<Self>> {
        let amqp = || Pipe::tcp(doors, Door::Amqp, LOST_AFTER);
        let mqtt = || Pipe::tcp(doors, Door::Mqtt, LOST_AFTER);
        let stomp = || Pipe::tcp(doors, Door::Stomp, LOST_AFTER);
        let browser = || Pipe::websocket(doors, "/ws", "v12.stomp", LOST_AFTER);
        let queue = Speech::Amqp { key: "honest-amqp" };
        let three = Speech::Mqtt { level: 4, topic: "honest/three" };
        let five = Speech::Mqtt { level: 5, topic: "honest/five" };
        let crossing = Speech::Mqtt { level: 5, topic: "honest/crossing" };
        let work = Speech::Stomp { destination: "/queue/honest-stomp" };
        let topic = Speech::Stomp { destination: "/topic/honest.browser" };
        Ok(vec![
            Self::new("amqp", (amqp()?, queue), (amqp()?, queue))?,
            Self::new("mqtt 3.1.1", (mqtt()?, three), (mqtt()?, three))?,
            Self::new("mqtt 5", (mqtt()?, five), (mqtt()?, five))?,
            Self::new("stomp", (stomp()?, work), (stomp()?, work))?,
            Self::new("websocket", (browser()?, topic), (browser()?, topic))?,
            Self::new(
                "mqtt to amqp",
                (mqtt()?, crossing),
                (amqp()?, Speech::Amqp { key: "honest-crossing" }),
            )?,
        ])
    }

    fn new(
        name: &'static str,
        publisher: (Pipe, Speech),
        consumer: (Pipe, Speech),
    ) -> io::Result<Self> {
        let mut publisher = Wire { pipe: publisher.0, speech: publisher.1 };
        let mut consumer = Wire { pipe: consumer.0, speech: consumer.1 };
        consumer.log_in(&format!("honest consumer {name}"))?;
        consumer.subscribe()?;
        publisher.log_in(&format!("honest publisher {name}"))?;
        publisher.want_confirms()?;
        Ok(Self { name, publisher, consumer, confirmed: 0, received: 0, sent: 0 })
    }

    /// Sends bursts and waits for each until told to stop; what went wrong goes to the ledger.
    pub(crate) fn run(&mut self, mut random: Random, stop: &AtomicBool, ledger: &Ledger) {
        let clock = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let burst = random.between(1, BURST_MAX + 1);
            let exchanged = self.exchange(burst as u64, clock, ledger);
            if let Err(error) = exchanged {
                let (name, sent) = (self.name, self.sent);
                let (confirmed, received) = (self.confirmed, self.received);
                let failure = format!(
                    "{name}: {error} ({sent} sent, {confirmed} confirmed, {received} received)"
                );
                ledger.failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
                return;
            }
            thread::sleep(PAUSE);
        }
    }

    fn exchange(&mut self, burst: u64, clock: Instant, ledger: &Ledger) -> io::Result<()> {
        let mut octets = Vec::new();
        for number in self.sent..self.sent + burst {
            let now = u64::try_from(clock.elapsed().as_micros()).unwrap_or(u64::MAX);
            let body = format!("{number:016x}{now:016x}");
            self.publisher.write_message(number, body.as_bytes(), &mut octets);
        }
        self.publisher.pipe.send(&octets)?;
        self.sent += burst;
        while self.received < self.sent {
            let bodies = self.consumer.take_messages()?;
            for body in &bodies {
                self.check(body, clock, ledger)?;
            }
            if bodies.is_empty() {
                self.consumer.receive("a message")?;
            }
        }
        while self.confirmed < self.sent {
            self.confirmed = self.publisher.take_confirms(self.confirmed)?;
            if self.confirmed < self.sent {
                self.publisher.receive("a confirm")?;
            }
        }
        if self.consumer.take_messages()?.is_empty() {
            return Ok(());
        }
        Err(io::Error::other("a message that nobody sent"))
    }

    fn check(&mut self, body: &[u8], clock: Instant, ledger: &Ledger) -> io::Result<()> {
        let number = |at: usize| {
            let digits = body.get(at..at + 16).map(String::from_utf8_lossy)?;
            u64::from_str_radix(&digits, 16).ok()
        };
        let (Some(count), Some(sent)) = (number(0), number(16)) else {
            return Err(io::Error::other(format!("not our body: {}", body.escape_ascii())));
        };
        if count != self.received {
            let expected = self.received;
            return Err(io::Error::other(format!("message {count} instead of {expected}")));
        }
        self.received += 1;
        let latency = clock.elapsed().saturating_sub(Duration::from_micros(sent));
        let mut latencies = ledger.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        latencies.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
        ledger.messages.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Wire {
    fn receive(&mut self, what: &str) -> io::Result<()> {
        self.pipe.receive().map_err(|error| {
            let lost = is_timeout(&error);
            let why = if lost { "did not come".to_owned() } else { error.to_string() };
            io::Error::other(format!("{what}: {why}"))
        })
    }

    fn log_in(&mut self, client: &str) -> io::Result<()> {
        match self.speech {
            Speech::Amqp { .. } => {
                self.pipe.send(&amqp::login().concat())?;
                self.pipe.wait_for(amqp::OPEN_OK)?;
                self.pipe.send(&amqp::method(1, 20, 10, b"\0"))?;
                self.pipe.wait_for(b"\0\x14\0\x0b\0\0\0\0\xce")?;
            }
            Speech::Mqtt { level, .. } => {
                self.pipe.send(&mqtt::connect(level, client))?;
                self.pipe.wait_for(b"\x20")?;
            }
            Speech::Stomp { .. } => {
                self.pipe.send(stomp::CONNECT)?;
                self.pipe.wait_for(b"\n\n\0")?;
            }
        }
        Ok(())
    }

    fn want_confirms(&mut self) -> io::Result<()> {
        if matches!(self.speech, Speech::Amqp { .. }) {
            self.pipe.send(&amqp::method(1, 85, 10, b"\0"))?;
            self.pipe.wait_for(b"\0\x55\0\x0b\xce")?;
        }
        Ok(())
    }

    fn subscribe(&mut self) -> io::Result<()> {
        match self.speech {
            Speech::Amqp { key } => {
                // What MQTT clients publish goes through amq.topic.
                let names = [amqp::short(key), amqp::short("amq.topic")].concat();
                let bind = [b"\0\0", &names[..], &amqp::short("honest.crossing"), &[0; 5]].concat();
                let mut octets = amqp::declare(1, key);
                if key == "honest-crossing" {
                    octets.extend(amqp::method(1, 50, 20, &bind));
                }
                octets.extend(amqp::consume(1, key, 0));
                self.pipe.send(&octets)?;
                self.pipe.wait_for(b"\0\x3c\0\x15\x01c\xce")?;
            }
            Speech::Mqtt { level, topic } => {
                self.pipe.send(&mqtt::subscribe(level, topic, 1))?;
                let end: &[u8] =
                    if level == 5 { b"\x90\x04\0\x01\0\x01" } else { b"\x90\x03\0\x01\x01" };
                self.pipe.wait_for(end)?;
            }
            Speech::Stomp { destination } => {
                let frame = format!(
                    "SUBSCRIBE\nid:h\ndestination:{destination}\nack:client-individual\n\
                     receipt:s\n\n\0"
                );
                self.pipe.send(frame.as_bytes())?;
                self.pipe.wait_for(b"receipt-id:s\n\n\0")?;
            }
        }
        Ok(())
    }

    fn write_message(&self, number: u64, body: &[u8], octets: &mut Vec<u8>) {
        match self.speech {
            // Mandatory: what cannot be routed comes back, and fails the flow.
            Speech::Amqp { key } => {
                octets.extend(amqp::publish(1, "", key, 1));
                octets.extend(amqp::content(1, body));
            }
            Speech::Mqtt { level, topic } => {
                let id = u16::try_from(number % 60_000).unwrap_or_default() + 1;
                octets.extend(mqtt::publish(level, topic, Some(id), body));
            }
            Speech::Stomp { destination } => {
                let head = format!("SEND\ndestination:{destination}\nreceipt:{number}\n\n");
                octets.extend([head.as_bytes(), body, b"\0"].concat());
            }
        }
    }

    /// Bodies of the deliveries in the inbox, each of which is acknowledged.
    fn take_messages(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let (mut bodies, mut answers) = (Vec::new(), Vec::new());
        while let Some(unit) = self.take_unit() {
            match self.speech {
                Speech::Amqp { .. } => match (unit[0], unit.get(7..11)) {
                    (1, Some([0, 60, 0, 60])) => {
                        let tag = 12 + usize::from(unit[11]);
                        let ack = [&unit[tag..tag + 8], &[0]].concat();
                        answers.extend(amqp::method(1, 60, 80, &ack));
                    }
                    (2, _) => {}
                    (3, _) => bodies.push(unit[7..unit.len() - 1].to_vec()),
                    _ => return Err(unexpected(&unit)),
                },
                Speech::Mqtt { level, topic } => {
                    if unit[0] != 0x32 {
                        return Err(unexpected(&unit));
                    }
                    let id = unit.len() - BODY_BYTES - if level == 5 { 3 } else { 2 };
                    if unit.get(4..id) != Some(topic.as_bytes()) {
                        return Err(unexpected(&unit));
                    }
                    answers.extend([0x40, 2, unit[id], unit[id + 1]]);
                    bodies.push(unit[unit.len() - BODY_BYTES..].to_vec());
                }
                Speech::Stomp { .. } => {
                    let text = String::from_utf8_lossy(&unit).into_owned();
                    let ack = text.lines().find_map(|line| line.strip_prefix("ack:"));
                    let (true, Some(ack)) = (text.starts_with("MESSAGE\n"), ack) else {
                        return Err(unexpected(&unit));
                    };
                    answers.extend(format!("ACK\nid:{ack}\n\n\0").bytes());
                    bodies.push(unit[unit.len() - 1 - BODY_BYTES..unit.len() - 1].to_vec());
                }
            }
        }
        if !answers.is_empty() {
            self.pipe.send(&answers)?;
        }
        Ok(bodies)
    }

    /// How many publishes are confirmed, given that `confirmed` were.
    fn take_confirms(&mut self, mut confirmed: u64) -> io::Result<u64> {
        while let Some(unit) = self.take_unit() {
            match (self.speech, &*unit) {
                (Speech::Amqp { .. }, &[1, 0, 1, 0, 0, 0, 13, 0, 60, 0, 80, ref rest @ ..]) => {
                    let (tag, rest) =
                        rest.split_first_chunk::<8>().ok_or_else(|| unexpected(&unit))?;
                    let tag = u64::from_be_bytes(*tag);
                    let is_next = tag == confirmed + 1 || (rest[0] == 1 && tag > confirmed);
                    if !is_next {
                        return Err(unexpected(&unit));
                    }
                    confirmed = tag;
                }
                (Speech::Mqtt { .. }, &[0x40, 2, high, low]) => {
                    let expected = u16::try_from(confirmed % 60_000).unwrap_or_default() + 1;
                    if u16::from_be_bytes([high, low]) != expected {
                        return Err(unexpected(&unit));
                    }
                    confirmed += 1;
                }
                (Speech::Stomp { .. }, frame)
                    if *frame == *format!("RECEIPT\nreceipt-id:{confirmed}\n\n\0").as_bytes() =>
                {
                    confirmed += 1;
                }
                _ => return Err(unexpected(&unit)),
            }
        }
        Ok(confirmed)
    }

    /// The first whole frame or packet of the inbox.
    fn take_unit(&mut self) -> Option<Vec<u8>> {
        let inbox = &mut self.pipe.inbox;
        let length = match self.speech {
            Speech::Amqp { .. } => {
                let length = inbox.get(3..7)?.try_into().ok().map(u32::from_be_bytes)?;
                usize::try_from(length).ok()? + 8
            }
            // Ours are short: the length is one octet.
            Speech::Mqtt { .. } => usize::from(*inbox.get(1)?) + 2,
            Speech::Stomp { .. } => {
                let padding = inbox.iter().take_while(|&&octet| octet == b'\n').count();
                inbox.drain(..padding);
                inbox.iter().position(|&octet| octet == 0)? + 1
            }
        };
        (inbox.len() >= length).then(|| inbox.drain(..length).collect())
    }
}

fn unexpected(unit: &[u8]) -> io::Error {
    io::Error::other(format!("unexpected: {}", unit.escape_ascii()))
}
