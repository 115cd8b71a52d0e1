//! The four protocols written by hand: frames, and a conversation of each version that uses as
//! much of it as fits.

use crate::gateway::Door;

/// A valid conversation, one frame or packet an item.
pub(crate) struct Talk {
    pub(crate) name: &'static str,
    pub(crate) door: Door,
    /// Until the client is logged in.
    pub(crate) login: Vec<Vec<u8>>,
    /// What it says then.
    pub(crate) rest: Vec<Vec<u8>>,
}

/// Every protocol and version.
pub(crate) fn talks() -> Vec<Talk> {
    let mut all = vec![amqp::talk()];
    all.extend([3, 4, 5].map(mqtt::talk));
    all.extend(["1.0", "1.1", "1.2"].map(stomp::talk));
    all
}

pub(crate) mod amqp {
    use super::{Door, Talk};

    pub(crate) const HEADER: &[u8; 8] = b"AMQP\0\0\x09\x01";
    pub(crate) const OPEN_OK: &[u8] = b"\0\x0a\0\x29\0\xce";

    pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
        [&[kind], &channel.to_be_bytes()[..], &length, payload, &[0xCE]].concat()
    }

    pub(crate) fn method(channel: u16, class: u8, method: u8, arguments: &[u8]) -> Vec<u8> {
        frame(1, channel, &[&[0, class, 0, method], arguments].concat())
    }

    pub(crate) fn short(text: &str) -> Vec<u8> {
        [&[u8::try_from(text.len()).expect("a name is short")], text.as_bytes()].concat()
    }

    pub(crate) fn long(bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).expect("a table is short").to_be_bytes();
        [&length, bytes].concat()
    }

    /// Content header and body of a message without properties.
    pub(crate) fn content(channel: u16, body: &[u8]) -> Vec<u8> {
        let header = [&[0, 60, 0, 0][..], &(body.len() as u64).to_be_bytes(), &[0, 0]].concat();
        [frame(2, channel, &header), frame(3, channel, body)].concat()
    }

    pub(crate) fn publish(channel: u16, exchange: &str, key: &str, bits: u8) -> Vec<u8> {
        let arguments = [&[0, 0][..], &short(exchange), &short(key), &[bits]].concat();
        method(channel, 60, 40, &arguments)
    }

    /// Declares an exclusive queue.
    pub(crate) fn declare(channel: u16, queue: &str) -> Vec<u8> {
        method(channel, 50, 10, &[&[0, 0][..], &short(queue), &[4, 0, 0, 0, 0]].concat())
    }

    pub(crate) fn consume(channel: u16, queue: &str, bits: u8) -> Vec<u8> {
        let names = [short(queue), short("c")].concat();
        method(channel, 60, 20, &[&[0, 0][..], &names, &[bits, 0, 0, 0, 0]].concat())
    }

    pub(crate) fn start_ok(properties: &[u8], password: &str) -> Vec<u8> {
        let response = format!("\0guest\0{password}");
        let arguments =
            [long(properties), short("PLAIN"), long(response.as_bytes()), short("en_US")];
        method(0, 10, 11, &arguments.concat())
    }

    pub(crate) fn login() -> Vec<Vec<u8>> {
        vec![
            HEADER.to_vec(),
            start_ok(&[], "guest"),
            method(0, 10, 31, b"\x07\xff\0\x02\0\0\0\0"),
            method(0, 10, 40, b"\x01/\0\0"),
        ]
    }

    /// A table with a value of every type.
    fn every_type() -> Vec<u8> {
        let mut table = Vec::new();
        let values: [(u8, &[u8]); 18] = [
            (b't', &[1]),
            (b'b', &[0xFF]),
            (b'B', &[0xFF]),
            (b's', &[1, 2]),
            (b'u', &[1, 2]),
            (b'I', &[1, 2, 3, 4]),
            (b'i', &[1, 2, 3, 4]),
            (b'l', &[1; 8]),
            (b'L', &[1; 8]),
            (b'f', &[0x7F, 0xC0, 0, 0]),
            (b'd', &[0x40; 8]),
            (b'D', &[2, 0, 0, 0, 9]),
            (b'T', &[0, 0, 0, 0, 0x65, 0, 0, 0]),
            (b'S', b"\0\0\0\x03abc"),
            (b'x', b"\0\0\0\x03\0\xff\x01"),
            (b'V', b""),
            (b'A', b"\0\0\0\x04t\x01V\x56"),
            (b'F', b"\0\0\0\x0a\x01aF\0\0\0\x03\x01bV"),
        ];
        for (tag, value) in values {
            table.extend(short(&format!("x-{}", char::from(tag))));
            table.push(tag);
            table.extend_from_slice(value);
        }
        long(&table)
    }

    /// Every property of a message.
    fn properties(body_bytes: u64) -> Vec<u8> {
        let texts = ["i", "/", "30000", "id"].map(short).concat();
        let header = [
            &[0, 60, 0, 0][..],
            &body_bytes.to_be_bytes(),
            b"\xff\xf8",
            &[short("text/plain"), short("utf-8"), every_type()].concat(),
            &[2, 5],
            &texts,
            &[0, 0, 0, 0, 0x65, 0, 0, 0],
            &["type", "guest", "app", ""].map(short).concat(),
        ];
        frame(2, 1, &header.concat())
    }

    pub(super) fn talk() -> Talk {
        let names = |names: &[&str]| names.iter().flat_map(|name| short(name)).collect::<Vec<_>>();
        let exchange = [&[0, 0][..], &names(&["hostile-x", "topic"]), &[4]].concat();
        let queue = [&[0, 0][..], &short("hostile-q"), &[8]].concat();
        let bind = [&[0, 0][..], &names(&["", "amq.topic", "hostile.#"]), &[0]].concat();
        let headers = [&[0, 0][..], &names(&["", "amq.headers", ""]), &[0]].concat();
        let rest = vec![
            method(1, 20, 10, b"\0"),
            method(1, 85, 10, b"\0"),
            method(1, 60, 10, b"\0\0\0\0\0\x0a\0"),
            method(1, 40, 10, &[exchange, every_type()].concat()),
            method(1, 50, 10, &[queue, every_type()].concat()),
            declare(1, ""),
            method(1, 50, 20, &[&bind[..], b"\0\0\0\0"].concat()),
            method(1, 50, 20, &[headers, every_type()].concat()),
            consume(1, "", 0),
            [publish(1, "amq.topic", "hostile.a", 1), properties(4), frame(3, 1, b"body")].concat(),
            [publish(1, "", "nowhere", 1), content(1, b"x")].concat(),
            method(1, 60, 70, b"\0\0\0\0"),
            method(1, 60, 80, b"\0\0\0\0\0\0\0\x01\0"),
            method(1, 60, 120, b"\0\0\0\0\0\0\0\x02\x02"),
            method(1, 60, 90, b"\0\0\0\0\0\0\0\x03\x01"),
            method(1, 60, 110, b"\x01"),
            method(1, 90, 10, b""),
            frame(8, 0, b""),
            method(2, 20, 10, b"\0"),
            method(2, 90, 10, b""),
            [publish(2, "amq.direct", "t", 0), content(2, &[b'z'; 300])].concat(),
            method(2, 90, 20, b""),
            method(1, 60, 30, b"\x01c\0"),
            method(1, 50, 30, b"\0\0\0\0"),
            method(1, 50, 40, b"\0\0\0\0"),
            method(2, 20, 40, b"\0\xc8\x02ok\0\0\0\0"),
            method(0, 10, 50, b"\0\xc8\x02ok\0\0\0\0"),
        ];
        Talk { name: "amqp", door: Door::Amqp, login: login(), rest }
    }
}

