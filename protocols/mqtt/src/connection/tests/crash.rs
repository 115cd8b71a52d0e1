//! Sessions over a crash of the broker, which loses what was not synced: at every step of QoS 2,
//! both ways.

use trivium_core::log::Codecs;
use trivium_core::testing::OpaqueCodec;

use super::*;
use crate::PROPERTY_CODEC;

fn durable() -> World {
    let (amqp, stomp) = (&OpaqueCodec(Protocol::Amqp), &OpaqueCodec(Protocol::Stomp));
    World::durable(Codecs::new([&PROPERTY_CODEC, amqp, stomp], 1_000_000))
}

/// CONNECT of a session that stays for a minute, with a will after 5 s where one is wanted.
fn connect_kept(version: Version, client_id: &str, will: Option<&str>) -> Vec<u8> {
    let level = if version.is_5() { 5 } else { 4 };
    let flags = if will.is_some() { 0x0C } else { 0 };
    let will = will.map_or_else(Vec::new, |topic| {
        [block(version, b"\x18\0\0\0\x05"), field(topic.as_bytes()), field(b"gone")].concat()
    });
    let properties = block(version, b"\x11\0\0\0\x3C");
    let id = field(client_id.as_bytes());
    packet(0x10, &[b"\0\x04MQTT", &[level, flags, 0, 0], &properties, &id, &will])
}

/// Everything that a client reads once what waits for the disk is on it.
fn settled(world: &World, client: &mut Client<'_, Connection>) -> Vec<u8> {
    let mut read = Vec::new();
    for _ in 0..3 {
        world.step();
        read.append(&mut client.read());
    }
    read
}

/// A client of a kept session, and what it reads behind its CONNACK.
fn kept<'w>(
    world: &'w World,
    version: Version,
    client_id: &str,
    is_present: bool,
) -> (Client<'w, Connection>, Vec<u8>) {
    let mut client = dial(world);
    let early = client.send(&connect_kept(version, client_id, None));
    let read = [early, settled(world, &mut client)].concat();
    let accepted = if version.is_5() { ACCEPTED_5 } else { ACCEPTED_4 };
    assert_eq!(read[2], u8::from(is_present), "session present");
    (client, read[accepted.len()..].to_vec())
}

#[test]
fn what_a_client_was_told_of_its_session_survives() {
    for version in [V4, V5] {
        let world = durable();
        let mut dialled = dial(&world);
        assert_eq!(dialled.send(&connect_kept(version, "a", None)), b"", "not on disk yet");
        assert_ne!(settled(&world, &mut dialled), b"");
        assert_eq!(dialled.send(&subscribe(version, 1, &[("t", 1), ("u", 2)], b"")), b"");
        assert_eq!(settled(&world, &mut dialled), suback(version, 1, &[1, 2]));
        dialled.send(&unsubscribe(version, 2, &["u"]));
        assert_ne!(settled(&world, &mut dialled), b"");
        let (mut publisher, _) = kept(&world, version, "p", false);
        assert_eq!(publisher.send(&publish(version, 2, "t", 1, b"", b"x")), b"");
        world.step();
        let after = world.crash();
        let (mut back, read) = kept(&after, version, "a", true);
        // The first time may have been before the crash: the identifier was not on disk yet.
        assert_eq!(Hex(&read), Hex(&publish(version, 2, "t", 1, b"", b"x")));
        back.send(b"\x40\x02\0\x01");
        let (mut publisher, _) = kept(&after, version, "p", true);
        publisher.send(&publish(version, 2, "u", 1, b"", b"y"));
        publisher.send(&publish(version, 2, "t", 2, b"", b"z"));
        let read = settled(&after, &mut back);
        assert_eq!(Hex(&read), Hex(&publish(version, 2, "t", 1, b"", b"z")), "u is unsubscribed");
    }
}

#[test]
fn a_session_that_nobody_was_told_of_is_gone() {
    let world = durable();
    let mut dialled = dial(&world);
    assert_eq!(dialled.send(&connect_kept(V5, "a", None)), b"");
    let after = world.crash();
    kept(&after, V5, "a", false);
    let (mut ended, _) = kept(&after, V5, "b", false);
    ended.send(b"\xE0\x07\0\x05\x11\0\0\0\0");
    after.step();
    kept(&after.crash(), V5, "b", false);
}

