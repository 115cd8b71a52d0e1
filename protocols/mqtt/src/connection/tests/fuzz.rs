//! Whatever a client sends, nothing panics, and a closed connection stays closed. The mutations
//! come from a fixed seed, so that a failure can be run again.

use super::*;

/// xorshift: a sequence, not randomness.
pub(super) struct Sequence(pub(super) u64);

impl Sequence {
    pub(super) fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % below
    }
}

fn conversation(version: Version) -> Vec<Vec<u8>> {
    let properties: &[u8] =
        b"\x01\x01\x02\0\0\0\x05\x03\0\x01t\x08\0\x01r\x09\0\x01c\x26\0\x01k\0\x01v";
    vec![
        connect(version, "a", 9, b"\x21\0\x05\x22\0\x05\x26\0\x01k\0\x01v"),
        subscribe(version, 1, &[("a/+", 1), ("#", 0)], b"\x0B\x05"),
        publish(version, 2, "a/b", 2, properties, b"x"),
        publish(version, 1, "a/c", 0, b"\x23\0\x01", b"retained"),
        publish(version, 4, "a/b", 3, properties, b"y"),
        b"\x40\x02\0\x01".to_vec(),
        b"\x62\x02\0\x03".to_vec(),
        b"\x50\x02\0\x03\x70\x02\0\x03\xC0\0".to_vec(),
        unsubscribe(version, 4, &["#", "b"]),
        b"\xF0\0".to_vec(),
        b"\xE0\0".to_vec(),
    ]
}

fn mutate(packets: &mut Vec<Vec<u8>>, sequence: &mut Sequence) {
    for _ in 0..=sequence.next(3) {
        let at = sequence.next(packets.len());
        match sequence.next(6) {
            0 => drop(packets.remove(at)),
            1 => packets.insert(at, packets[at].clone()),
            2 => packets.swap(at, 0),
            3 => {
                let length = sequence.next(packets[at].len() + 1);
                packets[at].truncate(length);
            }
            _ => {
                let place = sequence.next(packets[at].len().max(1));
                if let Some(octet) = packets[at].get_mut(place) {
                    *octet = u8::try_from(sequence.next(256)).unwrap();
                }
            }
        }
        if packets.is_empty() {
            return;
        }
    }
}

#[test]
fn no_client_makes_a_connection_panic() {
    let mut sequence = Sequence(0x9E37_79B9_7F4A_7C15);
    for round in 0..3000 {
        let version = if round % 2 == 0 { V4 } else { V5 };
        let mut packets = conversation(version);
        mutate(&mut packets, &mut sequence);
        let world = World::new();
        let chunk_len = 1 + sequence.next(40);
        let config = Config { packet_bytes_max: 4096, ..Config::default() };
        let mut client = world.client(Protocol::Mqtt, adapter(config), chunk_len);
        client.send(&packets.concat());
        world.step();
        client.read();
        world.pass(20_000);
        client.read();
        let was_closed = client.is_closed();
        client.disconnect();
        assert!(client.is_closed() || !was_closed);
    }
}
