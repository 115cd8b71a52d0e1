//! Attacks on the HTTP door, and through `WebSocket`s.

use std::time::Duration;

use crate::attacks::{STOMP_LOGIN, damaged_talk, upgrade_for};
use crate::fight::{Fight, Victim};
use crate::gateway::Door;
use crate::mutate::damage;
use crate::wire::websocket;

/// An upgraded connection.
pub(crate) fn upgraded<'a>(fight: &Fight<'a>, request: &[u8]) -> Option<Victim<'a>> {
    let mut victim = fight.connect(Door::Http)?;
    victim.push(request);
    victim.hears(b"\r\n\r\n").then_some(victim)
}

/// Frames that RFC 6455 forbids, or hardly allows.
pub(crate) fn broken_frames(fight: &mut Fight<'_>) {
    let mask = Some([9, 8, 7, 6]);
    let random = &mut fight.random;
    let claimed = *random.pick(&[1_u64 << 63, (1 << 63) - 1, 1 << 40, 1 << 32, 1 << 25]);
    let ping = websocket::frame(0x89, 125, mask, &[b'p'; 125]);
    let octets = match random.below(13) {
        0 => websocket::frame(0x82, 4, None, b"bare"),
        1 => websocket::frame(0x82, claimed, mask, b"x"),
        2 => websocket::frame(0xF2, 4, mask, b"bits"),
        3 => websocket::frame(0x80 | *random.pick(&[3, 5, 7, 11, 15]), 4, mask, b"code"),
        4 => websocket::frame(0x89, 126, mask, &[b'p'; 126]),
        5 => websocket::frame(0x09, 4, mask, b"part"),
        6 => websocket::frame(0x80, 4, mask, b"rest"),
        7 => websocket::frame(0x02, 4, mask, b"part").repeat(2),
        8 => websocket::frame(0x81, 2, mask, b"\xC3\x28"),
        9 => websocket::frame(0x88, 1, mask, b"\x03"),
        10 => websocket::frame(0x88, 4, mask, b"\x00\x01\xff\xfe"),
        11 => ping.repeat(500),
        _ => random.bytes(300),
    };
    let request =
        websocket::upgrade("/ws", fight.random.pick::<&str>(&["v12.stomp", "mqtt", "amqp", ""]));
    let Some(mut victim) = upgraded(fight, &request) else { return };
    if fight.random.chance(30) {
        victim.push(&websocket::binary(STOMP_LOGIN));
    }
    victim.push(&octets);
    victim.push(&octets);
    fight.leave(victim);
}

/// A damaged conversation in messages, or damaged messages.
pub(crate) fn damaged(fight: &mut Fight<'_>) {
    let (talk, octets) = damaged_talk(&mut fight.random);
    let Some(mut victim) = upgraded(fight, &upgrade_for(talk)) else { return };
    let mut carried = Vec::new();
    for piece in octets.chunks(fight.random.between(1, 500)) {
        carried.extend(websocket::binary(piece));
    }
    if fight.random.chance(50) {
        damage(&mut carried, &mut fight.random);
    }
    victim.push(&carried);
    fight.leave(victim);
}

/// Requests that servers and proxies have disagreed on.
pub(crate) fn junk(fight: &mut Fight<'_>) {
    const JUNK: [&[u8]; 22] = [
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
        b"POST /ws HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nx",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: \x0bchunked\r\n\r\n5\r\nhello\r\n-1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\nhello",
        b"GET / HTTP/1.1\nHost: localhost\n\nGET /metrics HTTP/1.1\n\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n folded: yes\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nNul: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
        b"GET http://evil/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /%00%ff%2e%2e%2f HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"CONNECT evil:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\nTRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 999\r\nSec-WebSocket-Key: x\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAAA\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    ];
    let door = *fight.random.pick(&[Door::Http, Door::Http, Door::Prometheus]);
    let Some(mut victim) = fight.connect(door) else { return };
    let mut octets = fight.random.pick::<&[u8]>(&JUNK).to_vec();
    match fight.random.below(4) {
        0 => damage(&mut octets, &mut fight.random),
        1 => octets = octets.repeat(fight.random.between(2, 200)),
        2 => octets.extend_from_slice(fight.random.pick::<&[u8]>(&JUNK)),
        _ => {}
    }
    victim.push(&octets);
    fight.leave(victim);
}

/// A head of 1 MiB: many headers, one long header, or a long path.
pub(crate) fn huge_head(fight: &mut Fight<'_>) {
    let Some(mut victim) = fight.connect(Door::Http) else { return };
    let (beginning, piece): (&[u8], Vec<u8>) = match fight.random.below(4) {
        0 => (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"a: b\r\n".repeat(2000)),
        1 => (b"GET / HTTP/1.1\r\nHost: localhost\r\na: ", b"x".repeat(16_384)),
        2 => (b"GET /", b"x".repeat(16_384)),
        _ => (b"", b"\r\n".repeat(8192)),
    };
    victim.push(beginning);
    for _ in 0..64 {
        if fight.is_over() || !victim.push(&piece) || !victim.listen(Duration::from_micros(200)) {
            break;
        }
    }
    fight.leave(victim);
}