#[test]
fn exactly_once_towards_a_client_at_every_step() {
    for version in [V4, V5] {
        let world = durable();
        let (mut one, _) = kept(&world, version, "a", false);
        one.send(&subscribe(version, 1, &[("t", 2)], b""));
        settled(&world, &mut one);
        let (mut publisher, _) = kept(&world, version, "p", false);
        publisher.send(&publish(version, 4, "t", 9, b"", b"x"));
        assert_eq!(one.read(), b"", "its identifier is not on disk yet");
        assert_eq!(settled(&world, &mut one), publish(version, 4, "t", 1, b"", b"x"));

        let world = world.crash();
        let (mut two, read) = kept(&world, version, "a", true);
        assert_eq!(
            Hex(&read),
            Hex(&publish(version, 0xC, "t", 1, b"", b"x")),
            "lost before PUBREC"
        );
        assert_eq!(two.send(b"\x50\x02\0\x01"), b"", "the release is not on disk yet");

        let lost = world.crash();
        let (mut three, read) = kept(&lost, version, "a", true);
        assert_eq!(
            Hex(&read),
            Hex(&publish(version, 0xC, "t", 1, b"", b"x")),
            "lost before PUBREL"
        );
        three.send(b"\x50\x02\0\x01\x50\x02\0\x01");
        assert_eq!(settled(&lost, &mut three), b"\x62\x02\0\x01", "once for both");

        let released = lost.crash();
        let (mut four, read) = kept(&released, version, "a", true);
        assert_eq!(Hex(&read), Hex(b"\x62\x02\0\x01"), "never PUBLISH again");
        assert_eq!(four.send(b"\x70\x02\0\x01"), b"");
        released.step();
        let (_, read) = kept(&released.crash(), version, "a", true);
        assert_eq!(Hex(&read), Hex(b""), "done with");
    }
}

#[test]
fn exactly_once_from_a_client_at_every_step() {
    for version in [V4, V5] {
        let message = publish(version, 4, "t", 7, b"", b"x");
        let again = publish(version, 0xC, "t", 7, b"", b"x");
        let world = durable();
        let (mut watcher, _) = kept(&world, version, "w", false);
        watcher.send(&subscribe(version, 1, &[("t", 1)], b""));
        settled(&world, &mut watcher);
        let (mut one, _) = kept(&world, version, "a", false);
        assert_eq!(one.send(&message), b"");

        let unheard = world.crash();
        let (mut two, _) = kept(&unheard, version, "a", true);
        assert_eq!(two.send(&again), b"", "the first never was");
        assert_eq!(settled(&unheard, &mut two), b"\x50\x02\0\x07");

        let received = unheard.crash();
        let (mut three, _) = kept(&received, version, "a", true);
        assert_eq!(three.send(&again), b"\x50\x02\0\x07", "it is on disk");
        assert_eq!(three.send(b"\x62\x02\0\x07"), b"", "the release is not");

        let held = received.crash();
        let (mut four, _) = kept(&held, version, "a", true);
        four.send(b"\x62\x02\0\x07");
        assert_eq!(settled(&held, &mut four), b"\x70\x02\0\x07");

        let released = held.crash();
        let (mut five, _) = kept(&released, version, "a", true);
        let unknown: &[u8] = if version.is_5() { b"\x70\x03\0\x07\x92" } else { b"\x70\x02\0\x07" };
        assert_eq!(five.send(b"\x62\x02\0\x07"), unknown);
        let (_, read) = kept(&released, version, "w", true);
        assert_eq!(Hex(&read), Hex(&publish(version, 2, "t", 1, b"", b"x")), "once");
        five.send(&publish(version, 4, "t", 7, b"", b"new"));
        assert_eq!(settled(&released, &mut five), b"\x50\x02\0\x07");
    }
}

#[test]
fn a_repeated_publish_waits_for_the_first() {
    for version in [V4, V5] {
        let world = durable();
        let (mut watcher, _) = kept(&world, version, "w", false);
        watcher.send(&subscribe(version, 1, &[("t", 1)], b""));
        settled(&world, &mut watcher);
        let (mut one, _) = kept(&world, version, "a", false);
        one.send(&publish(version, 4, "t", 7, b"", b"x"));
        one.disconnect();
        let mut two = dial(&world);
        two.send(&connect_kept(version, "a", None));
        world.commit();
        assert_ne!(two.read(), b"", "the session goes on");
        assert_eq!(two.send(&publish(version, 0xC, "t", 7, b"", b"x")), b"");
        world.step();
        assert_eq!(two.read(), b"\x50\x02\0\x07");
    }
}

