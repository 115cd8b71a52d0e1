//! The driver over an in-memory pipe, with a toy protocol: lines, answered by lines.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use trivium_core::control::Credentials;
use trivium_core::{
    Answer, Batch, Broker, Description, Event, Request, Response, SessionHandle, Transmit,
};

use super::transport::Io;
use super::*;
use crate::config::{Config, RawConfig};
use crate::control::Control;
use crate::fault::Fault;
use crate::telemetry::Counters;

impl Io for DuplexStream {}

/// What the toy has seen, for the test to look at.
#[derive(Debug, Default)]
struct Seen {
    lines: usize,
    is_disconnected: bool,
    is_dropped: bool,
}

/// `echo TEXT`, `big BYTES`, `login USER`, `nap`, `quit`; and `bye` when the gateway goes down.
#[derive(Debug)]
struct Toy {
    seen: Arc<Mutex<Seen>>,
    output: Transmit,
    request: Option<Request>,
    deadline: Option<Instant>,
    naps: usize,
    is_closed: bool,
}

impl Toy {
    fn say(&mut self, text: &str) {
        self.output.bytes.extend_from_slice(text.as_bytes());
        self.output.bytes.push(b'\n');
        self.output.end_frame();
    }

    fn on_line(&mut self, line: &str, now: Instant) {
        self.seen.lock().unwrap().lines += 1;
        match line.split_once(' ').unwrap_or((line, "")) {
            ("echo", text) => self.say(text),
            ("big", bytes) => self.say(&"b".repeat(bytes.parse().unwrap())),
            ("login", user) => {
                self.request = Some(Request::Login(Credentials {
                    mechanism: "PLAIN",
                    user: Some(user.to_owned()),
                    password: b"guest".to_vec(),
                }));
            }
            ("nap", times) => {
                self.naps = times.parse().unwrap_or(1);
                self.deadline = Some(now.after(Duration::from_millis(100)));
            }
            _ => {
                self.say("quitting");
                self.is_closed = true;
            }
        }
    }
}

impl Drop for Toy {
    fn drop(&mut self) {
        self.seen.lock().unwrap().is_dropped = true;
    }
}

impl Adapter for Toy {
    fn handle_bytes(&mut self, input: &[u8], batch: &mut Batch<'_>) -> usize {
        let mut taken = 0;
        while !self.is_closed && self.request.is_none() {
            let Some(end) = input[taken..].iter().position(|byte| *byte == b'\n') else { break };
            let line = String::from_utf8_lossy(&input[taken..taken + end]).into_owned();
            taken += end + 1;
            self.on_line(&line, batch.now());
        }
        taken
    }

