//! A client of MQTT 5, as small as the matrix needs it.

use std::sync::Arc;

use trivium_core::Protocol;
use trivium_core::testing::{Client, World};

use crate::message::{Field, Message, Place};
use crate::octets::{Octets, push_sized};
use crate::peer::Peer;

/// Properties of PUBLISH that travel: name, identifier, tag of the type.
const PROPERTIES: [(&str, u8, u8); 5] = [
    ("Payload-Format-Indicator", 0x01, b'B'),
    ("Message-Expiry-Interval", 0x02, b'i'),
    ("Content-Type", 0x03, b'S'),
    ("Response-Topic", 0x08, b'S'),
    ("Correlation-Data", 0x09, b'x'),
];

const USER_PROPERTY: u8 = 0x26;

/// Connected, and subscribed to everything at QoS 2.
pub(crate) struct MqttPeer<'w> {
    client: Client<'w, trivium_mqtt::Connection>,
    read: Vec<u8>,
    packet_id: u16,
}

impl<'w> MqttPeer<'w> {
    pub(crate) fn connect(world: &'w World, name: &str) -> Self {
        Self::connect_to(world, name, trivium_mqtt::Config::default())
    }

    /// Through a listener of this configuration.
    pub(crate) fn connect_to(world: &'w World, name: &str, config: trivium_mqtt::Config) -> Self {
        let connection = trivium_mqtt::Connection::new(Arc::new(config), world.now());
        let mut client = world.client(Protocol::Mqtt, connection, usize::MAX);
        let mut opening = Vec::new();
        let mut connect = b"\0\x04MQTT\x05\x02\0\x3c\0".to_vec();
        push_sized(name.as_bytes(), 2, &mut connect);
        push_packet(0x10, &connect, &mut opening);
        push_packet(0x82, b"\0\x01\0\0\x01#\x02", &mut opening);
        let read = client.send(&opening);
        Self { client, read, packet_id: 0 }
    }

    fn send(&mut self, bytes: &[u8]) {
        let mut read = self.client.send(bytes);
        self.read.append(&mut read);
    }

    fn on_publish(&mut self, flags: u8, mut body: Octets<'_>) -> Message {
        let qos = flags >> 1 & 3;
        let address = body.sized_text(2);
        if qos > 0 {
            let packet_id = body.take(2);
            let mut answer = Vec::new();
            push_packet(if qos == 1 { 0x40 } else { 0x50 }, packet_id, &mut answer);
            self.send(&answer);
        }
        let size = variable(&mut body);
        let mut fields = vec![Field::property("QoS", b'B', [qos])];
        if flags & 1 == 1 {
            fields.push(Field::property("RETAIN", b'B', [1]));
        }
        read_properties(Octets(body.take(size)), &mut fields);
        Message { address, fields, body: body.0.to_vec() }
    }
}

impl Peer for MqttPeer<'_> {
    fn publish(&mut self, message: &Message) {
        let flag = |name| message.fields.iter().find(|field| field.name == name);
        let qos = flag("QoS").map_or(0, |field| field.value[0]);
        let mut packet = Vec::new();
        push_sized(message.address.as_bytes(), 2, &mut packet);
        if qos > 0 {
            self.packet_id += 1;
            packet.extend_from_slice(&self.packet_id.to_be_bytes());
        }
        let mut properties = Vec::new();
        message.fields.iter().for_each(|field| push_property(field, &mut properties));
        push_variable(properties.len(), &mut packet);
        packet.append(&mut properties);
        packet.extend_from_slice(&message.body);
        let mut out = Vec::new();
        let retain = u8::from(flag("RETAIN").is_some());
        push_packet(0x30 | qos << 1 | retain, &packet, &mut out);
        self.send(&out);
    }

    fn receive(&mut self) -> Result<Vec<Message>, String> {
        let mut read = self.client.read();
        self.read.append(&mut read);
        let mut messages = Vec::new();
        while !self.read.is_empty() {
            let read = std::mem::take(&mut self.read);
            let mut packets = Octets(&read);
            while !packets.is_empty() {
                let head = packets.take(1)[0];
                let size = variable(&mut packets);
                let mut body = Octets(packets.take(size));
                let mut answer = Vec::new();
                match head >> 4 {
                    3 => messages.push(self.on_publish(head & 15, body)),
                    5 => push_packet(0x62, body.take(2), &mut answer),
                    6 => push_packet(0x70, body.take(2), &mut answer),
                    14 => return Err(body.0.escape_ascii().to_string()),
                    _ => {}
                }
                self.send(&answer);
            }
        }
        Ok(messages)
    }
}

fn push_property(field: &Field, out: &mut Vec<u8>) {
    if field.place == Place::Header {
        out.push(USER_PROPERTY);
        push_sized(field.name.as_bytes(), 2, out);
        push_sized(&field.value, 2, out);
        return;
    }
    let known = PROPERTIES.iter().find(|(name, ..)| *name == field.name);
    let Some(&(_, id, tag)) = known else { return };
    out.push(id);
    match tag {
        b'B' | b'i' => out.extend_from_slice(&field.value),
        _ => push_sized(&field.value, 2, out),
    }
}

fn read_properties(mut block: Octets<'_>, fields: &mut Vec<Field>) {
    while !block.is_empty() {
        let read = block.take(1)[0];
        if read == USER_PROPERTY {
            let name = block.sized_text(2);
            fields.push(Field::header(&name, b'S', block.sized(2)));
            continue;
        }
        let known = PROPERTIES.iter().find(|(_, id, _)| *id == read);
        let (name, _, tag) = known.unwrap_or_else(|| panic!("unknown property {read}"));
        let value = match tag {
            b'B' => block.take(1),
            b'i' => block.take(4),
            _ => block.sized(2),
        };
        fields.push(Field::property(name, *tag, value));
    }
}

fn push_packet(head: u8, body: &[u8], out: &mut Vec<u8>) {
    out.push(head);
    push_variable(body.len(), out);
    out.extend_from_slice(body);
}

fn push_variable(mut value: usize, out: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(value % 128).expect("below 128");
        value /= 128;
        out.push(if value > 0 { low | 128 } else { low });
        if value == 0 {
            return;
        }
    }
}

fn variable(octets: &mut Octets<'_>) -> usize {
    let (mut value, mut shift) = (0, 0);
    loop {
        let octet = octets.take(1)[0];
        value |= usize::from(octet & 127) << shift;
        shift += 7;
        if octet < 128 {
            return value;
        }
    }
}
