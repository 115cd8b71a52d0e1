//! Every kind of attack. The quick ones take milliseconds, the slow ones live from time.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::fight::{Fight, Victim};
use crate::gateway::Door;
use crate::mutate::{damage, shuffle};
use crate::random::Random;
use crate::wire::{Talk, amqp, mqtt, stomp, talks, websocket};
use crate::{browsers, slow};

/// One kind of attack, and how often it ran.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Fight<'_>),
    pub(crate) count: AtomicU64,
}

impl Kind {
    const fn new(name: &'static str, run: fn(&mut Fight<'_>)) -> Self {
        Self { name, run, count: AtomicU64::new(0) }
    }
}

/// Attacks that come and go.
pub(crate) static QUICK: [Kind; 17] = [
    Kind::new("random octets", random_octets),
    Kind::new("damaged conversation", damaged),
    Kind::new("damaged after login", damaged_after_login),
    Kind::new("conversation cut", cut),
    Kind::new("frames shuffled", shuffled),
    Kind::new("wrong door", wrong_door),
    Kind::new("nested tables", nested_tables),
    Kind::new("headers without end", headers_without_end),
    Kind::new("huge subscribe", huge_subscribe),
    Kind::new("claimed sizes", claimed_sizes),
    Kind::new("long topics", long_topics),
    Kind::new("churn", churn),
    Kind::new("many channels", many_channels),
    Kind::new("websocket frames", browsers::broken_frames),
    Kind::new("damaged in websocket", browsers::damaged),
    Kind::new("http junk", browsers::junk),
    Kind::new("huge http head", browsers::huge_head),
];

/// Attacks that stay.
pub(crate) static SLOW: [Kind; 8] = [
    Kind::new("half-open handshake", slow::half_open),
    Kind::new("one octet at a time", slow::drip),
    Kind::new("largest packet, dripping", slow::largest_packet),
    Kind::new("unfinished large message", slow::hoard),
    Kind::new("consumer that never reads", slow::deaf_consumer),
    Kind::new("asks and never reads", slow::deaf_asker),
    Kind::new("fragments without end", slow::endless_fragments),
    Kind::new("idle crowd", slow::crowd),
];

/// The valid conversations.
pub(crate) static TALKS: LazyLock<Vec<Talk>> = LazyLock::new(talks);

fn random_octets(fight: &mut Fight<'_>) {
    let door = *fight.random.pick(&Door::ALL);
    let Some(mut victim) = fight.connect(door) else { return };
    let length = *fight.random.pick(&[1, 7, 64, 1000, 10_000, 100_000]);
    let mut octets = fight.random.bytes(length);
    // Some get past the first look.
    let beginning: &[u8] = match (fight.random.below(2), door) {
        (0, _) => b"",
        (_, Door::Amqp) => amqp::HEADER,
        (_, Door::Mqtt) => b"\x10\x20\0\x04MQTT\x05",
        (_, Door::Stomp) => b"CONNECT\n",
        (_, Door::Http | Door::Prometheus) => b"GET / HTTP/1.1\r\n",
    };
    octets.splice(0..0, beginning.iter().copied());
    victim.push(&octets);
    fight.leave(victim);
}

fn damaged(fight: &mut Fight<'_>) {
    let talk = fight.random.pick(&TALKS);
    let mut octets = [talk.login.concat(), talk.rest.concat()].concat();
    damage(&mut octets, &mut fight.random);
    send_all(fight, talk.door, &octets);
}

fn damaged_after_login(fight: &mut Fight<'_>) {
    let talk = fight.random.pick(&TALKS);
    // AMQP wants its channel.
    let kept = usize::from(talk.door == Door::Amqp);
    let valid = [talk.login.concat(), talk.rest[..kept].concat()].concat();
    let mut octets = talk.rest[kept..].concat();
    damage(&mut octets, &mut fight.random);
    send_all(fight, talk.door, &[valid, octets].concat());
}

