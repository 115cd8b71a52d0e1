//! Attacks that live from time: they hold what they have been given.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::attacks::{TALKS, log_in, talk};
use crate::browsers::upgraded;
use crate::fight::{Fight, Victim};
use crate::gateway::Door;
use crate::wire::{amqp, mqtt, websocket};

/// Unfinished large messages at a time: each may cost the gateway what a message may.
const HOARDERS_MAX: usize = 4;

/// Octets of an unfinished large message. The largest message is 16 MiB.
const HOARD_BYTES: usize = 12 * 1024 * 1024;

/// Octets that are published to a consumer that does not read.
const UNREAD_BYTES: usize = 3 * 1024 * 1024;

/// Stops after some frames of a login, or in the middle of one, and says nothing more.
pub(crate) fn half_open(fight: &mut Fight<'_>) {
    let talk = fight.random.pick(&TALKS);
    let door = if fight.random.chance(20) { Door::Http } else { talk.door };
    let Some(mut victim) = fight.connect(door) else { return };
    let octets =
        if door == Door::Http { websocket::upgrade("/ws", "mqtt") } else { talk.login.concat() };
    victim.push(&octets[..fight.random.below(octets.len())]);
    while !fight.is_over() && victim.listen(Duration::from_millis(100)) {}
}

/// A login octet by octet.
pub(crate) fn drip(fight: &mut Fight<'_>) {
    let talk = fight.random.pick(&TALKS);
    let Some(mut victim) = fight.connect(talk.door) else { return };
    let octets = [talk.login.concat(), talk.rest.concat()].concat();
    let pause = Duration::from_millis(*fight.random.pick(&[1, 5, 20, 100, 1000]));
    for octet in octets {
        if fight.is_over() || !victim.push(&[octet]) || !victim.listen(pause) {
            return;
        }
    }
}

/// The largest length a protocol can say, and then an octet a second.
pub(crate) fn largest_packet(fight: &mut Fight<'_>) {
    let is_logged_in = fight.random.chance(70);
    let (name, head): (_, &[u8]) = match fight.random.below(4) {
        // 16 MiB less a little: the most that is taken.
        0 => ("mqtt 5", b"\x30\xf0\xff\xff\x07\0\x01a\0"),
        1 => ("mqtt 3.1.1", b"\x30\xff\xff\xff\x7f\0\x01a"),
        2 => ("amqp", b"\x03\0\x01\0\x01\xff\xf8"),
        _ => ("stomp 1.2", b"SEND\ndestination:/topic/x\ncontent-length:16777216\n\n"),
    };
    let victim =
        if is_logged_in { log_in(fight, talk(name)) } else { fight.connect(talk(name).door) };
    let Some(mut victim) = victim else { return };
    victim.push(head);
    while !fight.is_over() && victim.listen(Duration::from_secs(1)) && victim.push(b"x") {}
}

/// Most of a large message, and then nothing.
pub(crate) fn hoard(fight: &mut Fight<'_>) {
    if fight.field.hoarders.fetch_add(1, Ordering::Relaxed) < HOARDERS_MAX {
        hoard_once(fight);
    }
    fight.field.hoarders.fetch_sub(1, Ordering::Relaxed);
}

fn hoard_once(fight: &mut Fight<'_>) {
    let piece = fight.random.bytes(64 * 1024);
    let (victim, head, piece) = match fight.random.below(4) {
        0 => (log_in(fight, talk("mqtt 5")), b"\x30\xf0\xff\xff\x07\0\x01a\0".to_vec(), piece),
        1 => {
            let head = b"SEND\ndestination:/topic/x\ncontent-length:16777216\n\n".to_vec();
            (log_in(fight, talk("stomp 1.2")), head, piece)
        }
        2 => {
            let header = [&[0, 60, 0, 0][..], &(16_u64 << 20).to_be_bytes(), &[0, 0]].concat();
            let head = [
                amqp::method(1, 20, 10, b"\0"),
                amqp::publish(1, "", "x", 0),
                amqp::frame(2, 1, &header),
            ];
            (log_in(fight, talk("amqp")), head.concat(), amqp::frame(3, 1, &piece))
        }
        _ => {
            let head = websocket::frame(0x82, 16 << 20, Some([0; 4]), b"");
            (upgraded(fight, &websocket::upgrade("/ws", "v12.stomp")), head, piece)
        }
    };
    let Some(mut victim) = victim else { return };
    let mut is_going = victim.push(&head);
    for _ in 0..HOARD_BYTES / piece.len() {
        is_going = is_going && !fight.is_over() && victim.push(&piece);
    }
    while is_going && !fight.is_over() {
        is_going = victim.listen(Duration::from_millis(100));
    }
}

