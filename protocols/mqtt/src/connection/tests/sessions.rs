//! Sessions that outlive their connection: what is there when the client comes back.

use super::*;

/// CONNECT that resumes what is there and leaves a session behind.
fn connect_kept(version: Version, client_id: &str, properties: &[u8]) -> Vec<u8> {
    let level = if version.is_5() { 5 } else { 4 };
    let properties = [UNTOLD, b"\x11\0\0\0\x3C", properties].concat();
    packet(
        0x10,
        &[
            b"\0\x04MQTT",
            &[level, 0, 0, 0],
            &block(version, &properties),
            &field(client_id.as_bytes()),
        ],
    )
}

/// A client whose session stays for 60 s (in 3.1.1 for as long as we keep any), and what it reads
/// after its CONNACK, which says whether there was one before.
fn kept<'w>(
    world: &'w World,
    version: Version,
    client_id: &str,
    properties: &[u8],
    is_present: bool,
) -> (Client<'w, Connection>, Vec<u8>) {
    let mut client = dial(world);
    let read = client.send(&connect_kept(version, client_id, properties));
    let accepted = if version.is_5() { ACCEPTED_5 } else { ACCEPTED_4 };
    assert_eq!(read[2], u8::from(is_present), "[MQTT-3.2.2-2] [MQTT-3.2.2-3] session present");
    assert_eq!(read[3..accepted.len()], accepted[3..]);
    (client, read[accepted.len()..].to_vec())
}

#[test]
fn subscriptions_and_messages_wait_for_their_client() {
    for version in [V4, V5] {
        let world = World::new();
        let mut publisher = client(&world, V5, "p");
        let (mut away, _) = kept(&world, version, "a", b"", false);
        away.send(&subscribe(version, 1, &[("q/1", 1), ("q/0", 0), ("q/2", 2)], b""));
        away.disconnect();
        for (flags, topic) in [(2, "q/1"), (0, "q/1"), (2, "q/0"), (4, "q/2")] {
            publisher.send(&publish(V5, flags, topic, flags + 1, b"", b"x"));
        }
        let (mut back, read) = kept(&world, version, "a", b"", true);
        let expected =
            [publish(version, 2, "q/1", 1, b"", b"x"), publish(version, 4, "q/2", 2, b"", b"x")];
        assert_eq!(Hex(&read), Hex(&expected.concat()), "[MQTT-3.1.2-5] QoS 0 is not kept");
        publisher.send(&publish(V5, 0, "q/0", 0, b"", b"y"));
        assert_eq!(back.read(), publish(version, 0, "q/0", 0, b"", b"y"), "and it is subscribed");
    }
}

#[test]
fn what_was_not_acknowledged_is_sent_again_under_its_identifier() {
    for version in [V4, V5] {
        let world = World::new();
        let mut publisher = client(&world, V5, "p");
        let (mut client, _) = kept(&world, version, "a", b"", false);
        client.send(&subscribe(version, 1, &[("t", 1)], b""));
        for body in [b"1", b"2", b"3"] {
            publisher.send(&publish(V5, 2, "t", 9, b"", body));
        }
        client.read();
        client.send(b"\x40\x02\0\x01");
        client.disconnect();
        publisher.send(&publish(V5, 2, "t", 9, b"", b"4"));
        let (mut back, read) = kept(&world, version, "a", b"", true);
        let expected = [
            publish(version, 0xA, "t", 2, b"", b"2"),
            publish(version, 0xA, "t", 3, b"", b"3"),
            publish(version, 2, "t", 1, b"", b"4"),
        ];
        assert_eq!(
            Hex(&read),
            Hex(&expected.concat()),
            "[MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-4.6.0-1]"
        );
        back.send(b"\x40\x02\0\x02\x40\x02\0\x03\x40\x02\0\x01");
        back.disconnect();
        let (_, read) = kept(&world, version, "a", b"", true);
        assert_eq!(Hex(&read), Hex(b""));
    }
}

#[test]
fn exactly_once_towards_a_client_survives_at_every_step() {
    for version in [V4, V5] {
        let world = World::new();
        let mut publisher = client(&world, V5, "p");
        let (mut one, _) = kept(&world, version, "a", b"", false);
        one.send(&subscribe(version, 1, &[("t", 2)], b""));
        publisher.send(&publish(V5, 4, "t", 9, b"", b"x"));
        assert_eq!(one.read(), publish(version, 4, "t", 1, b"", b"x"), "[MQTT-4.3.3-2]");
        one.disconnect();
        let (mut two, read) = kept(&world, version, "a", b"", true);
        assert_eq!(read, publish(version, 0xC, "t", 1, b"", b"x"), "lost before PUBREC");
        assert_eq!(two.send(b"\x50\x02\0\x01"), b"\x62\x02\0\x01", "[MQTT-4.3.3-4]");
        assert_eq!(two.send(b"\x50\x02\0\x01"), b"\x62\x02\0\x01", "PUBREC twice");
        two.disconnect();
        let (mut three, read) = kept(&world, version, "a", b"", true);
        assert_eq!(Hex(&read), Hex(b"\x62\x02\0\x01"), "[MQTT-4.3.3-6] never PUBLISH again");
        assert_eq!(three.send(b"\x70\x02\0\x01"), b"");
        three.disconnect();
        let (_, read) = kept(&world, version, "a", b"", true);
        assert_eq!(read, b"", "done with");
    }
}