pub(crate) mod mqtt {
    use super::{Door, Talk};

    pub(crate) fn text(text: &str) -> Vec<u8> {
        let length = u16::try_from(text.len()).expect("a topic is short").to_be_bytes();
        [&length, text.as_bytes()].concat()
    }

    pub(crate) fn variable(mut value: usize) -> Vec<u8> {
        let mut octets = Vec::new();
        loop {
            let low = u8::try_from(value & 0x7F).expect("seven bits");
            value >>= 7;
            octets.push(if value > 0 { low | 0x80 } else { low });
            if value == 0 {
                return octets;
            }
        }
    }

    pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
        [&[first], &variable(body.len())[..], body].concat()
    }

    fn name_of(level: u8) -> Vec<u8> {
        let name = if level == 3 { "MQIsdp" } else { "MQTT" };
        [&text(name)[..], &[level]].concat()
    }

    /// A clean session without keep-alive; guest is let in from loopback.
    pub(crate) fn connect(level: u8, client: &str) -> Vec<u8> {
        let properties: &[u8] = if level == 5 { &[0] } else { &[] };
        packet(0x10, &[&name_of(level)[..], &[2, 0, 0], properties, &text(client)].concat())
    }

    pub(crate) fn subscribe(level: u8, filter: &str, qos: u8) -> Vec<u8> {
        let properties: &[u8] = if level == 5 { &[0] } else { &[] };
        packet(0x82, &[&[0, 1], properties, &text(filter), &[qos]].concat())
    }

    pub(crate) fn publish(level: u8, topic: &str, id: Option<u16>, body: &[u8]) -> Vec<u8> {
        let mut packet_body = text(topic);
        packet_body.extend(id.iter().flat_map(|id| id.to_be_bytes()));
        packet_body.extend_from_slice(if level == 5 { &[0] } else { &[] });
        packet_body.extend_from_slice(body);
        packet(if id.is_some() { 0x32 } else { 0x30 }, &packet_body)
    }

    /// A login with everything that CONNECT can carry.
    fn full_connect(level: u8) -> Vec<u8> {
        let is_5 = level == 5;
        let properties: &[u8] =
            b"\x1b\x11\0\0\0\x0a\x21\0\x14\x27\0\x01\0\0\x22\0\x0a\x19\x01\x17\x01\x26\0\x01a\0\x01b";
        let will_properties: &[u8] =
            b"\x13\x18\0\0\0\x01\x01\x01\x02\0\0\0\x0a\x03\0\x01t\x08\0\x01r";
        let version_5 = |bytes| if is_5 { bytes } else { &[][..] };
        let body = [
            &name_of(level)[..],
            &[0xCE, 0, 0],
            version_5(properties),
            &text("hostile-full"),
            version_5(will_properties),
            &text("hostile/will"),
            &text("gone"),
            &text("guest"),
            &text("guest"),
        ];
        packet(0x10, &body.concat())
    }

    pub(super) fn talk(level: u8) -> Talk {
        let (name, is_5) = match level {
            3 => ("mqtt 3.1", false),
            4 => ("mqtt 3.1.1", false),
            _ => ("mqtt 5", true),
        };
        let none = |bytes: Vec<u8>| packet(0x32, &bytes);
        let properties: &[u8] =
            b"\x27\x01\x01\x02\0\0\0\x3c\x03\0\x01t\x08\0\x01r\x09\0\x02\0\xff\x23\0\x01\x26\0\x01k\0\x01v\x26\0\x01k\0\x00";
        let mut rest = vec![
            subscribe(level, "hostile/#", 1),
            subscribe(level, "+/hostile/+", 2),
            publish(level, "hostile/a", None, b"zero"),
            publish(level, "hostile/b", Some(7), b"one"),
            packet(0x3D, &publish(level, "hostile/c", Some(8), b"two")[2..]),
            packet(0x62, b"\0\x08"),
            packet(0x31, &publish(level, "hostile/kept", None, b"")[2..]),
            packet(0x40, b"\0\x01"),
            packet(0x50, b"\0\x01"),
            packet(0x70, b"\0\x01"),
            packet(
                0xA2,
                &[&b"\0\x02"[..], if is_5 { &b"\0"[..] } else { b"" }, &text("a/b")].concat(),
            ),
            packet(0xC0, b""),
        ];
        if is_5 {
            let head = [text("hostile/d"), vec![0, 9]].concat();
            rest.insert(3, none([&head[..], properties, b"full"].concat()));
            rest.insert(4, none([&text("")[..], b"\0\x0a\x03\x23\0\x01", b"alias"].concat()));
            let filter = [&b"\0\x03\x02\x0b\x05"[..], &text("hostile/e"), &[0x2D]].concat();
            rest.insert(1, packet(0x82, &filter));
            rest.push(packet(0xF0, b"\x18\x09\x15\0\x05PLAIN"));
            rest.push(packet(0xE0, b"\x04\x05\x11\0\0\0\0"));
        } else {
            rest.push(packet(0xE0, b""));
        }
        Talk { name, door: Door::Mqtt, login: vec![full_connect(level)], rest }
    }
}

