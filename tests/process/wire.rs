//! Sockets and frames. The broker goes away in the middle of everything, so everything may fail.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::program::PATIENCE;

/// A socket, and what was read from it.
pub(crate) struct Peer {
    socket: TcpStream,
    read: Vec<u8>,
}

impl Peer {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, read: Vec::new() })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// The next bytes that `whole` says are one: how many, once they are all there.
    pub(crate) fn take(&mut self, whole: impl Fn(&[u8]) -> Option<usize>) -> io::Result<Vec<u8>> {
        loop {
            if let Some(len) = whole(&self.read).filter(|len| *len <= self.read.len()) {
                return Ok(self.read.drain(..len).collect());
            }
            let mut buffer = [0; 16 * 1024];
            let len = self.socket.read(&mut buffer)?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.read.extend_from_slice(&buffer[..len]);
        }
    }

    /// One packet of MQTT, smaller than 128 bytes.
    pub(crate) fn packet(&mut self) -> io::Result<Vec<u8>> {
        self.take(|read| Some(2 + usize::from(*read.get(1)?)))
    }

    /// One frame of STOMP without a NUL in its body.
    pub(crate) fn stomp_frame(&mut self) -> io::Result<String> {
        let frame = self.take(|read| Some(1 + read.iter().position(|byte| *byte == 0)?))?;
        Ok(String::from_utf8_lossy(&frame).into_owned())
    }
}

/// A connection with channel 1 open.
pub(crate) struct Amqp(pub(crate) Peer);

pub(crate) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&[kind, 0, 1], &len[..], payload, &[0xCE]].concat()
}

pub(crate) fn method(class: u8, method: u8, arguments: &[u8]) -> Vec<u8> {
    frame(1, &[&[0, class, 0, method], arguments].concat())
}

fn short(text: &str) -> Vec<u8> {
    let len = u8::try_from(text.len()).expect("a short name");
    [&[len], text.as_bytes()].concat()
}

/// A persistent message to a queue.
pub(crate) fn message(queue: &str, body: &str) -> Vec<u8> {
    let publish = [&[0, 0, 0], &short(queue)[..], &[0]].concat();
    let mut header = vec![0, 60, 0, 0];
    header.extend((body.len() as u64).to_be_bytes());
    header.extend([0x10, 0, 2]);
    [method(60, 40, &publish), frame(2, &header), frame(3, body.as_bytes())].concat()
}

impl Amqp {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let mut amqp = Self(Peer::connect(address)?);
        let control = |number, arguments: &[u8]| {
            let mut frame = method(10, number, arguments);
            frame[2] = 0;
            frame
        };
        amqp.send(b"AMQP\0\0\x09\x01")?;
        amqp.until(10, 10)?;
        amqp.send(&control(11, b"\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US"))?;
        amqp.until(10, 30)?;
        amqp.send(&control(31, b"\x07\xff\0\x02\0\0\0\0"))?;
        amqp.send(&control(40, b"\x01/\0\0"))?;
        amqp.send(&method(20, 10, b"\0"))?;
        amqp.until(20, 11)?;
        Ok(amqp)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.send(bytes)
    }

    /// Kind and payload of the next frame.
    pub(crate) fn frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let frame = self.0.take(|read| {
            let len = read.get(3..7)?.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
            Some(8 + len)
        })?;
        Ok((frame[0], frame[7..frame.len() - 1].to_vec()))
    }

    /// Reads up to this method, and returns its arguments.
    pub(crate) fn until(&mut self, class: u8, method: u8) -> io::Result<Vec<u8>> {
        loop {
            let (kind, payload) = self.frame()?;
            if kind == 1 && payload.get(..4) == Some(&[0, class, 0, method]) {
                return Ok(payload[4..].to_vec());
            }
        }
    }

    /// A durable queue with these arguments, a table of AMQP without its length.
    pub(crate) fn declare(&mut self, queue: &str, table: &[u8]) -> io::Result<()> {
        let len = u32::try_from(table.len()).expect("a small table").to_be_bytes();
        self.send(&method(50, 10, &[&[0, 0], &short(queue)[..], b"\x02", &len, table].concat()))?;
        self.until(50, 11).map(drop)
    }

    /// confirm.select (85) or tx.select (90).
    pub(crate) fn select(&mut self, class: u8) -> io::Result<()> {
        self.send(&method(class, 10, if class == 85 { b"\0" } else { b"" }))?;
        self.until(class, 11).map(drop)
    }

    pub(crate) fn commit(&mut self) -> io::Result<()> {
        self.send(&method(90, 20, b""))?;
        self.until(90, 21).map(drop)
    }

    /// The next message of a queue with its delivery tag, to be acknowledged.
    pub(crate) fn get(&mut self, queue: &str) -> io::Result<Option<(u64, String)>> {
        self.send(&method(60, 70, &[&[0, 0], &short(queue)[..], &[0]].concat()))?;
        loop {
            let (kind, payload) = self.frame()?;
            if kind != 1 || payload.len() < 4 {
                continue;
            }
            match payload[3] {
                72 => return Ok(None),
                71 => {
                    let tag =
                        payload[4..12].iter().fold(0, |tag, byte| tag << 8 | u64::from(*byte));
                    self.frame()?;
                    let (_, body) = self.frame()?;
                    return Ok(Some((tag, String::from_utf8_lossy(&body).into_owned())));
                }
                _ => {}
            }
        }
    }

    /// Acknowledges one, and all before it if told.
    pub(crate) fn acknowledge(&mut self, tag: u64, multiple: bool) -> io::Result<()> {
        self.send(&method(60, 80, &[&tag.to_be_bytes()[..], &[u8::from(multiple)]].concat()))
    }

    /// Not to be put back.
    pub(crate) fn reject(&mut self, tag: u64) -> io::Result<()> {
        self.send(&method(60, 90, &[&tag.to_be_bytes()[..], &[0]].concat()))
    }
}
