//! Frames there and back, and damaged ones.

use std::sync::Arc;

use trivium_core::Protocol;
use trivium_core::testing::{Client, World};
use trivium_stomp::{Config, Connection};

use crate::frames;
use crate::random::Random;

/// What headers are made of: everything that some version codes, and what needs no code.
const PARTS: [&str; 16] =
    ["a", "b", "-", " ", ":", "\\", "\n", "\r", "%", "25", "2F", "é", "\u{1F600}", "\\n", "c", "0"];

/// Plays one round. Returns how many frames it sent.
pub(crate) fn play(random: &mut Random) -> usize {
    if random.chance(50) { there_and_back(random) } else { damaged(random) }
}

fn connect<'w>(world: &'w World, chunk_len: usize, version: &str) -> Client<'w, Connection> {
    let config = Config { message_bytes_max: 4096, headers_max: 24, ..Config::default() };
    let adapter = Connection::new(Arc::new(config), world.now());
    let mut client = world.client(Protocol::Stomp, adapter, chunk_len);
    let accept =
        if version == "1.0" { String::new() } else { format!("accept-version:{version}\n") };
    let read = client.send(format!("CONNECT\n{accept}host:/\n\n\0").as_bytes());
    assert!(read.starts_with(b"CONNECTED\n"), "{}", String::from_utf8_lossy(&read));
    client
}

fn text(random: &mut Random, version: &str, is_name: bool) -> String {
    let mut text = String::new();
    for _ in 0..random.below(6) {
        let part = *random.pick(&PARTS);
        // What 1.0 cannot write, and the padding that it does not mean.
        let is_unsaid = match part {
            "\n" | "\r" | "\\n" | "\\" => true,
            ":" => is_name,
            " " => text.is_empty(),
            _ => false,
        };
        if version != "1.0" || !is_unsaid {
            text.push_str(part);
        }
    }
    text
}

/// `text` as a client of `version` writes it.
fn coded(version: &str, text: &str) -> String {
    let mut coded = String::new();
    for character in text.chars() {
        match character {
            _ if version == "1.0" => coded.push(character),
            '\\' => coded.push_str("\\\\"),
            '\n' => coded.push_str("\\n"),
            ':' => coded.push_str("\\c"),
            '\r' if version == "1.2" => coded.push_str("\\r"),
            other => coded.push(other),
        }
    }
    coded
}

/// What a client of `version` reads in `text`.
fn decoded(version: &str, text: &str) -> String {
    let (mut plain, mut characters) = (String::new(), text.chars());
    while let Some(character) = characters.next() {
        if character != '\\' || version == "1.0" {
            plain.push(character);
            continue;
        }
        plain.push(match (characters.next(), version) {
            (Some('n'), _) => '\n',
            (Some('c'), _) => ':',
            (Some('\\'), _) => '\\',
            (Some('r'), "1.2") => '\r',
            other => panic!("the broker wrote the escape {other:?} in {text}"),
        });
    }
    plain
}

type Headers = Vec<(String, String)>;

/// One SEND, and what its reader must find.
fn send(random: &mut Random, version: &str) -> (Vec<u8>, Headers, Vec<u8>) {
    let count = random.below(12);
    // A name of its own: what means something to the broker may not come back.
    let headers: Headers = (0..count)
        .map(|_| {
            let name = format!("x-{}", text(random, version, true));
            (name, text(random, version, false))
        })
        .collect();
    let body_len = random.below(40);
    let mut body = random.bytes(body_len);
    let has_length = random.chance(50);
    if !has_length {
        body.retain(|octet| *octet != 0);
    }
    // In 1.0 and 1.1 CR LF must end all lines, and values may then not end in CR.
    let is_plain = headers.iter().all(|(name, value)| !format!("{name}{value}").contains('\r'));
    let end = if is_plain && random.chance(30) { "\r\n" } else { "\n" };
    let mut head = format!("SEND{end}destination:/topic/fuzz{end}");
    for (name, value) in &headers {
        for part in [&*coded(version, name), ":", &*coded(version, value), end] {
            head.push_str(part);
        }
    }
    if has_length {
        head.push_str("content-length:");
        head.push_str(&body.len().to_string());
        head.push_str(end);
    }
    head.push_str(end);
    let mut octets = head.into_bytes();
    octets.extend_from_slice(&body);
    octets.push(0);
    let padding = random.below(4);
    octets.extend(std::iter::repeat_n(b'\n', padding));
    (octets, headers, body)
}

