//! Many clients at once against a naive model: who subscribed gets what was published, once and in
//! order, whatever is acknowledged when and however the window fills.

use std::collections::VecDeque;

use bytes::BytesMut;
use mqttbytes::v5::{self, Packet};

use super::fuzz::Sequence;
use super::*;

const TOPICS: [&str; 4] = ["a", "a/b", "a/c", "b/c"];
/// With the topics that each matches.
const FILTERS: [(&str, [bool; 4]); 5] = [
    ("#", [true; 4]),
    ("a/#", [true, true, true, false]),
    ("a/+", [false, true, true, false]),
    ("+/c", [false, false, true, true]),
    ("a/b", [false, true, false, false]),
];

struct Subscriber<'w> {
    client: Client<'w, Connection>,
    /// The one filter it is subscribed to, and its QoS.
    subscribed: Option<(usize, u8)>,
    unacknowledged: VecDeque<u16>,
    /// By QoS: what goes out at QoS 0 does not wait for acknowledgements [MQTT-4.6.0-5].
    received: [Vec<u32>; 2],
    expected: [Vec<u32>; 2],
    window: usize,
}

impl Subscriber<'_> {
    fn take(&mut self, read: &[u8]) {
        let mut stream = BytesMut::from(read);
        while !stream.is_empty() {
            let Packet::Publish(publish) = v5::read(&mut stream, 1 << 20).unwrap() else {
                continue;
            };
            let number = u32::from_be_bytes(publish.payload[..].try_into().unwrap());
            self.received[publish.qos as usize].push(number);
            if publish.pkid != 0 {
                assert!(!self.unacknowledged.contains(&publish.pkid), "[MQTT-2.2.1-4]");
                self.unacknowledged.push_back(publish.pkid);
                assert!(self.unacknowledged.len() <= self.window, "[MQTT-3.3.4-9]");
            }
        }
    }

    fn read(&mut self) {
        let read = self.client.read();
        self.take(&read);
    }

    fn acknowledge(&mut self, at: usize) {
        let Some(id) = self.unacknowledged.remove(at) else { return };
        let read = self.client.send(&packet(0x40, &[&id.to_be_bytes()]));
        self.take(&read);
    }

    fn acknowledge_all(&mut self) {
        self.read();
        while !self.unacknowledged.is_empty() {
            self.acknowledge(0);
        }
    }

    /// Changes its filter with nothing under way, so that the model knows what it must get.
    fn change(&mut self, sequence: &mut Sequence) {
        self.acknowledge_all();
        if let Some((filter, _)) = self.subscribed.take() {
            self.client.send(&unsubscribe(V5, 1, &[FILTERS[filter].0]));
        } else {
            let filter = sequence.next(FILTERS.len());
            let qos = u8::try_from(sequence.next(2)).unwrap();
            // Half of the subscriptions at QoS 0 go through the session's queue.
            let id: &[u8] = if sequence.next(2) == 0 { b"\x0B\x05" } else { b"" };
            self.client.send(&subscribe(V5, 1, &[(FILTERS[filter].0, qos)], id));
            self.subscribed = Some((filter, qos));
        }
    }
}

fn subscriber<'w>(world: &'w World, name: &str, window: u8) -> Subscriber<'w> {
    Subscriber {
        client: client_with(world, V5, name, &[0x21, 0, window]),
        subscribed: None,
        unacknowledged: VecDeque::new(),
        received: Default::default(),
        expected: Default::default(),
        window: usize::from(window),
    }
}

/// How many messages were received in all.
fn play(seed: u64) -> usize {
    let mut sequence = Sequence(seed);
    let world = World::new();
    let mut publisher = client(&world, V5, "p");
    let mut subscribers: Vec<_> = [("s1", 1), ("s2", 3), ("s3", 200)]
        .map(|(name, window)| subscriber(&world, name, window))
        .into();
    for number in 0_u32..150 {
        let at = sequence.next(subscribers.len());
        let subscriber = &mut subscribers[at];
        match sequence.next(8) {
            0 => subscriber.change(&mut sequence),
            1 => subscriber.read(),
            2 | 3 if !subscriber.unacknowledged.is_empty() => {
                let at = sequence.next(subscriber.unacknowledged.len());
                subscriber.acknowledge(at);
            }
            _ => {
                let topic = sequence.next(TOPICS.len());
                let qos = u8::try_from(sequence.next(2)).unwrap();
                let (flags, body) = (qos << 1, number.to_be_bytes());
                publisher.send(&publish(V5, flags, TOPICS[topic], 9, b"", &body));
                for subscriber in &mut subscribers {
                    let matches = |(filter, _): &(usize, u8)| FILTERS[*filter].1[topic];
                    if let Some((_, granted)) = subscriber.subscribed.filter(matches) {
                        subscriber.expected[usize::from(granted.min(qos))].push(number);
                    }
                }
            }
        }
        if sequence.next(5) == 0 {
            world.step();
        }
    }
    for subscriber in &mut subscribers {
        subscriber.acknowledge_all();
        assert_eq!(subscriber.received, subscriber.expected, "seed {seed}");
    }
    subscribers.iter().flat_map(|subscriber| &subscriber.received).map(Vec::len).sum()
}

#[test]
fn subscribers_get_what_was_published_once_and_in_order() {
    let received: usize = (1..=200).map(play).sum();
    assert!(received > 5000, "the plays are worth watching: {received}");
}
