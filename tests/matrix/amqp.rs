//! A client of AMQP 0-9-1, as small as the matrix needs it.

use std::sync::Arc;

use trivium_core::Protocol;
use trivium_core::testing::{Client, World};

use crate::message::{Field, Message, Place};
use crate::octets::{Octets, push_sized};
use crate::peer::Peer;

/// Properties of class `basic`: name, bit of the flag, tag of the type.
const PROPERTIES: [(&str, u16, u8); 14] = [
    ("content_type", 15, b'S'),
    ("content_encoding", 14, b'S'),
    ("headers", 13, b'F'),
    ("delivery_mode", 12, b'B'),
    ("priority", 11, b'B'),
    ("correlation_id", 10, b'S'),
    ("reply_to", 9, b'S'),
    ("expiration", 8, b'S'),
    ("message_id", 7, b'S'),
    ("timestamp", 6, b'T'),
    ("type", 5, b'S'),
    ("user_id", 4, b'S'),
    ("app_id", 3, b'S'),
    ("cluster_id", 2, b'S'),
];

const FRAME_PAYLOAD_MAX: usize = 131_072 - 8;

/// Logged in, with a queue bound to everything in `amq.topic`.
pub(crate) struct AmqpPeer<'w> {
    client: Client<'w, trivium_amqp::Connection>,
    read: Vec<u8>,
}

impl<'w> AmqpPeer<'w> {
    pub(crate) fn connect(world: &'w World) -> Self {
        let connection = trivium_amqp::Connection::new(Arc::default(), world.now());
        let mut client = world.client(Protocol::Amqp, connection, usize::MAX);
        let mut opening = b"AMQP\0\0\x09\x01".to_vec();
        let start_ok = [&b"\0\x0a\0\x0b\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US"[..]];
        push_frame(1, 0, &start_ok.concat(), &mut opening);
        push_frame(1, 0, b"\0\x0a\0\x1f\x07\xff\0\x02\0\0\0\0", &mut opening);
        push_frame(1, 0, b"\0\x0a\0\x28\x01/\0\0", &mut opening);
        push_frame(1, 1, b"\0\x14\0\x0a\0", &mut opening);
        push_frame(1, 1, b"\0\x32\0\x0a\0\0\0\x04\0\0\0\0", &mut opening);
        push_frame(1, 1, b"\0\x32\0\x14\0\0\0\x09amq.topic\x01#\0\0\0\0\0", &mut opening);
        push_frame(1, 1, b"\0\x3c\0\x14\0\0\0\x01t\x02\0\0\0\0", &mut opening);
        let read = client.send(&opening);
        Self { client, read }
    }
}

impl Peer for AmqpPeer<'_> {
    fn publish(&mut self, message: &Message) {
        let mut out = Vec::new();
        let mut method = b"\0\x3c\0\x28\0\0\x09amq.topic".to_vec();
        push_sized(message.address.as_bytes(), 1, &mut method);
        method.push(0);
        push_frame(1, 1, &method, &mut out);
        let mut header = b"\0\x3c\0\0".to_vec();
        header.extend_from_slice(&(message.body.len() as u64).to_be_bytes());
        push_properties(&message.fields, &mut header);
        push_frame(2, 1, &header, &mut out);
        for piece in message.body.chunks(FRAME_PAYLOAD_MAX) {
            push_frame(3, 1, piece, &mut out);
        }
        let mut read = self.client.send(&out);
        self.read.append(&mut read);
    }

    fn receive(&mut self) -> Result<Vec<Message>, String> {
        let mut read = self.client.read();
        self.read.append(&mut read);
        let read = std::mem::take(&mut self.read);
        let mut frames = Octets(&read);
        let mut messages: Vec<Message> = Vec::new();
        while !frames.is_empty() {
            let (kind, _channel) = (frames.number(1), frames.number(2));
            let mut payload = Octets(frames.sized(4));
            assert_eq!(frames.number(1), 0xCE, "a frame ends");
            match kind {
                1 => on_method(&mut payload, &mut messages)?,
                2 => {
                    payload.take(12);
                    last(&mut messages).fields = read_properties(&mut payload);
                }
                _ => last(&mut messages).body.extend_from_slice(payload.0),
            }
        }
        Ok(messages)
    }
}

fn last(messages: &mut [Message]) -> &mut Message {
    messages.last_mut().expect("content follows basic.deliver")
}

fn on_method(payload: &mut Octets<'_>, messages: &mut Vec<Message>) -> Result<(), String> {
    let method = (payload.number(2), payload.number(2));
    match method {
        (60, 60) => {
            payload.sized(1);
            payload.take(9);
            assert_eq!(payload.sized(1), b"amq.topic");
            let address = payload.sized_text(1);
            messages.push(Message { address, fields: Vec::new(), body: Vec::new() });
        }
        (10, 50) | (20, 40) => return Err(payload.0.escape_ascii().to_string()),
        _ => {}
    }
    Ok(())
}

fn push_frame(kind: u8, channel: u16, payload: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    push_sized(payload, 4, out);
    out.push(0xCE);
}

fn push_properties(fields: &[Field], out: &mut Vec<u8>) {
    let (mut flags, mut list) = (0_u16, Vec::new());
    for (name, bit, tag) in PROPERTIES {
        if tag == b'F' {
            let mut table = Vec::new();
            for header in fields.iter().filter(|field| field.place == Place::Header) {
                push_sized(header.name.as_bytes(), 1, &mut table);
                push_value(header.tag, &header.value, &mut table);
            }
            if !table.is_empty() {
                flags |= 1 << bit;
                push_sized(&table, 4, &mut list);
            }
            continue;
        }
        let is_it = |field: &&Field| field.place == Place::Property && field.name == name;
        let Some(field) = fields.iter().find(is_it) else { continue };
        flags |= 1 << bit;
        match tag {
            b'S' => push_sized(&field.value, 1, &mut list),
            _ => list.extend_from_slice(&field.value),
        }
    }
    out.extend_from_slice(&flags.to_be_bytes());
    out.append(&mut list);
}

/// Appends a value behind its tag.
pub(crate) fn push_value(tag: u8, value: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    match tag {
        b'S' | b'x' | b'A' | b'F' => push_sized(value, 4, out),
        _ => out.extend_from_slice(value),
    }
}

fn read_properties(list: &mut Octets<'_>) -> Vec<Field> {
    let flags = list.number(2);
    let mut fields = Vec::new();
    for (name, bit, tag) in PROPERTIES {
        if flags & 1 << bit == 0 {
            continue;
        }
        match tag {
            b'F' => read_table(Octets(list.sized(4)), &mut fields),
            b'S' => fields.push(Field::property(name, tag, list.sized(1))),
            _ => fields.push(Field::property(name, tag, list.take(size_of_tag(tag)))),
        }
    }
    fields
}

fn read_table(mut table: Octets<'_>, fields: &mut Vec<Field>) {
    while !table.is_empty() {
        let name = table.sized_text(1);
        let tag = table.take(1)[0];
        let value = match tag {
            b'S' | b'x' | b'A' | b'F' => table.sized(4),
            _ => table.take(size_of_tag(tag)),
        };
        fields.push(Field::header(&name, tag, value));
    }
}

fn size_of_tag(tag: u8) -> usize {
    match tag {
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'd' | b'T' => 8,
        _ => panic!("unknown type {}", char::from(tag)),
    }
}