fn there_and_back(random: &mut Random) -> usize {
    let world = World::new();
    let version = *random.pick(&["1.0", "1.1", "1.2"]);
    let chunk_len = *random.pick(&[usize::MAX, 1, 2, 3, 17, 64]);
    let mut client = connect(&world, chunk_len, version);
    client.send(b"SUBSCRIBE\nid:0\ndestination:/topic/fuzz\n\n\0");
    let sent: Vec<_> = (0..random.between(1, 8)).map(|_| send(random, version)).collect();
    let octets: Vec<u8> = sent.iter().flat_map(|(octets, ..)| octets.clone()).collect();
    let mut read = client.send(&octets);
    let received = frames::take(&mut read);
    assert!(read.is_empty(), "whole frames");
    assert_eq!(received.len(), sent.len(), "{}", String::from_utf8_lossy(&octets));
    for (frame, (_, headers, body)) in received.iter().zip(&sent) {
        assert_eq!(frame.command, "MESSAGE");
        assert_eq!(&frame.body, body);
        let travelled: Headers = frame
            .headers
            .iter()
            .map(|(name, value)| (decoded(version, name), decoded(version, value)))
            .filter(|(name, _)| name.starts_with("x-"))
            .collect();
        assert_eq!(&travelled, headers, "{version}");
    }
    sent.len()
}

/// How a conversation ends: with which ERROR, and whether at all.
fn ending(octets: &[u8], version: &str, chunk_len: usize) -> (String, bool) {
    let world = World::new();
    let mut client = connect(&world, chunk_len, version);
    let mut read = client.send(octets);
    world.step();
    read.extend(client.read());
    let error = frames::take(&mut read).into_iter().find(|frame| frame.command == "ERROR");
    assert!(read.iter().all(|octet| *octet == b'\n'), "whole frames");
    (error.map(|error| format!("{error:?}")).unwrap_or_default(), client.is_closed())
}

fn damaged(random: &mut Random) -> usize {
    let version = *random.pick(&["1.0", "1.1", "1.2"]);
    let count = random.between(1, 6);
    let mut octets = Vec::new();
    for _ in 0..count {
        octets.append(&mut send(random, version).0);
        let more: &[&[u8]] = &[
            b"",
            b"SUBSCRIBE\nid:0\ndestination:/queue/q\nack:client\n\n\0",
            b"BEGIN\ntransaction:t\n\n\0",
            b"SEND\ndestination:/queue/q\ntransaction:t\n\nhi\0",
            b"COMMIT\ntransaction:t\n\n\0",
            b"UNSUBSCRIBE\nid:0\n\n\0",
        ];
        octets.extend_from_slice(random.pick::<&[u8]>(more));
    }
    for _ in 0..random.between(1, 5) {
        damage(&mut octets, random);
    }
    let pieces = *random.pick(&[1, 2, 3, 7, 50]);
    let (whole, cut) = (ending(&octets, version, usize::MAX), ending(&octets, version, pieces));
    assert_eq!(whole, cut, "in pieces of {pieces}: {}", String::from_utf8_lossy(&octets));
    count
}

fn damage(octets: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(octets.len().max(1));
    let octet = *random.pick(b"\n\0\r:\\\xFF9/% ");
    match random.below(5) {
        0 => octets.insert(at.min(octets.len()), octet),
        1 if at < octets.len() => octets[at] = random.octet(),
        2 if at < octets.len() => octets[at] = octet,
        3 if at < octets.len() => drop(octets.remove(at)),
        _ => octets.truncate(at),
    }
}