/// Cut at every position, one after the other.
fn cut(fight: &mut Fight<'_>) {
    let mut at = fight.field.cut.fetch_add(1, Ordering::Relaxed);
    let lengths = TALKS.iter().map(|talk| talk.login.concat().len() + talk.rest.concat().len());
    at %= lengths.sum::<usize>();
    for talk in TALKS.iter() {
        let octets = [talk.login.concat(), talk.rest.concat()].concat();
        if let Some(octets) = octets.get(..at) {
            return send_all(fight, talk.door, octets);
        }
        at -= octets.len();
    }
}

fn shuffled(fight: &mut Fight<'_>) {
    let talk = fight.random.pick(&TALKS);
    let mut frames = talk.rest.clone();
    if fight.random.chance(20) {
        let other = fight.random.pick(&TALKS);
        frames.extend(other.rest.iter().cloned());
    }
    shuffle(&mut frames, &mut fight.random);
    send_all(fight, talk.door, &[talk.login.concat(), frames.concat()].concat());
}

fn wrong_door(fight: &mut Fight<'_>) {
    let talk = fight.random.pick(&TALKS);
    let door = *fight.random.pick(&Door::ALL);
    send_all(fight, door, &[talk.login.concat(), talk.rest.concat()].concat());
}

fn send_all(fight: &mut Fight<'_>, door: Door, octets: &[u8]) {
    let Some(mut victim) = fight.connect(door) else { return };
    match fight.random.below(4) {
        0 => victim.push_in_pieces(octets, &mut fight.random),
        1 => {
            let (first, second) = octets.split_at(fight.random.below(octets.len() + 1));
            victim.push(first) && victim.listen(Duration::from_millis(5)) && victim.push(second)
        }
        _ => victim.push(octets),
    };
    fight.leave(victim);
}

/// Logs in as a client of `talk`, so that what follows is heard.
pub(crate) fn log_in<'a>(fight: &Fight<'a>, talk: &Talk) -> Option<Victim<'a>> {
    let mut victim = fight.connect(talk.door)?;
    let (welcome, level): (&[u8], _) = match talk.name {
        "mqtt 3.1" => (b"\x20", 3),
        "mqtt 3.1.1" => (b"\x20", 4),
        "mqtt 5" => (b"\x20", 5),
        "amqp" => (amqp::OPEN_OK, 0),
        _ => (b"CONNECTED", 0),
    };
    if level > 0 {
        // Of its own name: the conversation's is taken over by the next who uses it.
        let number = fight.field.connections.load(Ordering::Relaxed);
        victim.push(&mqtt::connect(level, &format!("{number} {:?}", fight.until)));
    } else {
        victim.push(&talk.login.concat());
    }
    victim.hears(welcome).then_some(victim)
}

pub(crate) fn talk(name: &str) -> &'static Talk {
    TALKS.iter().find(|talk| talk.name == name).expect("the conversation exists")
}

/// 32 KiB of tables or arrays inside each other, in every place that takes a table.
fn nested_tables(fight: &mut Fight<'_>) {
    const BYTES: usize = 32 * 1024;
    let is_table = fight.random.chance(50);
    let honest_lengths = fight.random.chance(70);
    let mut table = Vec::new();
    while table.len() < BYTES {
        let head: &[u8] = if is_table || table.is_empty() { b"\x01a" } else { b"" };
        let left = if honest_lengths { BYTES - table.len() } else { BYTES };
        table.extend_from_slice(head);
        table.push(if is_table { b'F' } else { b'A' });
        table.extend(u32::try_from(left).unwrap_or(u32::MAX).to_be_bytes());
    }
    if fight.random.chance(50) {
        // As correct as can be: each length is what really follows.
        let head = if is_table { 7 } else { 5 };
        let mut at = if is_table { 3 } else { 3.min(head) };
        while at + 4 <= table.len() {
            let left = u32::try_from(table.len() - at - 4).unwrap_or(0).to_be_bytes();
            table[at..at + 4].copy_from_slice(&left);
            at += head;
        }
    }
    let long = amqp::long(&table);
    if fight.random.chance(20) {
        let octets = [&amqp::HEADER[..], &amqp::start_ok(&table, "guest")].concat();
        return send_all(fight, Door::Amqp, &octets);
    }
    let Some(mut victim) = log_in(fight, talk("amqp")) else { return };
    let declare = [&[0, 0][..], &amqp::short("deep"), &[4], &long].concat();
    let header = [&[0, 60, 0, 0][..], &[0; 8], &[0x20, 0], &long].concat();
    let octets = match fight.random.below(3) {
        0 => amqp::method(1, 50, 10, &declare),
        1 => [amqp::publish(1, "", "x", 0), amqp::frame(2, 1, &header)].concat(),
        _ => {
            let names = ["", "amq.headers", ""].map(amqp::short).concat();
            amqp::method(1, 50, 20, &[&[0, 0][..], &names, &[0], &long].concat())
        }
    };
    victim.push(&[amqp::method(1, 20, 10, b"\0"), octets].concat());
    fight.leave(victim);
}

