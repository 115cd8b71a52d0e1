//! The clients. Each goes on until its connection breaks, and says what it was promised.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;

use super::verify::Found;
use crate::wire::{Amqp, Peer, message};

/// Publishes that wait for their confirms.
const WINDOW: u64 = 50;

/// Messages of one transaction.
pub(super) const TOGETHER: u64 = 3;

/// A queue of each part of the load, with its arguments as a table of AMQP.
pub(super) const QUEUES: [(&str, &[u8]); 10] = [
    ("confirmed", b""),
    ("transacted", b""),
    ("work", b""),
    ("done", b""),
    ("qos1", b""),
    ("qos2", b""),
    ("receipts", b""),
    ("committed", b""),
    (
        "rejected",
        b"\x16x-dead-letter-exchangeS\0\0\0\0\x19x-dead-letter-routing-keyS\0\0\0\x04dead",
    ),
    ("dead", b""),
];

/// Every queue of the load, durable.
pub(super) fn declare_all(address: SocketAddr) {
    let mut amqp = Amqp::open(address).expect("guest may log in");
    for (queue, table) in QUEUES {
        amqp.declare(queue, table).expect("the queue is there");
    }
}

/// What clients were promised, by queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Promised {
    /// Numbers that must be there.
    pub(super) kept: BTreeMap<&'static str, BTreeSet<u64>>,
    /// Numbers that must not be there again.
    pub(super) gone: BTreeMap<&'static str, BTreeSet<u64>>,
    /// The next number of every queue.
    next: u64,
}

impl Promised {
    pub(super) fn count(&self) -> usize {
        self.kept.values().chain(self.gone.values()).map(BTreeSet::len).sum()
    }

    /// After everything was taken and acknowledged: none of it may come back.
    pub(super) fn forget(self, found: &Found) -> Self {
        let gone = found.iter().map(|(queue, numbers)| (*queue, numbers.iter().copied().collect()));
        Self { kept: BTreeMap::new(), gone: gone.collect(), next: self.next }
    }
}

