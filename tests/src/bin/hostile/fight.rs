//! One attacker at work: its connections, its sense of time, and what it counts.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::gateway::{Door, Doors};
use crate::random::Random;

/// How long one write may block before the attacker thinks that nobody reads.
const WRITE_PATIENCE: Duration = Duration::from_millis(250);

/// Attacks that are remembered, to name the one behind a failure.
const REMEMBERED_MAX: usize = 4096;

/// What all attackers share.
pub(crate) struct Field {
    pub(crate) doors: Doors,
    pub(crate) stop: AtomicBool,
    /// Connections of attackers that are open now, and how many there have been.
    pub(crate) open: AtomicUsize,
    pub(crate) connections: AtomicU64,
    /// Connections that the gateway did not take.
    pub(crate) refused: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    /// Connections that the gateway ended first.
    pub(crate) ended: AtomicU64,
    /// The next position at which a conversation is cut.
    pub(crate) cut: AtomicUsize,
    /// Attackers that make the gateway hold large unfinished messages.
    pub(crate) hoarders: AtomicUsize,
    /// Port of the attacker, kind and seed of the attack; the last ones.
    memory: Mutex<std::collections::VecDeque<(u16, &'static str, u64)>>,
}

impl Field {
    pub(crate) fn new(doors: Doors) -> Self {
        Self {
            doors,
            stop: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            connections: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            cut: AtomicUsize::new(0),
            hoarders: AtomicUsize::new(0),
            memory: Mutex::default(),
        }
    }

    fn remember(&self, port: u16, kind: &'static str, seed: u64) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.len() == REMEMBERED_MAX {
            memory.pop_front();
        }
        memory.push_back((port, kind, seed));
    }

    /// Kinds and seeds of the attacks that came from ports that `line` names.
    pub(crate) fn behind(&self, line: &str) -> Vec<(&'static str, u64)> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |port: u16| {
            let address = format!("127.0.0.1:{port}");
            line.split([' ', '=', '"']).any(|word| word == address)
        };
        let found = memory.iter().rev().filter(|(port, ..)| named(*port));
        found.map(|&(_, kind, seed)| (kind, seed)).collect()
    }
}

/// One attack.
pub(crate) struct Fight<'a> {
    pub(crate) field: &'a Field,
    pub(crate) random: Random,
    kind: &'static str,
    seed: u64,
    /// When it gives up.
    pub(crate) until: Instant,
}

impl<'a> Fight<'a> {
    pub(crate) fn new(field: &'a Field, kind: &'static str, seed: u64, patience: Duration) -> Self {
        let until = Instant::now() + patience;
        Self { field, random: Random::new(seed), kind, seed, until }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.field.stop.load(Ordering::Relaxed) || Instant::now() >= self.until
    }

    /// Waits, but not beyond the end.
    pub(crate) fn wait(&self, span: Duration) {
        let until = Instant::now() + span;
        while !self.is_over() && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            thread::sleep(left.min(Duration::from_millis(50)));
        }
    }

    pub(crate) fn connect(&self, door: Door) -> Option<Victim<'a>> {
        let field = self.field;
        let Ok(stream) = field.doors.connect(door, WRITE_PATIENCE) else {
            field.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        if let Ok(address) = stream.local_addr() {
            field.remember(address.port(), self.kind, self.seed);
        }
        field.open.fetch_add(1, Ordering::Relaxed);
        field.connections.fetch_add(1, Ordering::Relaxed);
        Some(Victim { stream, field, has_ended: false, tail: Vec::new() })
    }

    /// Ends a conversation in one of the ways there are.
    pub(crate) fn leave(&mut self, mut victim: Victim<'_>) {
        match self.random.below(4) {
            // With unread answers this is a reset.
            0 => {}
            1 => {
                victim.stream.shutdown(Shutdown::Write).ok();
                victim.listen(Duration::from_millis(150));
            }
            _ => {
                victim.listen(Duration::from_millis(10));
            }
        }
    }
}

/// The other end of an attack.
pub(crate) struct Victim<'a> {
    stream: TcpStream,
    field: &'a Field,
    has_ended: bool,
    /// The end of what it has answered.
    tail: Vec<u8>,
}

impl Victim<'_> {
    /// False once nothing more can be sent: it has closed, or does not read.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        if self.has_ended {
            return false;
        }
        match self.stream.write_all(bytes) {
            Ok(()) => {
                self.field.sent_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                true
            }
            Err(error) => {
                let is_full = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                if !is_full {
                    self.note_end();
                }
                false
            }
        }
    }

    /// In pieces, as a network might cut it.
    pub(crate) fn push_in_pieces(&mut self, bytes: &[u8], random: &mut Random) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(random.between(1, 400).min(rest.len()));
            if !self.push(piece) {
                return false;
            }
            rest = left;
        }
        true
    }

    /// Reads what comes for `span`; false once it has closed.
    pub(crate) fn listen(&mut self, span: Duration) -> bool {
        let until = Instant::now() + span;
        let mut buffer = [0; 8192];
        while !self.has_ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stream.set_read_timeout(Some(left)).is_err() {
                break;
            }
            match self.stream.read(&mut buffer) {
                Ok(length @ 1..) => {
                    self.tail.drain(..self.tail.len().saturating_sub(256));
                    self.tail.extend_from_slice(&buffer[..length]);
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Ok(_) | Err(_) => self.note_end(),
            }
        }
        !self.has_ended
    }

    /// Reads until `wanted` has come, at most for a second.
    pub(crate) fn hears(&mut self, wanted: &[u8]) -> bool {
        let until = Instant::now() + Duration::from_secs(1);
        while !self.tail.windows(wanted.len()).any(|window| window == wanted) {
            if Instant::now() > until || !self.listen(Duration::from_millis(3)) {
                return false;
            }
        }
        self.tail.clear();
        true
    }

    fn note_end(&mut self) {
        if !self.has_ended {
            self.has_ended = true;
            self.field.ended.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Victim<'_> {
    fn drop(&mut self) {
        self.field.open.fetch_sub(1, Ordering::Relaxed);
    }
}