/// A million headers, one endless line, or ends of lines for ever.
fn headers_without_end(fight: &mut Fight<'_>) {
    let beginning = *fight.random.pick(&[&b"CONNECT\n"[..], b"SEND\ndestination:/topic/x\n", b""]);
    let piece = match fight.random.below(5) {
        0 => b"a:b\n".repeat(4096),
        1 => b"x".repeat(16_384),
        2 => b"\n".repeat(16_384),
        3 => b"\0".repeat(16_384),
        _ => b"\\c:\\n\\\\\r\n".repeat(2048),
    };
    let victim = if beginning.starts_with(b"SEND") {
        log_in(fight, talk("stomp 1.2"))
    } else {
        fight.connect(Door::Stomp)
    };
    let Some(mut victim) = victim else { return };
    victim.push(beginning);
    for _ in 0..256 {
        if fight.is_over() || !victim.push(&piece) || !victim.listen(Duration::from_micros(200)) {
            break;
        }
    }
    fight.leave(victim);
}

/// Thousands of filters in one packet, with many levels, or one filter of 64 KiB.
fn huge_subscribe(fight: &mut Fight<'_>) {
    let level = *fight.random.pick(&[4, 5]);
    let name = if level == 5 { "mqtt 5" } else { "mqtt 3.1.1" };
    let Some(mut victim) = log_in(fight, talk(name)) else { return };
    let filter = match fight.random.below(4) {
        0 => "a/".repeat(32_000),
        1 => "+/".repeat(30_000) + "#",
        2 => format!("{}/#", "x".repeat(60_000)),
        _ => String::new(),
    };
    let mut body = if level == 5 { vec![0, 9, 0] } else { vec![0, 9] };
    if filter.is_empty() {
        for number in 0..fight.random.between(1000, 15_000) {
            body.extend(mqtt::text(&format!("hostile/{number}/+/{}", fight.random.below(10))));
            body.push(0);
        }
    } else {
        body.extend(mqtt::text(&filter));
        body.push(1);
    }
    victim.push(&mqtt::packet(0x82, &body));
    victim.listen(Duration::from_millis(20));
    victim.push(&mqtt::publish(level, "hostile/1/x/1", None, b"fan-out"));
    fight.leave(victim);
}

/// Publishes to ever new topics that are as long as can be.
fn long_topics(fight: &mut Fight<'_>) {
    let Some(mut victim) = log_in(fight, talk("mqtt 3.1.1")) else { return };
    for _ in 0..40 {
        // Not below `hostile`: what others subscribe to and never acknowledge is a backlog, and
        // 2 GiB of it would hide what the broker itself keeps of a topic.
        let topic = format!("long/{:x}/{}", fight.random.next(), "x".repeat(60_000));
        if fight.is_over() || !victim.push(&mqtt::publish(4, &topic, None, b"")) {
            break;
        }
    }
    fight.leave(victim);
}

