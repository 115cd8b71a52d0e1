//! A connection that carries a protocol's bytes: a TCP stream, or a WebSocket over one.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::gateway::{Door, Doors};
use crate::wire::websocket;

/// See the module.
pub(crate) struct Pipe {
    stream: TcpStream,
    /// Octets of WebSocket frames that are not whole yet; `None` on plain TCP.
    frames: Option<Vec<u8>>,
    /// The code of the close frame that came.
    pub(crate) close_code: Option<u16>,
    /// What was read and not taken.
    pub(crate) inbox: Vec<u8>,
}

impl Pipe {
    /// To a protocol's own door.
    pub(crate) fn tcp(doors: &Doors, door: Door, patience: Duration) -> io::Result<Self> {
        let stream = doors.connect(door, patience)?;
        Ok(Self { stream, frames: None, close_code: None, inbox: Vec::new() })
    }

    /// Upgraded at `path` of the HTTP door.
    pub(crate) fn websocket(
        doors: &Doors,
        path: &str,
        subprotocol: &str,
        patience: Duration,
    ) -> io::Result<Self> {
        let mut pipe = Self::tcp(doors, Door::Http, patience)?;
        pipe.send(&websocket::upgrade(path, subprotocol))?;
        let head = pipe.wait_for(b"\r\n\r\n")?;
        if !head.starts_with(b"HTTP/1.1 101") {
            return Err(io::Error::other(format!("no upgrade: {}", head.escape_ascii())));
        }
        pipe.frames = Some(std::mem::take(&mut pipe.inbox));
        Ok(pipe)
    }

    /// As one binary message over WebSocket.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.frames {
            Some(_) => self.stream.write_all(&websocket::binary(bytes)),
            None => self.stream.write_all(bytes),
        }
    }

    /// As they are, whatever carries them.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Nothing more will be sent.
    pub(crate) fn shutdown(&self) {
        self.stream.shutdown(std::net::Shutdown::Write).ok();
    }

    pub(crate) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(patience))
    }

    /// Reads once into the inbox; an error of kind `UnexpectedEof` once the gateway has closed.
    pub(crate) fn receive(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        let length = self.stream.read(&mut buffer)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match &mut self.frames {
            None => self.inbox.extend_from_slice(&buffer[..length]),
            Some(frames) => {
                frames.extend_from_slice(&buffer[..length]);
                while let Some((opcode, payload, rest)) = split_frame(frames) {
                    match (opcode, payload) {
                        (0..=2, _) => self.inbox.extend_from_slice(payload),
                        (8, &[high, low, ..]) => {
                            self.close_code = Some(u16::from_be_bytes([high, low]));
                        }
                        _ => {}
                    }
                    let taken = frames.len() - rest;
                    frames.drain(..taken);
                }
            }
        }
        Ok(())
    }

    /// Reads until the inbox holds `end`, and takes it all.
    pub(crate) fn wait_for(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        while !self.inbox.windows(end.len()).any(|window| window == end) {
            self.receive().map_err(|error| {
                let seen = self.inbox.escape_ascii();
                io::Error::new(error.kind(), format!("{error}, after {seen}"))
            })?;
        }
        Ok(std::mem::take(&mut self.inbox))
    }

    /// Reads until the gateway closes or `patience` ends; whether it closed.
    pub(crate) fn read_to_end(&mut self, patience: Duration) -> bool {
        let begun = Instant::now();
        while let Some(left) = patience.checked_sub(begun.elapsed()) {
            if left.is_zero() || self.set_patience(left).is_err() {
                return false;
            }
            match self.receive() {
                Ok(()) => {}
                Err(error) if is_timeout(&error) => return false,
                Err(_) => return true,
            }
        }
        false
    }
}

pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Opcode and payload of the first frame when it is whole, and how many octets follow it.
fn split_frame(octets: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&[first, length], rest) = octets.split_first_chunk::<2>()?;
    let (length, rest) = match length & 0x7F {
        126 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (u64::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk::<8>()?;
            (u64::from_be_bytes(*length), rest)
        }
        length => (u64::from(length), rest),
    };
    let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((first & 0x0F, payload, rest.len()))
}
