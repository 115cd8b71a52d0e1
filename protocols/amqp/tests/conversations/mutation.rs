//! Says anything at all: real conversations with octets changed, cut and doubled. Nothing may
//! panic, here or in the core, and what is answered must be whole frames.

use amq_protocol::protocol::BasicProperties;
use amq_protocol::types::{AMQPValue, FieldTable};
use trivium_core::testing::World;

use crate::dialog::{Dialog, HEADER, channel_close, frame, frames, publish, raw, start_ok};

/// A small generator of numbers: the same ones in every run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

/// A bit of everything a client says, frame by frame.
fn vocabulary() -> Vec<Vec<u8>> {
    let mut headers = FieldTable::default();
    let mut inner = FieldTable::default();
    inner.insert("deep".into(), AMQPValue::Boolean(true));
    headers.insert("table".into(), AMQPValue::FieldTable(inner));
    headers.insert("text".into(), AMQPValue::LongString("v".into()));
    let properties = BasicProperties::default()
        .with_content_type("t".into())
        .with_headers(headers.clone())
        .with_expiration("5000".into());
    let asks = BasicProperties::default().with_reply_to("amq.rabbitmq.reply-to".into());
    let ack = |tag| method!(Basic basic::Ack { delivery_tag: tag });
    vec![
        frame(1, method!(Channel channel::Open {})),
        frame(1, method!(Queue queue::Declare { queue: "q".into(), arguments: headers })),
        frame(
            1,
            method!(Queue queue::Bind { queue: "q".into(), exchange: "amq.topic".into(), routing_key: "a.#".into() }),
        ),
        frame(1, method!(Confirm confirm::Select {})),
        frame(1, method!(Basic basic::Qos { prefetch_count: 3 })),
        frame(1, method!(Basic basic::Consume { queue: "q".into(), consumer_tag: "c".into() })),
        frame(
            1,
            method!(Basic basic::Consume { queue: "amq.rabbitmq.reply-to".into(), consumer_tag: "r".into(), no_ack: true }),
        ),
        publish(1, "", "q", asks, b"question"),
        publish(1, "amq.topic", "a.b", properties, b"hello"),
        publish(1, "", "q", BasicProperties::default(), &[7; 5000]),
        publish(2, "", "q", BasicProperties::default(), b""),
        raw(8, 0, b""),
        frame(1, ack(1)),
        frame(1, method!(Basic basic::Nack { delivery_tag: 2, multiple: true, requeue: true })),
        frame(1, method!(Basic basic::Get { queue: "q".into() })),
        frame(1, method!(Basic basic::Recover { requeue: true })),
        frame(1, method!(Basic basic::Cancel { consumer_tag: "c".into() })),
        frame(2, method!(Channel channel::Open {})),
        frame(1, channel_close(200, "", (0, 0))),
        frame(1, method!(Channel channel::CloseOk {})),
        frame(1, method!(Queue queue::Delete { queue: "q".into() })),
    ]
}

fn opening() -> Vec<Vec<u8>> {
    vec![
        HEADER.to_vec(),
        frame(0, start_ok("PLAIN", b"\0guest\0guest")),
        frame(0, method!(Connection connection::TuneOk { channel_max: 9, frame_max: 8192 })),
        frame(0, method!(Connection connection::Open { virtual_host: "/".into() })),
    ]
}

/// A conversation, some of its frames changed.
fn conversation(numbers: &mut Numbers, spare_opening: bool) -> Vec<u8> {
    let vocabulary = vocabulary();
    let mut frames = opening();
    let safe = if spare_opening { frames.len() } else { 0 };
    frames.push(vocabulary[0].clone());
    for _ in 0..numbers.below(30) {
        frames.push(vocabulary[numbers.below(vocabulary.len())].clone());
    }
    for _ in 0..=numbers.below(4) {
        let at = safe + numbers.below(frames.len() - safe);
        mutate(&mut frames[at], numbers);
    }
    frames.concat()
}

fn mutate(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    let at = numbers.below(bytes.len());
    let interesting = [0, 1, 0x7F, 0x80, 0xCE, 0xFF, b'F', b'A', b'S'];
    match numbers.below(6) {
        0 => bytes[at] = u8::try_from(numbers.below(256)).unwrap(),
        1 => bytes[at] = interesting[numbers.below(interesting.len())],
        2 => bytes.truncate(at.max(1)),
        3 => bytes.insert(at, u8::try_from(numbers.below(256)).unwrap()),
        4 => bytes[at] ^= 1 << numbers.below(8),
        _ => {
            let copy = bytes[at..].to_vec();
            bytes.extend(copy);
        }
    }
}

/// Holds the conversation until both have hung up.
fn hold(bytes: &[u8], chunk_len: usize) {
    let world = World::new();
    let mut dialog = Dialog::new(&world, chunk_len);
    let mut heard = dialog.client.send(bytes);
    world.step();
    heard.extend(dialog.client.read());
    heard.extend(dialog.client.shutdown());
    world.pass(60_000);
    heard.extend(dialog.client.read());
    dialog.client.disconnect();
    // After a wrong header it is a header that answers.
    if !heard.starts_with(b"AMQP") {
        frames(&heard);
    }
}

#[test]
fn no_conversation_panics() {
    let mut numbers = Numbers(1);
    for round in 0..3_000 {
        let bytes = conversation(&mut numbers, round % 4 != 0);
        hold(&bytes, if round % 8 == 0 { 1 + numbers.below(50) } else { usize::MAX });
    }
}

#[test]
fn noise_does_not_panic() {
    let mut numbers = Numbers(2);
    for round in 0..500 {
        let mut bytes = if round % 2 == 0 { opening().concat() } else { HEADER.to_vec() };
        for _ in 0..numbers.below(400) {
            bytes.push(u8::try_from(numbers.below(256)).unwrap());
        }
        hold(&bytes, usize::MAX);
    }
}
