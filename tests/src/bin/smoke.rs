//! A smoke benchmark: one publisher and one consumer on each protocol, 16-byte bodies, against a
//! running gateway. Prints a JSON line a protocol: messages delivered a second, and the CPU that
//! the broker spent on each.
//!
//! ```text
//! smoke [--pid PID] [--seconds N] [--amqp ADDRESS|off] [--mqtt ADDRESS|off] [--stomp ADDRESS|off]
//! ```
//!
//! Raw sockets and frames made once, so that the clients cost little beside the broker. It says
//! whether something got much slower, not how fast the broker is: the load is one core's worth.

use std::fmt::Display;
use std::io::{self, Read, Write, stdout};
use std::net::{Shutdown, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const BODY: &[u8; 16] = b"0123456789abcdef";

/// Messages in one write of the publisher.
const BURST: u64 = 100;

/// Messages published and not delivered yet: the publisher waits beyond it, so that the queue
/// stays short whoever is faster.
const WINDOW: u64 = 10_000;

/// Before counting begins.
const WARM_UP: Duration = Duration::from_millis(500);

/// How one protocol opens its two connections, and what a message is on the wire.
struct Wire {
    name: &'static str,
    address: String,
    /// What the consumer sends, and the last octets that the broker answers to it.
    subscribe: Vec<(Vec<u8>, &'static [u8])>,
    /// What the publisher sends before its first message, and the end of the answers.
    open: Vec<(Vec<u8>, &'static [u8])>,
    publish: Vec<u8>,
    /// What every delivery ends with, and what stands nowhere else in it.
    delivery_end: &'static [u8],
}

fn main() -> ExitCode {
    match Settings::read(std::env::args().skip(1)).and_then(|settings| settings.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(io::stderr(), "smoke: {error}").ok();
            ExitCode::from(2)
        }
    }
}

struct Settings {
    pid: Option<u32>,
    measure: Duration,
    wires: Vec<Wire>,
}

impl Settings {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut pid, mut seconds) = (None, 3);
        let mut wires = vec![amqp(), mqtt(), stomp()];
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = || value.parse().map_err(|_| format!("{name} {value}: not a number"));
            match name.trim_start_matches("--") {
                "pid" => pid = Some(number()?),
                "seconds" => seconds = number()?,
                protocol => {
                    let known = wires.iter_mut().find(|wire| wire.name == protocol);
                    known.ok_or_else(|| format!("unknown argument {name}"))?.address = value;
                }
            }
        }
        wires.retain(|wire| wire.address != "off");
        Ok(Self { pid, measure: Duration::from_secs(seconds.into()), wires })
    }

    fn run(&self) -> Result<(), String> {
        for wire in &self.wires {
            let named = |error: &dyn Display| format!("{} at {}: {error}", wire.name, wire.address);
            let result = measure(wire, self.measure, self.pid).map_err(|error| named(&error))?;
            let cpu = result.cpu.map(|cpu| cpu.as_nanos() / u128::from(result.messages));
            let cpu = cpu.map_or_else(|| "null".to_owned(), |cpu| cpu.to_string());
            let rate = u128::from(result.messages) * 1000 / result.elapsed.as_millis().max(1);
            let name = wire.name;
            writeln!(
                stdout(),
                "{{\"protocol\":\"{name}\",\"messages_per_second\":{rate},\
                 \"broker_cpu_ns_per_message\":{cpu}}}"
            )
            .map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

struct Measured {
    messages: u64,
    elapsed: Duration,
    /// Unknown without `--pid`.
    cpu: Option<Duration>,
}

fn measure(wire: &Wire, span: Duration, pid: Option<u32>) -> io::Result<Measured> {
    let consumer = connect(wire, &wire.subscribe)?;
    let publisher = connect(wire, &wire.open)?;
    let (received, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let result = thread::scope(|scope| {
        scope.spawn(|| consume(&consumer, wire.delivery_end, &received));
        scope.spawn(|| publish(&publisher, &wire.publish, &received, &stop));
        thread::sleep(WARM_UP);
        let (start, before) = (Instant::now(), received.load(Ordering::Relaxed));
        let cpu_before = pid.map(cpu_time).transpose();
        thread::sleep(span);
        let messages = received.load(Ordering::Relaxed) - before;
        let cpu_after = pid.map(cpu_time).transpose();
        let elapsed = start.elapsed();
        stop.store(true, Ordering::Relaxed);
        publisher.shutdown(Shutdown::Both).ok();
        consumer.shutdown(Shutdown::Both).ok();
        let cpu = cpu_after?.zip(cpu_before?).map(|(after, before)| after.saturating_sub(before));
        Ok(Measured { messages, elapsed, cpu })
    });
    match result {
        Ok(Measured { messages: 0, .. }) => Err(io::Error::other("nothing was delivered")),
        result => result,
    }
}

fn connect(wire: &Wire, conversation: &[(Vec<u8>, &'static [u8])]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(&wire.address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    for (sent, end) in conversation {
        stream.write_all(sent)?;
        let mut read = Vec::new();
        while !read.ends_with(end) {
            let mut buffer = [0; 4096];
            let length = stream.read(&mut buffer)?;
            read.extend_from_slice(&buffer[..length]);
            if length == 0 {
                return Err(io::Error::other(format!("closed after {}", read.escape_ascii())));
            }
        }
    }
    Ok(stream)
}

/// Publishes bursts until told to stop, and no further ahead than [`WINDOW`].
fn publish(mut stream: &TcpStream, message: &[u8], received: &AtomicU64, stop: &AtomicBool) {
    let burst = message.repeat(usize::try_from(BURST).expect("a small number"));
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        if sent - received.load(Ordering::Relaxed).min(sent) > WINDOW {
            thread::sleep(Duration::from_micros(200));
        } else if stream.write_all(&burst).is_ok() {
            sent += BURST;
        } else {
            return;
        }
    }
}

/// Counts deliveries until the connection ends.
fn consume(mut stream: &TcpStream, delivery_end: &[u8], received: &AtomicU64) {
    let (mut buffer, mut kept) = (vec![0; 256 * 1024], 0);
    while let Ok(length @ 1..) = stream.read(&mut buffer[kept..]) {
        let filled = kept + length;
        let (mut from, mut count) = (0, 0);
        while let Some(at) = find(&buffer[from..filled], delivery_end) {
            from += at + delivery_end.len();
            count += 1;
        }
        received.fetch_add(count, Ordering::Relaxed);
        // The beginning of an end may stand at the end of what was read.
        let tail = filled - from.max(filled.saturating_sub(delivery_end.len() - 1));
        buffer.copy_within(filled - tail..filled, 0);
        kept = tail;
    }
}

/// Where `wanted` begins: a search for its last octet, which is rare.
fn find(read: &[u8], wanted: &[u8]) -> Option<usize> {
    let (last, before) = wanted.split_last()?;
    let mut at = before.len();
    loop {
        at += read.get(at..)?.iter().position(|octet| octet == last)?;
        let start = at - before.len();
        if read[start..at] == *before {
            return Some(start);
        }
        at += 1;
    }
}

/// CPU time of all threads of a process, from Linux's scheduler.
fn cpu_time(pid: u32) -> io::Result<Duration> {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let statistics = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let run = statistics.split(' ').next().and_then(|run| run.parse::<u64>().ok());
        nanoseconds += run.ok_or_else(|| io::Error::other("schedstat is not what it was"))?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// An AMQP method frame on `channel`.
fn method(channel: u8, ids: [u8; 4], arguments: &[u8]) -> Vec<u8> {
    frame(1, channel, &[&ids, arguments].concat())
}

fn frame(kind: u8, channel: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&[kind, 0, channel], &length[..], payload, &[0xCE]].concat()
}

fn amqp() -> Wire {
    let start_ok = b"\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US";
    let open = vec![
        (b"AMQP\0\0\x09\x01".to_vec(), &b"en_US\xce"[..]),
        (method(0, [0, 10, 0, 11], start_ok), b"\xce"),
        (
            [
                method(0, [0, 10, 0, 31], b"\0\x0a\0\x02\0\0\0\0"),
                method(0, [0, 10, 0, 40], b"\x01/\0\0"),
                method(1, [0, 20, 0, 10], b"\0"),
            ]
            .concat(),
            b"\0\x14\0\x0b\0\0\0\0\xce",
        ),
    ];
    let mut subscribe = open.clone();
    subscribe.push((
        [
            // Exclusive: it goes with the connection.
            method(1, [0, 50, 0, 10], b"\0\0\x05smoke\x04\0\0\0\0"),
            // No acknowledgements.
            method(1, [0, 60, 0, 20], b"\0\0\x05smoke\x01c\x02\0\0\0\0"),
        ]
        .concat(),
        b"\0\x3c\0\x15\x01c\xce",
    ));
    let header = [&[0, 60, 0, 0][..], &16_u64.to_be_bytes(), &[0, 0]].concat();
    Wire {
        name: "amqp",
        address: "127.0.0.1:5672".to_owned(),
        subscribe,
        open,
        publish: [
            method(1, [0, 60, 0, 40], b"\0\0\0\x05smoke\0"),
            frame(2, 1, &header),
            frame(3, 1, BODY),
        ]
        .concat(),
        delivery_end: b"0123456789abcdef\xce",
    }
}

fn mqtt() -> Wire {
    let connect = |id: u8| {
        (vec![0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 1, id], &b"\x20\x02\0\0"[..])
    };
    Wire {
        name: "mqtt",
        address: "127.0.0.1:1883".to_owned(),
        subscribe: vec![
            connect(b's'),
            (b"\x82\x0a\0\x01\0\x05smoke\0".to_vec(), b"\x90\x03\0\x01\0"),
        ],
        open: vec![connect(b'p')],
        publish: [&b"\x30\x17\0\x05smoke"[..], BODY].concat(),
        delivery_end: BODY,
    }
}

fn stomp() -> Wire {
    let connect = b"CONNECT\naccept-version:1.2\nhost:/\n\n\0";
    let subscribe = b"SUBSCRIBE\nid:0\ndestination:/topic/smoke\nreceipt:s\n\n\0";
    Wire {
        name: "stomp",
        address: "127.0.0.1:61613".to_owned(),
        subscribe: vec![(connect.to_vec(), b"\n\n\0"), (subscribe.to_vec(), b"receipt-id:s\n\n\0")],
        open: vec![(connect.to_vec(), b"\n\n\0")],
        publish: [&b"SEND\ndestination:/topic/smoke\n\n"[..], BODY, b"\0"].concat(),
        delivery_end: b"0123456789abcdef\0",
    }
}
