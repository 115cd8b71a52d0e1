//! Publishers that wait for every kind of confirm, with the octets of their protocols in plain view.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::program::PATIENCE;

/// Messages of each kind that are confirmed one by one, and as many again that are sent at once.
const COUNT: u32 = 8;

/// Publishes with AMQP, MQTT and STOMP, to one durable queue, until all is confirmed. Returns how many
/// messages each kind of confirm was for.
pub(super) fn publish([amqp, mqtt, stomp]: [SocketAddr; 3]) -> BTreeMap<&'static str, usize> {
    let count = 2 * COUNT as usize;
    let mut channel = Amqp::open(amqp);
    channel.confirmed();
    channel.transactions();
    publish_mqtt(mqtt);
    publish_stomp(stomp);
    super::check::KINDS.map(|kind| (kind, count)).into()
}

fn body(letter: char, number: u32) -> Vec<u8> {
    format!("proof:{letter}{number:05} and so on").into_bytes()
}

/// A socket, and what was read from it.
pub(super) struct Peer {
    socket: TcpStream,
    read: Vec<u8>,
}

impl Peer {
    pub(super) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout is set");
        Self { socket, read: Vec::new() }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the broker takes it");
    }

    /// Reads until `wanted` stands in what came since the last call.
    pub(super) fn wait(&mut self, wanted: &[u8]) {
        loop {
            let found = self.read.windows(wanted.len()).position(|window| window == wanted);
            if let Some(at) = found {
                self.read.drain(..at + wanted.len());
                return;
            }
            self.fill(&wanted.escape_ascii().to_string());
        }
    }

    /// Reads until one of `wanted` stands in what came, and returns which.
    pub(super) fn wait_for_either(&mut self, wanted: &[&[u8]]) -> usize {
        loop {
            for (which, wanted) in wanted.iter().enumerate() {
                let found = self.read.windows(wanted.len()).position(|window| window == *wanted);
                if let Some(at) = found {
                    self.read.drain(..at + wanted.len());
                    return which;
                }
            }
            self.fill("answer");
        }
    }

    /// What came behind that, and comes until the end of the frame.
    pub(super) fn rest(&mut self) -> String {
        while !self.read.contains(&0xCE) {
            self.fill("end of the frame");
        }
        String::from_utf8_lossy(&self.read).into_owned()
    }

    fn fill(&mut self, wanted: &str) {
        let mut buffer = [0; 4096];
        let read = &self.read;
        let len = self.socket.read(&mut buffer).unwrap_or_else(|error| {
            panic!("no {wanted}, but {}: {error}", read.escape_ascii());
        });
        assert_ne!(len, 0, "closed without {wanted} after {}", self.read.escape_ascii());
        self.read.extend_from_slice(&buffer[..len]);
    }
}

pub(super) struct Amqp(pub(super) Peer);

fn frame(kind: u8, channel: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&[kind, 0, channel], &len[..], payload, &[0xCE]].concat()
}

fn method(channel: u8, class: u8, method: u8, arguments: &[u8]) -> Vec<u8> {
    frame(1, channel, &[&[0, class, 0, method], arguments].concat())
}

/// A persistent message to the queue `proof`.
pub(super) fn message(channel: u8, body: &[u8]) -> Vec<u8> {
    let mut header = vec![0, 60, 0, 0];
    header.extend((body.len() as u64).to_be_bytes());
    header.extend([0x10, 0, 2]);
    let publish = method(channel, 60, 40, b"\0\0\0\x05proof\0");
    [publish, frame(2, channel, &header), frame(3, channel, body)].concat()
}

impl Amqp {
    /// Logs in, opens channels 1 and 2, and declares the queue.
    pub(super) fn open(address: SocketAddr) -> Self {
        let mut peer = Peer::connect(address);
        peer.send(b"AMQP\0\0\x09\x01");
        peer.wait(&[0, 10, 0, 10]);
        peer.send(&method(0, 10, 11, b"\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US"));
        peer.wait(&[0, 10, 0, 30]);
        peer.send(&method(0, 10, 31, b"\0\x0a\0\x02\0\0\0\0"));
        peer.send(&method(0, 10, 40, b"\x01/\0\0"));
        peer.send(&[method(1, 20, 10, b"\0"), method(2, 20, 10, b"\0")].concat());
        peer.wait(&[2, 0, 0, 0, 8, 0, 20, 0, 11]);
        // Durable.
        peer.send(&method(1, 50, 10, b"\0\0\x05proof\x02\0\0\0\0"));
        peer.wait(&[0, 50, 0, 11]);
        Self(peer)
    }

