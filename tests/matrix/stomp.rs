//! A client of STOMP 1.2, as small as the matrix needs it.

use std::sync::Arc;

use trivium_core::Protocol;
use trivium_core::testing::{Client, World};

use crate::message::{Field, Message};
use crate::peer::Peer;

/// Headers of MESSAGE that belong to the frame or to the delivery.
const FRAME: [&str; 5] = ["subscription", "message-id", "redelivered", "ack", "content-length"];

/// Connected, and subscribed to everything.
pub(crate) struct StompPeer<'w> {
    client: Client<'w, trivium_stomp::Connection>,
    read: Vec<u8>,
}

impl<'w> StompPeer<'w> {
    pub(crate) fn connect(world: &'w World) -> Self {
        let connection = trivium_stomp::Connection::new(Arc::default(), world.now());
        let mut client = world.client(Protocol::Stomp, connection, usize::MAX);
        let read = client.send(
            b"CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0\
              SUBSCRIBE\nid:0\ndestination:/topic/#\n\n\0",
        );
        Self { client, read }
    }
}

impl Peer for StompPeer<'_> {
    fn publish(&mut self, message: &Message) {
        let mut out = b"SEND\n".to_vec();
        push_line("destination", message.address.as_bytes(), &mut out);
        for field in &message.fields {
            push_line(&field.name, &field.value, &mut out);
        }
        out.extend_from_slice(format!("content-length:{}\n\n", message.body.len()).as_bytes());
        out.extend_from_slice(&message.body);
        out.push(0);
        let mut read = self.client.send(&out);
        self.read.append(&mut read);
    }

    fn receive(&mut self) -> Result<Vec<Message>, String> {
        let mut read = self.client.read();
        self.read.append(&mut read);
        let read = std::mem::take(&mut self.read);
        let (mut rest, mut messages) = (&read[..], Vec::new());
        while !rest.is_empty() {
            let command = line(&mut rest);
            let (mut headers, mut size) = (Vec::new(), None);
            loop {
                let line = line(&mut rest);
                let Some(colon) = line.iter().position(|&octet| octet == b':') else { break };
                let (name, value) = (unescape(&line[..colon]), unescape(&line[colon + 1..]));
                let name = String::from_utf8(name).expect("a name is UTF-8");
                if name == "content-length" {
                    size = String::from_utf8_lossy(&value).parse::<usize>().ok();
                }
                headers.push((name, value));
            }
            let end = rest.iter().position(|&octet| octet == 0);
            let (body, after) = rest.split_at(size.or(end).expect("a frame ends"));
            assert_eq!(after.first(), Some(&0), "a frame ends with NUL");
            rest = &after[1..];
            match command {
                b"MESSAGE" => messages.push(message(headers, body)),
                b"ERROR" => return Err(body.escape_ascii().to_string()),
                _ => {}
            }
        }
        Ok(messages)
    }
}

fn message(headers: Vec<(String, Vec<u8>)>, body: &[u8]) -> Message {
    let (mut address, mut fields) = (String::new(), Vec::new());
    for (name, value) in headers {
        if name == "destination" && address.is_empty() {
            address = String::from_utf8(value).expect("a destination is UTF-8");
        } else if !FRAME.contains(&&*name) {
            fields.push(Field::header(&name, b'S', value));
        }
    }
    Message { address, fields, body: body.to_vec() }
}

fn line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = rest.iter().position(|&octet| octet == b'\n').expect("a line ends");
    let line = &rest[..end];
    *rest = &rest[end + 1..];
    line
}

fn push_line(name: &str, value: &[u8], out: &mut Vec<u8>) {
    escape(name.as_bytes(), out);
    out.push(b':');
    escape(value, out);
    out.push(b'\n');
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    for &octet in text {
        match octet {
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b':' => out.extend_from_slice(b"\\c"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            _ => out.push(octet),
        }
    }
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let (mut plain, mut octets) = (Vec::new(), text.iter());
    while let Some(&octet) = octets.next() {
        plain.push(match (octet, octet == b'\\') {
            (octet, false) => octet,
            (_, true) => match octets.next() {
                Some(b'r') => b'\r',
                Some(b'n') => b'\n',
                Some(b'c') => b':',
                Some(b'\\') => b'\\',
                other => panic!("no escape: {other:?}"),
            },
        });
    }
    plain
}
