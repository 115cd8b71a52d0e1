//! A backlog larger than memory may be: it stays on disk, and comes back whole and in order.
//!
//! `TRIVIUM_TEST_MESSAGES=1000000` makes it longer.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::program::{FREE_PORTS, Program};
use crate::restart::Folder;

const BODY_BYTES: usize = 128;

/// What `limits.memory` says.
const LIMIT_BYTES: u64 = 48 * 1024 * 1024;

/// Messages of 128 bytes that memory alone would not hold under that limit.
fn messages() -> u32 {
    let wanted = std::env::var("TRIVIUM_TEST_MESSAGES").ok();
    wanted.map_or(250_000, |count| count.parse().expect("it is a number"))
}

fn start(folder: &Folder) -> Program {
    let data = format!("--data={}", folder.path().display());
    let arguments: Vec<&str> = FREE_PORTS.iter().copied().chain([data.as_str()]).collect();
    Program::start(&arguments, &[("TRIVIUM_LIMITS_MEMORY", "48MiB")])
}

/// A STOMP connection, by hand: a client library would be what is measured.
struct Client {
    socket: TcpStream,
    reader: BufReader<TcpStream>,
    frame: Vec<u8>,
}

impl Client {
    fn connect(program: &mut Program) -> Self {
        let socket = program.connect("stomp");
        let reader = BufReader::with_capacity(1 << 20, socket.try_clone().expect("it is open"));
        let mut client = Self { socket, reader, frame: Vec::new() };
        client.send(b"CONNECT\naccept-version:1.2\nhost:/\n\n\0");
        assert!(client.frame().starts_with(b"CONNECTED"));
        client
    }

    fn send(&mut self, frame: &[u8]) {
        self.socket.write_all(frame).expect("the broker reads");
    }

    /// The next frame, without its end and line feeds before it.
    fn frame(&mut self) -> &[u8] {
        self.frame.clear();
        self.reader.read_until(0, &mut self.frame).expect("a frame comes in time");
        assert_eq!(self.frame.pop(), Some(0), "the connection goes on");
        let start = self.frame.iter().position(|byte| *byte != b'\n').unwrap_or(0);
        &self.frame[start..]
    }

    /// Publishes numbers below `count`, as fast as they are taken.
    fn publish(&mut self, queue: &str, count: u32, persistent: bool, mut look: impl FnMut()) {
        let persistent = if persistent { "persistent:true\n" } else { "" };
        let mut bytes = Vec::new();
        for number in 0..count {
            write!(
                bytes,
                "SEND\ndestination:/queue/{queue}\n{persistent}\n{number:0BODY_BYTES$}\0"
            )
            .expect("a vector takes every write");
            if bytes.len() > 1 << 20 {
                self.send(&bytes);
                bytes.clear();
                look();
            }
        }
        bytes.extend_from_slice(
            format!("SEND\ndestination:/queue/{queue}-end\nreceipt:all\n\n\0").as_bytes(),
        );
        self.send(&bytes);
        assert!(self.frame().starts_with(b"RECEIPT"));
        look();
    }

    /// Takes numbers below `count` in order.
    fn take(&mut self, queue: &str, count: u32, mut look: impl FnMut()) {
        self.send(
            format!("SUBSCRIBE\nid:1\ndestination:/queue/{queue}\nack:auto\n\n\0").as_bytes(),
        );
        for number in 0..count {
            let body = format!("{number:0BODY_BYTES$}");
            let frame = self.frame();
            let is_it = frame.starts_with(b"MESSAGE") && frame.ends_with(body.as_bytes());
            assert!(is_it, "{number} is next, not {}", String::from_utf8_lossy(frame));
            if number % 10_000 == 0 {
                look();
            }
        }
    }
}

fn metric(program: &mut Program, name: &str) -> u64 {
    let (_, text) = program.get("/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// More than the limit is never taken for long: what is measured ten times a second may go
/// beyond on a busy machine, by what comes in between.
fn check_resident(program: &Program) {
    let bytes = program.own_memory_bytes();
    assert!(bytes < LIMIT_BYTES * 2, "{bytes} bytes are resident");
}

#[test]
fn a_backlog_of_transient_messages_goes_to_disk_and_comes_back_in_order() {
    let folder = Folder::new();
    let mut program = start(&folder);
    let line = program.line("memory is limited");
    assert_eq!(line["limit_bytes"], LIMIT_BYTES, "{line}");
    assert_eq!(metric(&mut program, "rabbitmq_resident_memory_limit_bytes"), LIMIT_BYTES);
    let count = messages();
    Client::connect(&mut program).publish("q", count, false, || check_resident(&program));
    program.line("memory fills: queues move messages to disk");
    assert!(metric(&mut program, "trivium_messages_paged_out_total") > u64::from(count) / 4);
    Client::connect(&mut program).take("q", count, || check_resident(&program));
    // Ten looks a second, and some of them before what the allocator keeps is told from what is used.
    let until = Instant::now() + Duration::from_secs(30);
    while metric(&mut program, "rabbitmq_alarms_memory_used_watermark") != 0 {
        assert!(Instant::now() < until, "the alarm outlasts the backlog");
        std::thread::sleep(Duration::from_millis(100));
    }
    program.terminate();
    assert_eq!(program.exit_code(), Some(0));
    assert!(!folder.path().join("spill").exists(), "nobody will read it");
}

#[test]
fn a_backlog_of_persistent_messages_is_on_disk_only() {
    let folder = Folder::new();
    let mut program = start(&folder);
    let count = messages();
    Client::connect(&mut program).publish("q", count, true, || check_resident(&program));
    assert_eq!(metric(&mut program, "trivium_messages_paged_out_total"), 0);
    Client::connect(&mut program).take("q", count, || check_resident(&program));
    program.terminate();
    assert_eq!(program.exit_code(), Some(0));
}