    fn confirmed(&mut self) {
        self.0.send(&method(1, 85, 10, b"\0"));
        self.0.wait(&[0, 85, 0, 11]);
        for number in 1..=COUNT {
            self.0.send(&message(1, &body('a', number)));
            self.wait_for_ack(number);
        }
        let numbers = COUNT + 1..=2 * COUNT;
        let all: Vec<u8> = numbers.flat_map(|number| message(1, &body('a', number))).collect();
        self.0.send(&all);
        self.wait_for_ack(2 * COUNT);
    }

    /// Waits for the confirm of this number: its own or one that covers it.
    pub(super) fn wait_for_ack(&mut self, number: u32) {
        self.0.wait(&[&[0, 60, 0, 80, 0, 0, 0, 0][..], &number.to_be_bytes()].concat());
    }

    fn transactions(&mut self) {
        self.0.send(&method(2, 90, 10, b""));
        self.0.wait(&[0, 90, 0, 11]);
        for number in 1..=2 * COUNT {
            self.0.send(&[message(2, &body('t', number)), method(2, 90, 20, b"")].concat());
            self.0.wait(&[0, 90, 0, 21]);
        }
    }
}

/// MQTT 3.1.1 to the same queue, by its address.
fn publish_mqtt(address: SocketAddr) {
    let mut peer = Peer::connect(address);
    peer.send(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01p");
    peer.wait(b"\x20\x02\0\0");
    let packet = |qos: u8, number: u32, letter| {
        let [_, _, high, low] = number.to_be_bytes();
        let topic = b"\0\x0c$queue/proof";
        let body = body(letter, number);
        let len = u8::try_from(topic.len() + 2 + body.len()).expect("a small packet");
        [&[0x30 | qos << 1, len][..], topic, &[high, low], &body].concat()
    };
    let answer = |kind: u8, number: u32| {
        let [_, _, high, low] = number.to_be_bytes();
        [kind, 2, high, low]
    };
    for number in 1..=COUNT {
        peer.send(&packet(1, number, 'q'));
        peer.wait(&answer(0x40, number));
        peer.send(&packet(2, number, 'r'));
        peer.wait(&answer(0x50, number));
        peer.send(&answer(0x62, number));
        peer.wait(&answer(0x70, number));
    }
    let numbers = COUNT + 1..=2 * COUNT;
    let all: Vec<u8> = numbers.clone().flat_map(|number| packet(1, number, 'q')).collect();
    peer.send(&all);
    numbers.clone().for_each(|number| peer.wait(&answer(0x40, number)));
    let all: Vec<u8> = numbers.clone().flat_map(|number| packet(2, number, 'r')).collect();
    peer.send(&all);
    numbers.clone().for_each(|number| peer.wait(&answer(0x50, number)));
    let all: Vec<u8> = numbers.clone().flat_map(|number| answer(0x62, number)).collect();
    peer.send(&all);
    numbers.for_each(|number| peer.wait(&answer(0x70, number)));
}

fn publish_stomp(address: SocketAddr) {
    let mut peer = Peer::connect(address);
    peer.send(b"CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0");
    peer.wait(b"\0");
    let send = |number: u32, letter: char, more: &str| {
        let mut frame = format!("SEND\ndestination:/amq/queue/proof\npersistent:true\n{more}\n");
        frame += std::str::from_utf8(&body(letter, number)).expect("it is text");
        frame + "\0"
    };
    let receipt = |letter: char, number: u32| format!("receipt-id:{letter}{number}\n");
    let single = |number| send(number, 's', &format!("receipt:s{number}\n"));
    for number in 1..=COUNT {
        peer.send(single(number).as_bytes());
        peer.wait(receipt('s', number).as_bytes());
    }
    let all: String = (COUNT + 1..=2 * COUNT).map(single).collect();
    peer.send(all.as_bytes());
    (COUNT + 1..=2 * COUNT).for_each(|number| peer.wait(receipt('s', number).as_bytes()));
    for number in 1..=2 * COUNT {
        let begin = format!("BEGIN\ntransaction:x{number}\n\n\0");
        let held = send(number, 'c', &format!("transaction:x{number}\n"));
        let commit = format!("COMMIT\ntransaction:x{number}\nreceipt:c{number}\n\n\0");
        peer.send([begin, held, commit].concat().as_bytes());
        peer.wait(receipt('c', number).as_bytes());
    }
}