pub(crate) mod stomp {
    use super::{Door, Talk};

    pub(crate) const CONNECT: &[u8] =
        b"CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0";

    pub(super) fn talk(version: &'static str) -> Talk {
        let name = match version {
            "1.0" => "stomp 1.0",
            "1.1" => "stomp 1.1",
            _ => "stomp 1.2",
        };
        let connect = format!(
            "CONNECT\naccept-version:{version}\nhost:/\nlogin:guest\npasscode:guest\n\
             heart-beat:0,0\n\n\0"
        );
        let rest: [&[u8]; 15] = [
            b"\n\r\n",
            b"SUBSCRIBE\nid:1\ndestination:/topic/hostile.*\nack:client-individual\nreceipt:a\n\n\0",
            b"SUBSCRIBE\nid:2\ndestination:/exchange/amq.topic/hostile.#\nack:client\n\n\0",
            b"SUBSCRIBE\nid:3\ndestination:/temp-queue/hostile\nprefetch-count:3\n\n\0",
            b"SEND\ndestination:/topic/hostile.a\ncontent-length:5\nreceipt:b\n\n\0\0a\0\0\0",
            b"SEND\ndestination:/temp-queue/hostile\nx:\\c\\n\\\\\npriority:4\nexpiration:60000\n\
              reply-to:/temp-queue/r\ncorrelation-id:1\npersistent:true\n\nhello\0",
            b"SEND\r\ndestination:/exchange/amq.headers\r\n\r\nhello\0",
            b"BEGIN\ntransaction:t\n\n\0",
            b"SEND\ndestination:/topic/hostile.b\ntransaction:t\n\nlater\0",
            b"COMMIT\ntransaction:t\nreceipt:c\n\n\0",
            b"BEGIN\ntransaction:u\n\n\0ABORT\ntransaction:u\n\n\0",
            b"ACK\nid:T_1@@session@@1\nmessage-id:T_1@@session@@1\nsubscription:1\n\n\0",
            b"NACK\nid:T_1@@session@@2\nmessage-id:T_1@@session@@2\nsubscription:1\n\n\0",
            b"UNSUBSCRIBE\nid:1\nreceipt:d\n\n\0",
            b"DISCONNECT\nreceipt:e\n\n\0",
        ];
        let rest = rest.iter().map(|frame| frame.to_vec()).collect();
        Talk { name, door: Door::Stomp, login: vec![connect.into_bytes()], rest }
    }
}

