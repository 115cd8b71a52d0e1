//! AMQP in frames made once, so that the client costs little beside the broker.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One connection with channel 1 open.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

pub(crate) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&[kind, 0, 1], &len[..], payload, &[0xCE]].concat()
}

pub(crate) fn method(class: u8, method: u8, arguments: &[u8]) -> Vec<u8> {
    frame(1, &[&[0, class, 0, method], arguments].concat())
}

/// Of the connection itself.
fn control(number: u8, arguments: &[u8]) -> Vec<u8> {
    let mut frame = method(10, number, arguments);
    frame[2] = 0;
    frame
}

fn short(text: &str) -> Vec<u8> {
    let len = u8::try_from(text.len()).expect("a short name");
    [&[len], text.as_bytes()].concat()
}

/// A persistent message to a queue.
pub(crate) fn message(queue: &str, body: &[u8]) -> Vec<u8> {
    let publish = [&[0, 0, 0], &short(queue)[..], &[0]].concat();
    let mut header = vec![0, 60, 0, 0];
    header.extend((body.len() as u64).to_be_bytes());
    header.extend([0x10, 0, 2]);
    [method(60, 40, &publish), frame(2, &header), frame(3, body)].concat()
}

/// What a frame of the broker says, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// A publish is confirmed; on a channel where all are, in order, those before it, too.
    Confirmed(u64),
    /// A delivery begins.
    Delivered,
    /// Another method.
    Method(u8, u8),
    /// Header or body; the number that begins a body.
    Content(u64),
}

impl Client {
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        let mut client = Self { stream, buffer: vec![0; 256 * 1024], filled: 0 };
        client.send(b"AMQP\0\0\x09\x01")?;
        client.until(10, 10)?;
        client.send(&control(11, b"\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US"))?;
        client.until(10, 30)?;
        client.send(&control(31, b"\x07\xff\0\x02\0\0\0\0"))?;
        client.send(&control(40, b"\x01/\0\0"))?;
        client.send(&method(20, 10, b"\0"))?;
        client.until(20, 11)?;
        Ok(client)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(crate) fn declare(&mut self, queue: &str) -> io::Result<()> {
        let arguments = [&[0, 0], &short(queue)[..], b"\x02\0\0\0\0"].concat();
        self.send(&method(50, 10, &arguments))?;
        self.until(50, 11)
    }

    pub(crate) fn confirm(&mut self) -> io::Result<()> {
        self.send(&method(85, 10, b"\0"))?;
        self.until(85, 11)
    }

    pub(crate) fn consume(&mut self, queue: &str, prefetch: u16) -> io::Result<()> {
        let [high, low] = prefetch.to_be_bytes();
        self.send(&method(60, 10, &[0, 0, 0, 0, high, low, 0]))?;
        self.until(60, 11)?;
        let arguments = [&[0, 0], &short(queue)[..], &short(queue), b"\0\0\0\0\0"].concat();
        // Deliveries may come before the answer is read: whoever counts them reads it.
        self.send(&method(60, 20, &arguments))
    }

    /// Acknowledges all up to `tag`.
    pub(crate) fn acknowledge(&mut self, tag: u64) -> io::Result<()> {
        self.send(&method(60, 80, &[&tag.to_be_bytes()[..], &[1]].concat()))
    }

    fn until(&mut self, class: u8, method: u8) -> io::Result<()> {
        let mut found = false;
        while !found {
            self.read(|said| found |= said == Said::Method(class, method))?;
        }
        Ok(())
    }

    /// Reads once, and says what whole frames say.
    pub(crate) fn read(&mut self, mut said: impl FnMut(Said)) -> io::Result<()> {
        let read = self.stream.read(&mut self.buffer[self.filled..])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.filled += read;
        let mut at = 0;
        while let Some(header) = self.buffer[at..self.filled].get(..7) {
            let len = u32::from_be_bytes(std::array::from_fn(|index| header[3 + index])) as usize;
            let Some(payload) = self.buffer[at + 7..self.filled].get(..len) else { break };
            if self.filled < at + 8 + len {
                break;
            }
            said(parse(header[0], payload));
            at += 8 + len;
        }
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }
}

fn parse(kind: u8, payload: &[u8]) -> Said {
    let number = |at: usize| {
        let octets = payload.get(at..at + 8).unwrap_or_default();
        octets.iter().fold(0, |number: u64, octet| number << 8 | u64::from(*octet))
    };
    match (kind, payload) {
        (1, [0, 60, 0, 80, ..]) => Said::Confirmed(number(4)),
        (1, [0, 60, 0, 60, ..]) => Said::Delivered,
        (1, [_, class, _, method, ..]) => Said::Method(*class, *method),
        (3, _) => Said::Content(number(0)),
        _ => Said::Content(0),
    }
}