/// Small frames that say that they are large.
fn claimed_sizes(fight: &mut Fight<'_>) {
    let choice = fight.random.below(8);
    let (name, octets): (_, Vec<u8>) = match choice {
        0 => ("amqp", b"\x01\0\x01\xff\xff\xff\xff\0\x32\0\x0a".to_vec()),
        1 => {
            let open = amqp::method(1, 20, 10, b"\0");
            let size = *fight.random.pick(&[u64::MAX, 1 << 62, 1 << 32, 1 << 29, 16 << 20]);
            let header = [&[0, 60, 0, 0][..], &size.to_be_bytes(), &[0, 0]].concat();
            let header = amqp::frame(2, 1, &header);
            ("amqp", [open, amqp::publish(1, "", "x", 0), header].concat())
        }
        2 => ("amqp", amqp::frame(1, 0, &[&[0, 10, 0, 40, 0xFF][..], b"/"].concat())),
        3 => ("mqtt 5", b"\x30\xff\xff\xff\x7f\0\x05topic".to_vec()),
        4 => ("mqtt 3.1.1", b"\x30\xff\xff\xff\xff\xff\x7f".to_vec()),
        5 => ("mqtt 5", mqtt::packet(0x32, b"\xff\xffabc\0\x01\xff\xff\xff\x7f")),
        6 => (
            "stomp 1.2",
            b"SEND\ndestination:/topic/x\ncontent-length:18446744073709551616\n\n".to_vec(),
        ),
        _ => {
            ("stomp 1.1", b"SEND\ndestination:/topic/x\ncontent-length:4294967295\n\nx\0".to_vec())
        }
    };
    let Some(mut victim) = log_in(fight, talk(name)) else { return };
    victim.push(&octets);
    victim.push(&fight.random.bytes(2000));
    fight.leave(victim);
}

fn churn(fight: &mut Fight<'_>) {
    let door = *fight.random.pick(&Door::ALL);
    for _ in 0..fight.random.between(1, 30) {
        let Some(mut victim) = fight.connect(door) else { return };
        if fight.random.chance(30) {
            victim.push(amqp::HEADER);
        }
    }
}

/// All channels that there may be, with a queue and an unfinished message on some.
fn many_channels(fight: &mut Fight<'_>) {
    let Some(mut victim) = log_in(fight, talk("amqp")) else { return };
    let (first, count) = (fight.random.between(1, 3), fight.random.between(100, 2100));
    for channel in first..first + count {
        let channel = u16::try_from(channel).unwrap_or(u16::MAX);
        let mut octets = amqp::method(channel, 20, 10, b"\0");
        if channel % 16 == 0 {
            octets.extend(amqp::declare(channel, ""));
            octets.extend(amqp::publish(channel, "", "x", 0));
            let header = [&[0, 60, 0, 0][..], &(16_u64 << 20).to_be_bytes(), &[0, 0]].concat();
            octets.extend(amqp::frame(2, channel, &header));
        }
        if fight.is_over() || !victim.push(&octets) {
            break;
        }
    }
    victim.listen(Duration::from_millis(20));
    fight.leave(victim);
}

/// A conversation with damage, for a carrier.
pub(crate) fn damaged_talk(random: &mut Random) -> (&'static Talk, Vec<u8>) {
    let talk = random.pick(&TALKS);
    let mut octets = talk.rest.concat();
    damage(&mut octets, random);
    (talk, [talk.login.concat(), octets].concat())
}

/// An upgrade for what `talk` speaks.
pub(crate) fn upgrade_for(talk: &Talk) -> Vec<u8> {
    match talk.door {
        Door::Amqp => websocket::upgrade("/ws", "amqp"),
        Door::Mqtt => websocket::upgrade("/mqtt", "mqtt"),
        _ => websocket::upgrade("/stomp", "v12.stomp"),
    }
}

/// What a STOMP client says to log in.
pub(crate) const STOMP_LOGIN: &[u8] = stomp::CONNECT;