/// What one client was promised.
#[derive(Debug, Default)]
struct Heard {
    kept: Vec<(&'static str, u64)>,
    gone: Vec<(&'static str, u64)>,
    next: u64,
}

/// What a client does until its connection breaks; where AMQP, MQTT and STOMP are spoken.
type Client = fn([SocketAddr; 3], &mut Heard) -> io::Result<()>;

/// The load that runs.
pub(super) struct Load(Vec<JoinHandle<Heard>>);

impl Load {
    /// What everybody was promised, once the broker is gone.
    pub(super) fn end(self, mut promised: Promised) -> Promised {
        for client in self.0 {
            let Heard { kept, gone, next } = client.join().expect("a client does not panic");
            for (queue, number) in kept {
                promised.kept.entry(queue).or_default().insert(number);
            }
            for (queue, number) in gone {
                promised.gone.entry(queue).or_default().insert(number);
            }
            promised.next = promised.next.max(next);
        }
        promised
    }
}

/// Starts one client of each kind; numbers go on where they ended.
pub(super) fn start([amqp, mqtt, stomp]: [SocketAddr; 3], promised: &Promised) -> Load {
    let first = promised.next + 1;
    let clients: [Client; 9] = [
        |doors, kept| confirmed(doors[0], "confirmed", kept),
        |doors, kept| confirmed(doors[0], "work", kept),
        |doors, kept| confirmed(doors[0], "rejected", kept),
        |doors, kept| transacted(doors[0], kept),
        |doors, kept| worker(doors[0], kept),
        |doors, kept| rejecter(doors[0], kept),
        |doors, kept| published(doors[1], kept),
        |doors, kept| receipts(doors[2], kept),
        |doors, kept| committed(doors[2], kept),
    ];
    Load(
        clients
            .map(|client| {
                std::thread::spawn(move || {
                    let mut kept = Heard { next: first, ..Heard::default() };
                    let ended = client([amqp, mqtt, stomp], &mut kept);
                    assert!(ended.is_err(), "it goes on until the broker is gone");
                    kept
                })
            })
            .into(),
    )
}

fn text(number: u64) -> String {
    format!("{number:08}")
}

fn confirmed(address: SocketAddr, queue: &'static str, kept: &mut Heard) -> io::Result<()> {
    let mut amqp = Amqp::open(address)?;
    amqp.select(85)?;
    let (first, mut through) = (kept.next, 0);
    loop {
        while kept.next - first - through < WINDOW {
            amqp.send(&message(queue, &text(kept.next)))?;
            kept.next += 1;
        }
        let arguments = amqp.until(60, 80)?;
        let tag = arguments[..8].iter().fold(0, |tag, byte| tag << 8 | u64::from(*byte));
        let from = if arguments[8] == 1 { through + 1 } else { tag };
        kept.kept.extend((from..=tag).map(|tag| (queue, first + tag - 1)));
        through = through.max(tag);
    }
}

fn transacted(address: SocketAddr, kept: &mut Heard) -> io::Result<()> {
    let mut amqp = Amqp::open(address)?;
    amqp.select(90)?;
    kept.next = kept.next.next_multiple_of(TOGETHER);
    loop {
        let numbers = kept.next..kept.next + TOGETHER;
        kept.next += TOGETHER;
        for number in numbers.clone() {
            amqp.send(&message("transacted", &text(number)))?;
        }
        amqp.commit()?;
        kept.kept.extend(numbers.map(|number| ("transacted", number)));
    }
}

/// Moves messages from one queue to another, each in a transaction.
fn worker(address: SocketAddr, kept: &mut Heard) -> io::Result<()> {
    let mut amqp = Amqp::open(address)?;
    amqp.select(90)?;
    loop {
        let Some((tag, body)) = amqp.get("work")? else { continue };
        amqp.send(&message("done", &body))?;
        amqp.acknowledge(tag, false)?;
        amqp.commit()?;
        let number = body.parse().expect("bodies are numbers");
        kept.kept.push(("done", number));
        kept.gone.push(("work", number));
    }
}

/// Dead-letters one after the other. Nobody promises when that is durable: it is whole at any time.
fn rejecter(address: SocketAddr, _: &mut Heard) -> io::Result<()> {
    let mut amqp = Amqp::open(address)?;
    loop {
        if let Some((tag, _)) = amqp.get("rejected")? {
            amqp.reject(tag)?;
        }
    }
}

/// MQTT at QoS 1 and 2 in turns, a few at a time.
fn published(address: SocketAddr, kept: &mut Heard) -> io::Result<()> {
    let mut peer = Peer::connect(address)?;
    peer.send(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01k")?;
    peer.packet()?;
    loop {
        let first = kept.next;
        kept.next += 20;
        let mut sent = Vec::new();
        for number in first..kept.next {
            let id = number % 60_000 + 1;
            let (qos, queue) = if number % 2 == 0 { (1, "qos1") } else { (2, "qos2") };
            let topic = format!("$queue/{queue}");
            let body = text(number);
            let len = u8::try_from(2 + topic.len() + 2 + body.len()).expect("a small packet");
            let topic_len = u8::try_from(topic.len()).expect("a short topic");
            let id = [u8::try_from(id / 256).expect("two"), u8::try_from(id % 256).expect("two")];
            sent.extend([0x30 | qos << 1, len, 0, topic_len]);
            sent.extend(topic.as_bytes());
            sent.extend(id);
            sent.extend(body.as_bytes());
        }
        peer.send(&sent)?;
        let mut waiting: BTreeSet<u64> = (first..kept.next).collect();
        while !waiting.is_empty() {
            let packet = peer.packet()?;
            let id = u64::from(packet[2]) * 256 + u64::from(packet[3]);
            let number = (first..kept.next).find(|number| number % 60_000 + 1 == id);
            let number = number.expect("only what was sent is answered");
            match packet[0] >> 4 {
                // PUBREC is the promise; PUBCOMP follows PUBREL.
                5 => {
                    kept.kept.push(("qos2", number));
                    peer.send(&[0x62, 2, packet[2], packet[3]])?;
                }
                4 => {
                    kept.kept.push(("qos1", number));
                    waiting.remove(&number);
                }
                _ => drop(waiting.remove(&number)),
            }
        }
    }
}

fn stomp(address: SocketAddr) -> io::Result<Peer> {
    let mut peer = Peer::connect(address)?;
    peer.send(b"CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0")?;
    peer.stomp_frame()?;
    Ok(peer)
}

fn send(queue: &str, number: u64, more: &str) -> String {
    let head = format!("SEND\ndestination:/amq/queue/{queue}\npersistent:true\n{more}\n");
    format!("{head}{}\0", text(number))
}

/// Waits for the receipt that is called as this number.
fn wait(peer: &mut Peer, number: u64) -> io::Result<()> {
    let wanted = format!("receipt-id:{number}\n");
    while !peer.stomp_frame()?.contains(&wanted) {}
    Ok(())
}

fn receipts(address: SocketAddr, kept: &mut Heard) -> io::Result<()> {
    let mut peer = stomp(address)?;
    loop {
        let numbers = kept.next..kept.next + 10;
        kept.next += 10;
        for number in numbers.clone() {
            peer.send(send("receipts", number, &format!("receipt:{number}\n")).as_bytes())?;
        }
        for number in numbers {
            wait(&mut peer, number)?;
            kept.kept.push(("receipts", number));
        }
    }
}

fn committed(address: SocketAddr, kept: &mut Heard) -> io::Result<()> {
    let mut peer = stomp(address)?;
    kept.next = kept.next.next_multiple_of(TOGETHER);
    loop {
        let first = kept.next;
        kept.next += TOGETHER;
        peer.send(format!("BEGIN\ntransaction:{first}\n\n\0").as_bytes())?;
        for number in first..kept.next {
            let frame = send("committed", number, &format!("transaction:{first}\n"));
            peer.send(frame.as_bytes())?;
        }
        peer.send(format!("COMMIT\ntransaction:{first}\nreceipt:{first}\n\n\0").as_bytes())?;
        wait(&mut peer, first)?;
        kept.kept.extend((first..kept.next).map(|number| ("committed", number)));
    }
}