#[test]
fn exactly_once_from_a_client_survives_at_every_step() {
    for version in [V4, V5] {
        let world = World::new();
        let mut watcher = client(&world, V5, "w");
        watcher.send(&subscribe(V5, 1, &[("t", 0)], b""));
        let (mut one, _) = kept(&world, version, "a", b"", false);
        one.send(&publish(version, 4, "t", 7, b"", b"x"));
        one.disconnect();
        let (mut two, _) = kept(&world, version, "a", b"", true);
        let read = two.send(&publish(version, 0xC, "t", 7, b"", b"x"));
        assert_eq!(read, b"\x50\x02\0\x07", "[MQTT-4.3.3-10]");
        assert_eq!(two.send(b"\x62\x02\0\x07"), b"\x70\x02\0\x07", "[MQTT-4.3.3-11]");
        two.disconnect();
        let (mut three, _) = kept(&world, version, "a", b"", true);
        let again: &[u8] = if version.is_5() { b"\x70\x03\0\x07\x92" } else { b"\x70\x02\0\x07" };
        assert_eq!(three.send(b"\x62\x02\0\x07"), again);
        assert_eq!(watcher.read(), publish(V5, 0, "t", 0, b"", b"x"), "once");
        three.send(&publish(version, 4, "t", 7, b"", b"y"));
        assert_eq!(watcher.read(), publish(V5, 0, "t", 0, b"", b"y"), "[MQTT-4.3.3-12]");
    }
}

#[test]
fn a_takeover_goes_on_where_the_other_was() {
    for version in [V4, V5] {
        let world = World::new();
        let mut publisher = client(&world, V5, "p");
        let (mut old, _) = kept(&world, version, "a", b"", false);
        old.send(&subscribe(version, 1, &[("t", 1)], b""));
        publisher.send(&publish(V5, 2, "t", 9, b"", b"1"));
        assert_eq!(old.read(), publish(version, 2, "t", 1, b"", b"1"));
        let (mut new, read) = kept(&world, version, "a", b"", true);
        assert_eq!(read, publish(version, 0xA, "t", 1, b"", b"1"));
        let goodbye: &[u8] = if version.is_5() { b"\xE0\x02\x8E\0" } else { b"" };
        assert_eq!(old.send(b"\x40\x02\0\x01"), goodbye, "[MQTT-3.1.4-3]");
        assert!(old.is_closed());
        old.disconnect();
        publisher.send(&publish(V5, 2, "t", 9, b"", b"2"));
        assert_eq!(
            new.read(),
            publish(version, 2, "t", 2, b"", b"2"),
            "the end of the old is not its"
        );
        new.disconnect();
        let (_, read) = kept(&world, version, "a", b"", true);
        assert_eq!(read.len(), 2 * publish(version, 2, "t", 1, b"", b"1").len());
    }
}

#[test]
fn a_clean_start_ends_what_was_there() {
    for version in [V4, V5] {
        let world = World::new();
        let mut publisher = client(&world, V5, "p");
        let (mut away, _) = kept(&world, version, "a", b"", false);
        away.send(&subscribe(version, 1, &[("t", 1)], b""));
        away.disconnect();
        publisher.send(&publish(V5, 2, "t", 9, b"", b"x"));
        let mut clean = client(&world, version, "a");
        assert_eq!(clean.read(), b"", "[MQTT-3.1.2-4]");
        let answer = publisher.send(&publish(V5, 2, "t", 9, b"", b"x"));
        assert_eq!(answer, b"\x40\x03\0\x09\x10", "nobody is subscribed");
        clean.disconnect();
        kept(&world, version, "a", b"", false);
    }
}

#[test]
fn a_session_expires() {
    let world = World::new();
    let mut publisher = client(&world, V5, "p");
    let (mut away, _) = kept(&world, V5, "a", b"", false);
    away.send(&subscribe(V5, 1, &[("t", 1)], b""));
    away.disconnect();
    world.pass(59_000);
    let (mut back, _) = kept(&world, V5, "a", b"", true);
    back.disconnect();
    world.pass(61_000);
    let answer = publisher.send(&publish(V5, 2, "t", 9, b"", b"x"));
    assert_eq!(answer, b"\x40\x03\0\x09\x10", "[MQTT-4.1.0-2]");
    let (mut last, _) = kept(&world, V5, "a", b"", false);
    // DISCONNECT may shorten it.
    last.send(b"\xE0\x07\0\x05\x11\0\0\0\0");
    kept(&world, V5, "a", b"", false);
}