#[test]
fn a_will_is_published_after_a_crash_and_a_session_ends_in_its_time() {
    let world = durable();
    let (mut watcher, _) = kept(&world, V5, "w", false);
    watcher.send(&subscribe(V5, 1, &[("will/#", 1)], b""));
    settled(&world, &mut watcher);
    let mut one = dial(&world);
    one.send(&connect_kept(V5, "a", Some("will/a")));
    settled(&world, &mut one);
    let mut two = dial(&world);
    two.send(&connect_kept(V5, "b", Some("will/b")));
    settled(&world, &mut two);
    two.send(b"\xE0\0");
    two.disconnect();
    world.step();

    let after = world.crash();
    let (mut watcher, read) = kept(&after, V5, "w", true);
    assert_eq!(read, b"", "not due yet");
    after.pass(5000);
    let read = settled(&after, &mut watcher);
    assert_eq!(Hex(&read), Hex(&publish(V5, 2, "will/a", 1, b"", b"gone")), "b said goodbye");
    after.pass(50_000);
    let again = after.crash();
    kept(&again, V5, "a", true);
    again.pass(61_000);
    kept(&again, V5, "b", false);
    let third = again.crash();
    let (_, read) = kept(&third, V5, "w", false);
    assert_eq!(read, b"", "its minute is over");
}

#[test]
fn a_group_goes_on_with_its_messages() {
    let world = durable();
    let (mut one, _) = kept(&world, V5, "a", false);
    one.send(&subscribe(V5, 1, &[("$share/g/t", 1)], b""));
    settled(&world, &mut one);
    one.disconnect();
    let (mut publisher, _) = kept(&world, V5, "p", false);
    publisher.send(&publish(V5, 2, "t", 1, b"", b"x"));
    world.step();
    let after = world.crash();
    let (_, read) = kept(&after, V5, "a", true);
    assert_eq!(Hex(&read), Hex(&publish(V5, 2, "t", 1, b"", b"x")));
}

/// What a new subscriber to everything gets at once.
fn retained(world: &World) -> Vec<u8> {
    let mut client = dial(world);
    client.send(&connect(V5, "", 0, b""));
    settled(world, &mut client);
    let early = client.send(&subscribe(V5, 1, &[("#", 0)], b""));
    let read = [early, settled(world, &mut client)].concat();
    read[suback(V5, 1, &[0]).len()..].to_vec()
}

#[test]
fn retained_messages_survive_as_they_were_acknowledged() {
    let world = durable();
    let (mut one, _) = kept(&world, V5, "p", false);
    assert_eq!(one.send(&publish(V5, 3, "t", 1, b"", b"old")), b"");
    assert_eq!(settled(&world, &mut one), b"\x40\x03\0\x01\x10", "nobody subscribes, it is kept");
    one.send(&publish(V5, 1, "at/0", 0, b"", b"zero"));
    one.send(&publish(V5, 3, "twice", 2, b"", b"a"));
    one.send(&publish(V5, 5, "twice", 3, b"", b"b"));
    world.step();
    one.send(&publish(V5, 3, "t", 4, b"", b"never heard of"));

    let world = world.crash();
    world.step();
    let expected = |values: &[(&str, &[u8])]| {
        let packets = values.iter().map(|(topic, body)| publish(V5, 1, topic, 0, b"", body));
        packets.collect::<Vec<_>>().concat()
    };
    let values: [(&str, &[u8]); 3] = [("at/0", b"zero"), ("t", b"old"), ("twice", b"b")];
    assert_eq!(Hex(&retained(&world)), Hex(&expected(&values)));
    let (mut one, _) = kept(&world, V5, "p", true);
    assert_eq!(one.send(&publish(V5, 3, "t", 5, b"", b"")), b"", "so does clearing");
    assert_ne!(settled(&world, &mut one), b"");
    one.send(&publish(V5, 3, "twice", 6, b"\x02\0\0\0\x05", b"c"));
    one.send(&publish(V5, 3, "new", 7, b"\x02\0\0\0\x0A", b"d"));
    settled(&world, &mut one);
    assert_eq!(world.log().live(), 3, "nothing of what was before");
    world.pass(6000);

    let world = world.crash();
    world.step();
    let values: [(&str, &[u8]); 2] = [("at/0", b"zero"), ("new", b"d")];
    let read = retained(&world);
    let aged = publish(V5, 1, values[1].0, 0, b"\x02\0\0\0\x04", values[1].1);
    assert_eq!(Hex(&read), Hex(&[expected(&values[..1]), aged].concat()), "they expire meanwhile");
}
