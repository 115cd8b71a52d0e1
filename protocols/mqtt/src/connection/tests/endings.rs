//! How connections end: wills, takeover, silence, shutdown.

use super::*;

/// CONNECT with a will on `w`.
fn connect_with_will(version: Version, client_id: &str, keep_alive: u8, flags: u8) -> Vec<u8> {
    let level = if version.is_5() { 5 } else { 4 };
    packet(
        0x10,
        &[
            b"\0\x04MQTT",
            &[level, 0x06 | flags, 0, keep_alive],
            &block(version, UNTOLD),
            &field(client_id.as_bytes()),
            &block(version, b"\x26\0\x01k\0\x01v"),
            &field(b"w"),
            &field(b"bye"),
        ],
    )
}

/// What a watcher of `w` reads after `end` was done to a client with a will.
fn will_after(version: Version, end: impl FnOnce(&World, &mut Client<'_, Connection>)) -> Vec<u8> {
    let world = World::new();
    let mut watcher = client(&world, V5, "watcher");
    watcher.send(&subscribe(V5, 1, &[("w", 0)], b""));
    let mut leaving = dial(&world);
    leaving.send(&connect_with_will(version, "leaving", 2, 0));
    assert_eq!(watcher.read(), b"");
    end(&world, &mut leaving);
    watcher.read()
}

#[test]
fn a_will_is_published_unless_the_client_says_goodbye() {
    for version in [V4, V5] {
        let properties: &[u8] = if version.is_5() { b"\x26\0\x01k\0\x01v" } else { b"" };
        let will = publish(V5, 0, "w", 0, properties, b"bye");
        let lost = will_after(version, |_, client| client.disconnect());
        assert_eq!(Hex(&lost), Hex(&will), "[MQTT-3.1.2-8] [MQTT-3.1.3-10] socket lost");
        let goodbye = will_after(version, |_, client| drop(client.send(b"\xE0\0")));
        assert_eq!(goodbye, b"", "[MQTT-3.1.2-10] [MQTT-3.14.4-3]");
        let broken = will_after(version, |_, client| drop(client.send(b"\xC1\0")));
        assert_eq!(broken, will, "protocol error");
        let silent = will_after(version, |world, client| {
            world.pass(3000);
            client.read();
        });
        assert_eq!(silent, will, "keep-alive");
        let shutdown = will_after(version, |_, client| drop(client.shutdown()));
        assert_eq!(shutdown, will, "shutdown");
        let taken = will_after(version, |world, old| {
            let mut new = dial(world);
            new.send(&connect(version, "leaving", 0, b""));
            old.read();
        });
        assert_eq!(taken, will, "takeover");
    }
    let with_will = will_after(V5, |_, client| drop(client.send(b"\xE0\x01\x04")));
    assert_ne!(with_will, b"", "0x04 asks for it");
    let error = will_after(V5, |_, client| drop(client.send(b"\xE0\x01\x80")));
    assert_ne!(error, b"", "only 0x00 drops it");
}

#[test]
fn a_retained_will_is_retained() {
    for (flags, retained) in [(0x20, true), (0, false)] {
        let world = World::new();
        let mut leaving = dial(&world);
        leaving.send(&connect_with_will(V4, "leaving", 0, flags));
        leaving.disconnect();
        let mut late = client(&world, V4, "late");
        let read = late.send(&subscribe(V4, 1, &[("w", 0)], b""));
        let mut expected = suback(V4, 1, &[0]);
        if retained {
            expected.extend(publish(V4, 1, "w", 0, b"", b"bye"));
        }
        assert_eq!(read, expected, "[MQTT-3.1.2-14] [MQTT-3.1.2-15]");
    }
}

#[test]
fn a_refused_client_has_no_will() {
    let world = World::new();
    let mut watcher = client(&world, V4, "watcher");
    watcher.send(&subscribe(V4, 1, &[("w", 0)], b""));
    let mut refused = dial(&world);
    let sent = packet(0x10, &[b"\0\x04MQTT\x04\xC6\0\0\0\x01a\0\x01w\0\x01x\0\x01u\0\x01p"]);
    assert_eq!(refused.send(&sent), b"\x20\x02\0\x04");
    refused.disconnect();
    assert_eq!(watcher.read(), b"");
}

#[test]
fn another_connection_takes_the_session_over() {
    for (version, goodbye) in [(V4, &b""[..]), (V5, b"\xE0\x02\x8E\0")] {
        for qos in [0, 1] {
            let world = World::new();
            let mut old = client(&world, version, "same");
            old.send(&subscribe(version, 1, &[("t", qos)], b""));
            let mut new = client(&world, version, "same");
            assert_eq!(Hex(&old.read()), Hex(goodbye), "[MQTT-3.1.4-3]");
            assert!(old.is_closed());
            drop(old);
            let read = new.send(&publish(version, 0, "t", 0, b"", b"x"));
            assert_eq!(read, b"", "[MQTT-3.1.2-4] the subscriptions are gone");
            let read = new.send(&subscribe(version, 1, &[("t", qos)], b""));
            assert_eq!(read, suback(version, 1, &[qos]));
            let read = new.send(&publish(version, 0, "t", 0, b"", b"y"));
            assert_eq!(read, publish(version, 0, "t", 0, b"", b"y"));
        }
    }
}

#[test]
fn a_silent_client_is_dropped_after_one_and_a_half_keep_alives_and_not_before() {
    for (version, goodbye) in [(V4, &b""[..]), (V5, b"\xE0\x02\x8D\0")] {
        let world = World::new();
        let mut client = dial(&world);
        client.send(&connect(version, "a", 2, b""));
        world.pass(2999);
        assert_eq!(client.read(), b"");
        client.send(b"\xC0\0");
        world.pass(2999);
        assert_eq!(client.read(), b"");
        assert!(!client.is_closed());
        world.pass(1);
        assert_eq!(client.read(), goodbye, "[MQTT-3.1.2-22]");
        assert!(client.is_closed());
    }
}

#[test]
fn a_keep_alive_cap_is_told_and_enforced() {
    let world = World::new();
    let config = Config { keep_alive_max_s: Some(10), ..Config::default() };
    let mut client = world.client(Protocol::Mqtt, adapter(config), usize::MAX);
    let read = client.send(&connect(V5, "a", 0, b""));
    let has_cap = read.windows(3).any(|window| window == b"\x13\0\x0A");
    assert!(has_cap, "[MQTT-3.2.2-21]");
    world.pass(14_999);
    assert_eq!(client.read(), b"");
    world.pass(1);
    assert_eq!(client.read(), b"\xE0\x02\x8D\0");
}

#[test]
fn a_client_that_does_not_log_in_is_dropped_at_its_deadline() {
    let world = World::new();
    let mut client = dial(&world);
    client.send(b"\x10");
    world.pass(9_999);
    assert_eq!(client.read(), b"");
    assert!(!client.is_closed());
    world.pass(1);
    assert_eq!(client.read(), b"");
    assert!(client.is_closed());
}

#[test]
fn the_gateway_says_goodbye() {
    let world = World::new();
    assert_eq!(client(&world, V5, "a").shutdown(), b"\xE0\x02\x8B\0");
    let mut old = client(&world, V4, "b");
    assert_eq!(old.shutdown(), b"");
    assert!(old.is_closed());
    let mut silent = dial(&world);
    assert_eq!(silent.shutdown(), b"");
    assert!(silent.is_closed());
}