#[test]
fn a_session_that_ends_with_its_connection_is_not_there_any_more() {
    let world = World::new();
    let mut client = dial(&world);
    let connect = packet(0x10, &[b"\0\x04MQTT\x05\0\0\0\0", &field(b"a")]);
    assert_eq!(client.send(&connect), ACCEPTED_5);
    client.send(&subscribe(V5, 1, &[("t", 1)], b""));
    let mut other = dial(&world);
    assert_eq!(other.send(&connect), ACCEPTED_5, "taken over, and ended with its connection");
}

/// CONNECT with a will on `w` after `delay_s`, and a session of 60 s.
fn connect_with_late_will(client_id: &str, delay_s: u8) -> Vec<u8> {
    packet(
        0x10,
        &[
            b"\0\x04MQTT\x05\x04\0\0",
            &block(V5, &[UNTOLD, b"\x11\0\0\0\x3C"].concat()),
            &field(client_id.as_bytes()),
            &block(V5, &[0x18, 0, 0, 0, delay_s]),
            &field(b"w"),
            &field(b"bye"),
        ],
    )
}

#[test]
fn a_will_waits_for_its_delay_and_for_the_client() {
    let world = World::new();
    let mut watcher = client(&world, V5, "watcher");
    watcher.send(&subscribe(V5, 1, &[("w", 0)], b""));
    let will = publish(V5, 0, "w", 0, b"", b"bye");
    let leave = |delay_s| {
        let mut client = dial(&world);
        client.send(&connect_with_late_will("a", delay_s));
        client.disconnect();
    };
    leave(10);
    world.pass(9_000);
    assert_eq!(watcher.read(), b"", "[MQTT-3.1.3-9]");
    kept(&world, V5, "a", b"", true).0.send(b"\xE0\0");
    world.pass(9_000);
    assert_eq!(watcher.read(), b"", "it was back before");
    leave(10);
    world.pass(10_000);
    assert_eq!(watcher.read(), will, "[MQTT-3.1.2-8]");
    world.pass(60_000);
    assert_eq!(watcher.read(), b"", "[MQTT-3.1.2-10] once");
    leave(200);
    world.pass(60_000);
    assert_eq!(watcher.read(), will, "the session ended before");
    leave(200);
    let _clean = client(&world, V5, "a");
    assert_eq!(watcher.read(), will, "a clean start ends the session");
    let mut old = dial(&world);
    old.send(&connect_with_late_will("b", 10));
    kept(&world, V5, "b", b"", true);
    old.read();
    world.pass(10_000);
    assert_eq!(watcher.read(), b"", "somebody went on with it");
}

#[test]
fn identifiers_and_options_come_back() {
    let world = World::new();
    let mut publisher = client(&world, V5, "p");
    let (mut away, _) = kept(&world, V5, "a", b"", false);
    away.send(&subscribe(V5, 1, &[("t", 0x0D)], b"\x0B\x07"));
    away.send(&subscribe(V5, 2, &[("u", 8)], b""));
    away.disconnect();
    let (mut back, _) = kept(&world, V5, "a", b"", true);
    publisher.send(&publish(V5, 3, "t", 9, b"", b"x"));
    assert_eq!(back.read(), publish(V5, 3, "t", 1, b"\x0B\x07", b"x"), "[MQTT-3.3.1-13]");
    publisher.send(&publish(V5, 1, "u", 9, b"", b"x"));
    assert_eq!(back.read(), publish(V5, 1, "u", 0, b"", b"x"));
    let answer = back.send(&publish(V5, 2, "t", 9, b"", b"own"));
    assert_eq!(answer, b"\x40\x02\0\x09", "[MQTT-3.8.3-3] no local");
    let read = back.send(&unsubscribe(V5, 3, &["t", "u"]));
    assert_eq!(read, b"\xB0\x05\0\x03\0\0\0");
}

#[test]
fn queues_and_groups_are_joined_again() {
    let world = World::new();
    let mut publisher = client(&world, V5, "p");
    let (mut away, _) = kept(&world, V5, "a", b"", false);
    away.send(&subscribe(V5, 1, &[("$share/g/t", 1)], b""));
    publisher.send(&publish(V5, 2, "t", 9, b"", b"1"));
    assert_eq!(away.read(), publish(V5, 2, "t", 1, b"", b"1"));
    away.disconnect();
    publisher.send(&publish(V5, 2, "t", 9, b"", b"2"));
    let (_back, read) = kept(&world, V5, "a", b"", true);
    let expected = [publish(V5, 2, "t", 1, b"", b"1"), publish(V5, 2, "t", 2, b"", b"2")];
    assert_eq!(Hex(&read), Hex(&expected.concat()), "the group waited for its only member");
}

