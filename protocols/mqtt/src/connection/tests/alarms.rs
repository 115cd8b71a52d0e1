//! Publishing while memory or disk is short (architecture, section 3).

use trivium_core::Alarms;

use super::*;

const LOW_MEMORY: Alarms = Alarms { memory: true, disk: false };
const CALM: Alarms = Alarms { memory: false, disk: false };

/// A client that is connected, with a keep-alive of ten seconds, fed in pieces of `chunk_len`.
fn client(world: &World, version: Version, chunk_len: usize) -> Client<'_, Connection> {
    let connection = Connection::new(Arc::new(Config::default()), world.now());
    let mut client = world.client(Protocol::Mqtt, connection, chunk_len);
    let read = client.send(&connect(version, "a", 10, b""));
    assert_eq!(read, if version.is_5() { ACCEPTED_5 } else { ACCEPTED_4 });
    client
}

#[test]
fn a_publisher_waits_for_the_end_of_the_alarm() {
    for (version, chunk_len) in [(V4, usize::MAX), (V5, usize::MAX), (V4, 1), (V5, 1)] {
        let world = World::new();
        let mut client = client(&world, version, chunk_len);
        let own = client.send(&subscribe(version, 1, &[("t", 0)], b""));
        assert_eq!(Hex(&own), Hex(&suback(version, 1, &[0])));
        world.broker().set_alarms(LOW_MEMORY);
        let sent = [publish(version, 0, "t", 0, b"", b"0"), publish(version, 2, "u", 7, b"", b"1")];
        assert_eq!(Hex(&client.send(&[&sent.concat()[..], b"\xC0\0"].concat())), Hex(b""));
        // The silence of one who is not read from is not held against it.
        for _ in 0..6 {
            world.pass(5_000);
            assert_eq!(Hex(&client.read()), Hex(b""), "nothing is read");
        }
        world.broker().set_alarms(CALM);
        let puback: &[u8] = if version.is_5() { b"\x40\x03\0\x07\x10" } else { b"\x40\x02\0\x07" };
        let delivered = publish(version, 0, "t", 0, b"", b"0");
        let heard = client.read();
        for part in [&delivered[..], puback, b"\xD0\0"] {
            let found = heard.windows(part.len()).filter(|window| *window == part).count();
            assert_eq!(found, 1, "{:?} in {:?}", Hex(part), Hex(&heard));
        }
        assert_eq!(error_of(&client), None);
    }
}

#[test]
fn who_holds_deliveries_is_refused_and_its_acknowledgements_are_read() {
    for chunk_len in [usize::MAX, 1] {
        let world = World::new();
        let mut client = client(&world, V5, chunk_len);
        let own = client.send(&subscribe(V5, 1, &[("t", 1)], b""));
        assert_eq!(Hex(&own), Hex(&suback(V5, 1, &[1])));
        let heard = client.send(&publish(V5, 2, "t", 7, b"", b"1"));
        let delivered = publish(V5, 2, "t", 1, b"", b"1");
        assert!(heard.windows(delivered.len()).any(|window| window == delivered), "{heard:?}");
        world.broker().set_alarms(LOW_MEMORY);
        let sent = [publish(V5, 0, "t", 0, b"", b"2"), publish(V5, 2, "t", 8, b"", b"3")];
        let refused = client.send(&sent.concat());
        assert!(refused.starts_with(b"\x40\x03\0\x08\x97"), "{:?}", Hex(&refused));
        assert_eq!(world.broker().totals().unsettled, 1);
        assert_eq!(Hex(&client.send(b"\x40\x02\0\x01\xC0\0")), Hex(b"\xD0\0"));
        assert_eq!(world.broker().totals().unsettled, 0, "the acknowledgement was read");
        // It holds nothing now.
        assert_eq!(Hex(&client.send(&publish(V5, 2, "t", 9, b"", b"4"))), Hex(b""));
        world.broker().set_alarms(CALM);
        let heard = client.read();
        assert!(heard.windows(4).any(|window| window == b"\x40\x02\0\x09"), "{:?}", Hex(&heard));
        assert_eq!(error_of(&client), None);
    }
}