    fn handle_event(&mut self, _: Event, _: &mut Batch<'_>) {}

    fn handle_response(&mut self, answer: Answer, _: &mut Batch<'_>) {
        match answer {
            Ok(Response::LoggedIn(principal)) => self.say(&format!("hello {}", principal.user)),
            Ok(other) => panic!("{other:?}"),
            Err(because) => self.say(&because.to_string()),
        }
    }

    fn handle_timeout(&mut self, now: Instant, _: &mut Batch<'_>) {
        self.naps -= 1;
        self.deadline = (self.naps > 0).then(|| now.after(Duration::from_millis(100)));
        self.say("awake");
    }

    fn handle_shutdown(&mut self, _: &mut Batch<'_>) {
        self.say("bye");
        self.is_closed = true;
    }

    fn handle_disconnect(&mut self, _: &mut Batch<'_>) {
        self.seen.lock().unwrap().is_disconnected = true;
    }

    fn poll_request(&mut self) -> Option<(Option<SessionHandle>, Request)> {
        self.request.take().map(|request| (None, request))
    }

    fn poll_transmit(&mut self, out: &mut Transmit) {
        self.output.move_to(out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn input_bytes_max(&self) -> usize {
        1000
    }

    fn describe(&self) -> Description {
        Description::default()
    }
}

fn shared() -> Arc<Shared> {
    let raw = RawConfig::parse("[limits]\nshutdown_timeout_ms = 300", Path::new("t.toml")).unwrap();
    let config = Config::try_from(raw).unwrap();
    let counters = Arc::<Counters>::default();
    let broker = Broker::ephemeral(config.limits.core, 1);
    let control = Control::new(broker.clone(), config.users, counters.clone());
    let shared = Shared::new(
        broker,
        config.limits,
        (config.amqp, config.mqtt, config.stomp, config.mapping),
        control,
        counters,
        Fault::default(),
    );
    let clock = Arc::downgrade(&shared);
    tokio::spawn(async move {
        while let Some(shared) = clock.upgrade() {
            shared.clock.advance();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    shared
}

struct Client {
    pipe: DuplexStream,
    seen: Arc<Mutex<Seen>>,
    ended: JoinHandle<Reason>,
}

impl Client {
    /// A client at the end of a pipe that holds `pipe_bytes`.
    fn connect(shared: &Arc<Shared>, pipe_bytes: usize) -> Self {
        let (pipe, served) = duplex(pipe_bytes);
        let seen = Arc::<Mutex<Seen>>::default();
        let adapter = Box::new(Toy {
            seen: seen.clone(),
            output: Transmit::default(),
            request: None,
            deadline: None,
            naps: 0,
            is_closed: false,
        });
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let caller = Caller::new(peer, Carrier::Tcp, Protocol::Stomp);
        let drive = Drive::new(shared.clone(), Stream(served), adapter, caller);
        Self { pipe, seen, ended: tokio::spawn(drive) }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.pipe.write_all(bytes).await.unwrap();
    }

    async fn read_line(&mut self) -> String {
        let mut line = Vec::new();
        loop {
            match self.pipe.read_u8().await.unwrap() {
                b'\n' => return String::from_utf8(line).unwrap(),
                byte => line.push(byte),
            }
        }
    }

    /// Reads to the end, hangs up, and returns what came and how the driver ended.
    async fn finish(mut self) -> (String, Reason) {
        let mut text = String::new();
        self.pipe.read_to_string(&mut text).await.unwrap();
        drop(self.pipe);
        (text, self.ended.await.unwrap())
    }

    fn lines_seen(&self) -> usize {
        self.seen.lock().unwrap().lines
    }
}

const CONVERSATION: &str = "echo one\nlogin guest\necho two\nlogin nobody\nlogin guest\nquit\n";
const ANSWERS: &str = "one\nhello guest\ntwo\nunknown user\nhello guest\nquitting\n";

#[tokio::test]
async fn whole_and_byte_by_byte_come_to_the_same() {
    let shared = shared();
    for pipe_bytes in [1, 7, 4096] {
        for chunk_bytes in [CONVERSATION.len(), 5, 1] {
            let mut client = Client::connect(&shared, pipe_bytes);
            let (mut read, mut write) = tokio::io::split(client.pipe);
            let writing = tokio::spawn(async move {
                for chunk in CONVERSATION.as_bytes().chunks(chunk_bytes) {
                    write.write_all(chunk).await.unwrap();
                }
                write
            });
            let mut text = String::new();
            read.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, ANSWERS, "pipe of {pipe_bytes}, chunks of {chunk_bytes}");
            client.pipe = read.unsplit(writing.await.unwrap());
            assert_eq!(client.finish().await, (String::new(), Reason::Closed));
        }
    }
    let counters = shared.counters.of(Protocol::Stomp);
    let sent = counters.sent_bytes.load(Ordering::Relaxed);
    assert_eq!(sent, 9 * ANSWERS.len() as u64);
    assert_eq!(counters.logins_refused.load(Ordering::Relaxed), 9);
}

#[tokio::test]
async fn every_deadline_wakes_a_silent_connection_not_only_the_first() {
    let mut client = Client::connect(&shared(), 4096);
    client.send(b"nap 3\n").await;
    for _ in 0..3 {
        let line = tokio::time::timeout(Duration::from_secs(5), client.read_line());
        assert_eq!(line.await.expect("woken in time"), "awake");
    }
}

#[tokio::test]
async fn who_does_not_read_is_not_read_and_loses_nothing() {
    let shared = shared();
    let mut client = Client::connect(&shared, 1000);
    let big = UNWRITTEN_BYTES_MAX + 2000;
    client.send(format!("big {big}\n").as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(client.lines_seen(), 1);
    client.send(b"nap\necho after\n").await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(client.lines_seen(), 1, "not read while it does not read");

    assert_eq!(client.read_line().await.len(), big);
    assert_eq!(client.read_line().await, "after");
    assert_eq!(client.read_line().await, "awake");
    client.send(b"quit\n").await;
    assert_eq!(client.finish().await, ("quitting\n".to_owned(), Reason::Closed));
}

#[tokio::test]
async fn who_reads_slowly_still_reads_the_last_word() {
    let mut client = Client::connect(&shared(), 1000);
    client.send(b"big 20000\nquit\n").await;
    for _ in 0..20 {
        // Four seconds in all: longer than who reads at once is waited for.
        tokio::time::sleep(Duration::from_millis(200)).await;
        client.pipe.read_exact(&mut [0; 1000]).await.unwrap();
    }
    assert_eq!(client.finish().await, ("\nquitting\n".to_owned(), Reason::Closed));
}

#[tokio::test]
async fn the_drain_says_goodbye_and_cuts_who_stays() {
    let shared = shared();
    let polite = Client::connect(&shared, 1000);
    let mut silent = Client::connect(&shared, 10);
    silent.send(b"big 1000\n").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    shared.begin_drain();
    assert_eq!(polite.finish().await, ("bye\n".to_owned(), Reason::Closed));
    let ended = tokio::time::timeout(Duration::from_secs(5), silent.ended).await;
    assert_eq!(ended.unwrap().unwrap(), Reason::Closed);
    // One that arrives during the drain hears the same.
    let late = Client::connect(&shared, 1000);
    assert_eq!(late.finish().await.0, "bye\n");
}

#[tokio::test]
async fn a_peer_that_leaves_or_floods_ends_its_connection() {
    let shared = shared();
    let mut leaving = Client::connect(&shared, 1000);
    leaving.send(b"echo half").await;
    let seen = leaving.seen.clone();
    drop(leaving.pipe);
    assert_eq!(leaving.ended.await.unwrap(), Reason::PeerClosed);
    assert!(seen.lock().unwrap().is_disconnected);
    assert!(seen.lock().unwrap().is_dropped);

    let mut flooding = Client::connect(&shared, 64 * 1024);
    flooding.send(&[b'x'; 1001]).await;
    assert_eq!(flooding.finish().await, (String::new(), Reason::FrameTooLarge));
}

#[tokio::test]
async fn what_a_connection_owns_ends_before_its_last_bytes_arrive() {
    let mut client = Client::connect(&shared(), 4096);
    client.send(b"quit\n").await;
    assert_eq!(client.read_line().await, "quitting");
    assert!(client.seen.lock().unwrap().is_dropped);
    assert!(!client.seen.lock().unwrap().is_disconnected);
}

#[tokio::test]
async fn an_idle_connection_owns_no_buffer() {
    let shared = shared();
    let (mut pipe, served) = duplex(4096);
    let adapter = Box::new(Toy {
        seen: Arc::default(),
        output: Transmit::default(),
        request: None,
        deadline: None,
        naps: 0,
        is_closed: false,
    });
    let caller = Caller::new(([127, 0, 0, 1], 1).into(), Carrier::Tcp, Protocol::Stomp);
    let mut drive = Drive::new(shared, Stream(served), adapter, caller);
    pipe.write_all(b"echo one\necho two\n").await.unwrap();
    let waker = std::task::Waker::noop();
    let poll = Pin::new(&mut drive).poll(&mut Context::from_waker(waker));
    assert!(poll.is_pending());
    let mut answer = [0; 8];
    pipe.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"one\ntwo\n");
    assert_eq!(drive.input.capacity(), 0);
    assert_eq!(drive.output.transmit.bytes.capacity(), 0);
    let mut left = Transmit::default();
    drive.adapter.as_mut().unwrap().poll_transmit(&mut left);
    assert_eq!(left.bytes.capacity(), 0, "the thread's buffer came back");
}