/// Subscribes and never reads; another connection publishes to it.
pub(crate) fn deaf_consumer(fight: &mut Fight<'_>) {
    let number = fight.random.next();
    let body = vec![b'd'; *fight.random.pick(&[10, 1000, 60_000])];
    let key = format!("hostile.deaf.{number:x}");
    let topic = key.replace('.', "/");
    let (name, subscribe) = match fight.random.below(5) {
        0 => ("mqtt 3.1.1", mqtt::subscribe(4, &topic, 0)),
        1 => ("mqtt 5", mqtt::subscribe(5, &topic, 1)),
        2 => {
            let frame = format!("SUBSCRIBE\nid:d\ndestination:/topic/{key}\nack:auto\n\n\0");
            ("stomp 1.2", frame.into_bytes())
        }
        choice => {
            let names = [&*key, "amq.topic", &*key].map(amqp::short).concat();
            let octets = [
                amqp::method(1, 20, 10, b"\0"),
                amqp::declare(1, &key),
                amqp::method(1, 50, 20, &[&[0, 0][..], &names, &[0; 5]].concat()),
                // With and without acknowledgements.
                amqp::consume(1, &key, if choice == 3 { 2 } else { 0 }),
            ];
            ("amqp", octets.concat())
        }
    };
    let Some(mut deaf) = log_in(fight, talk(name)) else { return };
    deaf.push(&subscribe);
    fight.wait(Duration::from_millis(100));
    publish_to_the_deaf(fight, &topic, &body);
    if name == "amqp" || fight.random.chance(50) {
        // Some wake up late and read all of it.
        while !fight.is_over() && deaf.listen(Duration::from_millis(100)) {}
    } else {
        fight.wait(Duration::from_secs(3));
    }
}

fn publish_to_the_deaf(fight: &Fight<'_>, topic: &str, body: &[u8]) {
    let Some(mut publisher) = fight.connect(Door::Mqtt) else { return };
    publisher.push(&mqtt::connect(4, ""));
    if !publisher.hears(b"\x20") {
        return;
    }
    let packet = mqtt::publish(4, topic, None, body);
    let burst = packet.repeat((32 * 1024 / packet.len()).max(1));
    for _ in 0..UNREAD_BYTES / burst.len() {
        if fight.is_over() || !publisher.push(&burst) {
            return;
        }
    }
}

/// Asks for answers and never reads one.
pub(crate) fn deaf_asker(fight: &mut Fight<'_>) {
    let (victim, question): (Option<Victim<'_>>, Vec<u8>) = match fight.random.below(5) {
        0 => (log_in(fight, talk("mqtt 5")), b"\xc0\0".repeat(4096)),
        1 => {
            let mut victim = log_in(fight, talk("amqp"));
            if let Some(victim) = &mut victim {
                victim.push(&amqp::method(1, 20, 10, b"\0"));
            }
            (victim, amqp::declare(1, "").repeat(400))
        }
        2 => {
            let send = b"SEND\ndestination:/topic/hostile.none\nreceipt:long-long-long\n\n\0";
            (log_in(fight, talk("stomp 1.2")), send.repeat(300))
        }
        3 => {
            let request = b"GET /style.css HTTP/1.1\r\nHost: localhost\r\n\r\n";
            (fight.connect(Door::Http), request.repeat(400))
        }
        _ => {
            let ping = websocket::frame(0x89, 125, Some([0; 4]), &[b'p'; 125]);
            (upgraded(fight, &websocket::upgrade("/ws", "v12.stomp")), ping.repeat(200))
        }
    };
    let Some(mut victim) = victim else { return };
    for _ in 0..64 {
        if fight.is_over() || !victim.push(&question) {
            break;
        }
    }
    fight.wait(Duration::from_secs(2));
}

/// A WebSocket message that goes on, and on.
pub(crate) fn endless_fragments(fight: &mut Fight<'_>) {
    let request = websocket::upgrade("/ws", fight.random.pick::<&str>(&["v12.stomp", "mqtt"]));
    let Some(mut victim) = upgraded(fight, &request) else { return };
    let length = *fight.random.pick(&[0, 1, 1000]);
    let fragment = websocket::frame(
        0,
        length,
        Some([5; 4]),
        &vec![b'f'; usize::try_from(length).unwrap_or(0)],
    );
    let burst = fragment.repeat(8192 / fragment.len());
    victim.push(&websocket::frame(2, 1, Some([5; 4]), b"f"));
    for _ in 0..256 {
        if fight.is_over() || !victim.push(&burst) || !victim.listen(Duration::from_millis(2)) {
            return;
        }
    }
    while !fight.is_over() && victim.listen(Duration::from_millis(100)) {}
}

/// Logged in many times, and silent.
pub(crate) fn crowd(fight: &mut Fight<'_>) {
    let talk = fight.random.pick(&TALKS);
    let mut crowd = Vec::new();
    for _ in 0..5 {
        crowd.extend(log_in(fight, talk));
    }
    fight.wait(Duration::from_secs(2));
    crowd.retain_mut(|victim| victim.listen(Duration::from_millis(1)));
    fight.wait(Duration::from_secs(1));
}
