//! A trace over TCP or WebSocket, against a gateway of its own inside this process.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::runtime::Runtime;
use trivium::config::RawUser;
use trivium_core::Protocol;

use crate::pattern::{Names, Pattern, Verdict, show};
use crate::trace::{Move, Trace, What, Who};
use crate::websocket;

/// What carries the octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Tcp,
    /// The HTTP listener's `/ws`.
    WebSocket,
}

enum Wire {
    Tcp(TcpStream),
    WebSocket(Box<websocket::Client>),
}

/// How long anything may take; only a failing trace waits that long.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long silence is listened to at the end of a trace.
const SILENCE: Duration = Duration::from_millis(20);

/// One client's socket, and what came before it was asked for.
pub(crate) struct Socket {
    wire: Wire,
    pub(crate) read: Vec<u8>,
}

/// Runs `trace`, unless time passes in it that nobody waits for.
pub(crate) fn run(trace: &Trace, carrier: Carrier) -> Result<(), String> {
    if trace.has_ticks() {
        return Ok(());
    }
    let runtime = Runtime::new().map_err(|error| error.to_string())?;
    let mut configuration = trivium_tests::configuration();
    let (name, password) = ("limited".to_owned(), "limited".to_owned());
    configuration.users.push(RawUser { name, password, vhosts: Some(Vec::new()) });
    let running = runtime.block_on(trivium_tests::start_with(configuration));
    let address = |protocol: Protocol| {
        let name = if carrier == Carrier::Tcp { protocol.name() } else { "http" };
        running.address(name).expect("every listener is on")
    };
    let mut sockets: BTreeMap<&Who, Socket> = BTreeMap::new();
    let mut names = Names::new();
    for step in &trace.steps {
        let played = match (&step.client, &step.what) {
            (Some(who), what) => {
                if !sockets.contains_key(who) {
                    let socket = match carrier {
                        Carrier::Tcp => Socket::connect(address(who.protocol))?,
                        Carrier::WebSocket => Socket::upgrade(address(who.protocol), who.protocol)?,
                    };
                    sockets.insert(who, socket);
                }
                sockets.get_mut(who).map_or(Ok(()), |socket| socket.play(what, &mut names))
            }
            (None, What::Moves(Move::Shutdown)) => {
                let _guard = runtime.enter();
                running.begin_shutdown();
                Ok(())
            }
            (None, What::Moves(Move::Alarm(alarms))) => {
                running.broker().set_alarms(*alarms);
                Ok(())
            }
            (None, What::Moves(Move::Wait(span))) => {
                std::thread::sleep(*span);
                Ok(())
            }
            (None, _) => Ok(()),
        };
        played.map_err(|error| format!("{}: {error}", step.line))?;
    }
    for (who, socket) in &mut sockets {
        socket.fill(SILENCE)?;
        if !socket.read.is_empty() {
            return Err(format!(" at the end, {who:?} still reads {}", show(&socket.read)));
        }
    }
    drop(sockets);
    runtime.block_on(running.shutdown());
    Ok(())
}

impl Socket {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        Ok(Self { wire: Wire::Tcp(stream), read: Vec::new() })
    }

    fn upgrade(address: SocketAddr, protocol: Protocol) -> Result<Self, String> {
        let client = websocket::Client::connect(address, protocol)?;
        Ok(Self { wire: Wire::WebSocket(Box::new(client)), read: Vec::new() })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        match &mut self.wire {
            Wire::Tcp(stream) => stream.write_all(bytes).map_err(|error| error.to_string()),
            Wire::WebSocket(client) => client.send(bytes),
        }
    }

    pub(crate) fn disconnect(&self) -> Result<(), String> {
        match &self.wire {
            Wire::Tcp(stream) => {
                stream.shutdown(std::net::Shutdown::Both).map_err(|error| error.to_string())
            }
            Wire::WebSocket(client) => client.disconnect(),
        }
    }

    fn play(&mut self, what: &What, names: &mut Names) -> Result<(), String> {
        match what {
            What::Sends(pattern) => self.send(&pattern.fill(names)?),
            What::Reads(pattern) => self.expect(pattern, names),
            What::Moves(Move::Disconnect) => self.disconnect(),
            What::Moves(Move::Closed) => match self.fill(PATIENCE)? {
                Filled::End if self.read.is_empty() => Ok(()),
                Filled::End => Err(format!("before the end it reads {}", show(&self.read))),
                Filled::Silence => Err("the connection is still open".into()),
                Filled::Some => Err(format!("not the end, but {}", show(&self.read))),
            },
            What::Moves(other) => unreachable!("{other:?} is the world's"),
        }
    }

    /// Reads until `pattern` matches; what comes behind it is kept for the next line.
    fn expect(&mut self, pattern: &Pattern, names: &mut Names) -> Result<(), String> {
        loop {
            let verdict = pattern.compare(&self.read, names);
            if let Verdict::Matches(length) = verdict {
                self.read.drain(..length);
                return Ok(());
            }
            let can_match = verdict == Verdict::Incomplete && self.fill(PATIENCE)? == Filled::Some;
            if !can_match {
                let (wanted, read) = (pattern.show(), show(&self.read));
                return Err(format!("\n  expected {wanted}\n      read {read}"));
            }
        }
    }

    pub(crate) fn fill(&mut self, patience: Duration) -> Result<Filled, String> {
        let stream = match &mut self.wire {
            Wire::Tcp(stream) => stream,
            Wire::WebSocket(client) => return client.fill(&mut self.read, patience),
        };
        stream.set_read_timeout(Some(patience)).map_err(|error| error.to_string())?;
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => Ok(Filled::End),
            Ok(length) => {
                self.read.extend_from_slice(&buffer[..length]);
                Ok(Filled::Some)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(Filled::Silence),
                ErrorKind::ConnectionReset => Ok(Filled::End),
                _ => Err(error.to_string()),
            },
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    Some,
    Silence,
    End,
}