pub(crate) mod websocket {
    /// A request for an upgrade, as a browser makes it.
    pub(crate) fn upgrade(path: &str, subprotocol: &str) -> Vec<u8> {
        let offer = if subprotocol.is_empty() {
            String::new()
        } else {
            format!("Sec-WebSocket-Protocol: {subprotocol}\r\n")
        };
        format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
        )
        .into_bytes()
    }

    /// A frame whose length is written as `claimed`, masked with zeros unless `mask` is `None`.
    pub(crate) fn frame(first: u8, claimed: u64, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
        let bit = if mask.is_some() { 0x80 } else { 0 };
        let mut frame = vec![first];
        match (u8::try_from(claimed), u16::try_from(claimed)) {
            (Ok(short @ ..=125), _) => frame.push(bit | short),
            (_, Ok(medium)) => {
                frame.push(bit | 0x7e);
                frame.extend(medium.to_be_bytes());
            }
            _ => {
                frame.push(bit | 0x7f);
                frame.extend(claimed.to_be_bytes());
            }
        }
        let key = mask.unwrap_or_default();
        frame.extend(mask.iter().flatten());
        frame.extend(payload.iter().zip(key.iter().cycle()).map(|(octet, key)| octet ^ key));
        frame
    }

    /// A whole binary message.
    pub(crate) fn binary(payload: &[u8]) -> Vec<u8> {
        frame(0x82, payload.len() as u64, Some([1, 2, 3, 4]), payload)
    }
}