#[test]
fn a_smaller_window_still_repeats_everything_in_order() {
    let world = World::new();
    let mut publisher = client(&world, V5, "p");
    let (mut away, _) = kept(&world, V5, "a", b"", false);
    away.send(&subscribe(V5, 1, &[("t", 1)], b""));
    for body in [b"1", b"2", b"3"] {
        publisher.send(&publish(V5, 2, "t", 9, b"", body));
    }
    away.read();
    away.disconnect();
    let (mut back, read) = kept(&world, V5, "a", b"\x21\0\x01", true);
    assert_eq!(read, publish(V5, 0xA, "t", 1, b"", b"1"));
    assert_eq!(back.send(b"\x40\x02\0\x01"), publish(V5, 0xA, "t", 2, b"", b"2"));
    assert_eq!(back.send(b"\x40\x02\0\x02"), publish(V5, 0xA, "t", 3, b"", b"3"));
}

#[test]
fn a_repeat_is_the_same_packet_whatever_became_of_its_subscription() {
    for version in [V4, V5] {
        let world = World::new();
        let mut publisher = client(&world, V5, "p");
        let (mut one, _) = kept(&world, version, "a", b"", false);
        one.send(&subscribe(version, 1, &[("t", 2), ("u", 1)], b""));
        publisher.send(&publish(V5, 4, "t", 9, b"", b"x"));
        publisher.send(&publish(V5, 2, "u", 9, b"", b"y"));
        one.read();
        one.send(&unsubscribe(version, 2, &["t"]));
        one.send(&subscribe(version, 3, &[("u", 0)], b""));
        one.disconnect();
        let (mut two, read) = kept(&world, version, "a", b"", true);
        let expected =
            [publish(version, 0xC, "t", 1, b"", b"x"), publish(version, 0xA, "u", 2, b"", b"y")];
        assert_eq!(Hex(&read), Hex(&expected.concat()), "[MQTT-4.4.0-1] [MQTT-3.10.4-3]");
        assert_eq!(two.send(b"\x50\x02\0\x01"), b"\x62\x02\0\x01", "and at QoS 2");
    }
}

#[test]
fn what_was_sent_does_not_expire_and_keeps_no_identifier() {
    let world = World::new();
    let mut publisher = client(&world, V5, "p");
    let (mut one, _) = kept(&world, V5, "a", b"", false);
    one.send(&subscribe(V5, 1, &[("t", 2)], b""));
    publisher.send(&publish(V5, 4, "t", 9, b"\x02\0\0\0\x05", b"x"));
    assert_eq!(one.read(), publish(V5, 4, "t", 1, b"\x02\0\0\0\x05", b"x"));
    one.disconnect();
    publisher.send(&publish(V5, 4, "t", 8, b"\x02\0\0\0\x05", b"not sent in time"));
    world.pass(10_000);
    let (mut two, read) = kept(&world, V5, "a", b"", true);
    let again = publish(V5, 0xC, "t", 1, b"\x02\0\0\0\0", b"x");
    assert_eq!(Hex(&read), Hex(&again), "[MQTT-4.3.3-7] [MQTT-3.3.2-5]");
    two.send(b"\x50\x02\0\x01");
    two.send(b"\x70\x02\0\x01");
    two.disconnect();
    let (mut three, read) = kept(&world, V5, "a", b"", true);
    assert_eq!(Hex(&read), Hex(b""));
    publisher.send(&publish(V5, 2, "t", 7, b"", b"y"));
    assert_eq!(three.read(), publish(V5, 2, "t", 1, b"", b"y"), "the identifier is free");
}

#[test]
fn no_local_is_about_clients_and_not_their_connections() {
    let world = World::new();
    let mut other = client(&world, V5, "other");
    let (mut one, _) = kept(&world, V5, "a", b"", false);
    one.send(&subscribe(V5, 1, &[("t", 5)], b""));
    // A full window of one keeps what follows in the queue.
    one.disconnect();
    let (mut one, _) = kept(&world, V5, "a", b"\x21\0\x01", true);
    other.send(&publish(V5, 2, "t", 9, b"", b"1"));
    one.send(&publish(V5, 2, "t", 8, b"", b"own"));
    other.send(&publish(V5, 2, "t", 9, b"", b"2"));
    one.disconnect();
    let (_two, read) = kept(&world, V5, "a", b"", true);
    let expected = [publish(V5, 0xA, "t", 1, b"", b"1"), publish(V5, 2, "t", 2, b"", b"2")];
    assert_eq!(Hex(&read), Hex(&expected.concat()), "[MQTT-3.8.3-3]");
}
