//! The conformance suite. Each test names in its doc comment the numbered statements that it
//! proves, those of MQTT 5 as `[MQTT5-3.1.2-4]`, those of 3.1.1 as `[MQTT311-3.1.2-6]`, and fails
//! when one of them is broken. `tests/conformance` writes the table of them.
//!
//! Every conversation runs in each version that it is about, with what clients send whole and cut
//! into single octets. Clients ask for no Reason Strings, so that answers are known to the octet.

mod authentication;
mod connect;
mod delivery;
mod goodbye;
mod headers;
mod publish;
mod retained;
mod sessions;
mod sharing;
mod strings;
mod subscribe;
mod topics;
mod unsubscribe;
mod wills;

use super::*;

/// A broker and what is spoken to it.
struct Stage {
    world: World,
    version: Version,
    chunk_len: usize,
}

fn play(versions: &[Version], scene: impl Fn(&Stage)) {
    for &version in versions {
        for chunk_len in [usize::MAX, 1] {
            scene(&Stage { world: World::new(), version, chunk_len });
        }
    }
}

fn in_both(scene: impl Fn(&Stage)) {
    play(&[V4, V5], scene);
}

fn in_5(scene: impl Fn(&Stage)) {
    play(&[V5], scene);
}

fn in_311(scene: impl Fn(&Stage)) {
    play(&[V4], scene);
}

const PING: &[u8] = b"\xC0\0";
const PONG: &[u8] = b"\xD0\0";

type Guest<'w> = Client<'w, Connection>;

impl Stage {
    fn is_5(&self) -> bool {
        self.version.is_5()
    }

    /// A socket that was just accepted.
    fn dial(&self) -> Guest<'_> {
        self.dial_with(Config::default())
    }

    fn dial_with(&self, config: Config) -> Guest<'_> {
        let connection = Connection::new(Arc::new(config), self.world.now());
        self.world.client(Protocol::Mqtt, connection, self.chunk_len)
    }

    /// What the client hears of what it says, now and once the log is durable.
    fn say(&self, client: &mut Guest<'_>, sent: &[u8]) -> Vec<u8> {
        let mut heard = client.send(sent);
        heard.extend(self.hear(client));
        heard
    }

    /// What the client hears of what others said.
    fn hear(&self, client: &mut Guest<'_>) -> Vec<u8> {
        let mut heard = client.read();
        self.world.step();
        heard.extend(client.read());
        heard
    }

    /// A CONNECT of this version, octet by octet.
    fn connect(&self, flags: u8, keep_alive: u8, properties: &[u8], payload: &[u8]) -> Vec<u8> {
        let level = if self.is_5() { 5 } else { 4 };
        let properties = [b"\x17\0", properties].concat();
        packet(
            0x10,
            &[
                b"\0\x04MQTT",
                &[level, flags, 0, keep_alive],
                &block(self.version, &properties),
                payload,
            ],
        )
    }

    /// What a client hears of its first packet, and whether it is over then.
    fn first(&self, sent: &[u8]) -> (Vec<u8>, bool) {
        let mut client = self.dial();
        let heard = self.say(&mut client, sent);
        (heard, client.is_closed())
    }

    fn accepted(&self) -> &'static [u8] {
        if self.is_5() { ACCEPTED_5 } else { ACCEPTED_4 }
    }

    /// A client with a clean session.
    fn open(&self, id: &str) -> Guest<'_> {
        self.open_with(id, b"")
    }

    /// The same with these properties, in MQTT 5.
    fn open_with(&self, id: &str, properties: &[u8]) -> Guest<'_> {
        let mut client = self.dial();
        let sent = self.connect(2, 0, properties, &field(id.as_bytes()));
        let heard = self.say(&mut client, &sent);
        assert_eq!(Hex(&heard), Hex(self.accepted()));
        client
    }

    /// A client whose session outlives it for a minute (in 3.1.1: for a week), whether there was
    /// one, and what it hears behind its CONNACK.
    fn keep(&self, id: &str) -> (Guest<'_>, bool, Vec<u8>) {
        self.keep_with(id, b"")
    }

    fn keep_with(&self, id: &str, properties: &[u8]) -> (Guest<'_>, bool, Vec<u8>) {
        let mut client = self.dial();
        let properties = [b"\x11\0\0\0\x3C", properties].concat();
        let sent = self.connect(0, 0, &properties, &field(id.as_bytes()));
        let heard = self.say(&mut client, &sent);
        let (accepted, rest) = heard.split_at(self.accepted().len());
        assert_eq!((accepted[0], accepted[3]), (0x20, 0));
        assert!(accepted[2] <= 1, "the other flags are reserved");
        (client, accepted[2] == 1, rest.to_vec())
    }

    fn publish(&self, flags: u8, topic: &str, id: u8, body: &[u8]) -> Vec<u8> {
        publish(self.version, flags, topic, id, b"", body)
    }

    fn subscribe(&self, id: u8, filters: &[(&str, u8)]) -> Vec<u8> {
        subscribe(self.version, id, filters, b"")
    }

    fn suback(&self, id: u8, codes: &[u8]) -> Vec<u8> {
        suback(self.version, id, codes)
    }

    fn unsubscribe(&self, id: u8, filters: &[&str]) -> Vec<u8> {
        unsubscribe(self.version, id, filters)
    }

    fn unsuback(&self, id: u8, codes: &[u8]) -> Vec<u8> {
        let codes = if self.is_5() { codes } else { &[] };
        packet(0xB0, &[&[0, id], &block(self.version, b""), codes])
    }

    /// A client that is subscribed.
    fn listener(&self, id: &str, filters: &[(&str, u8)]) -> Guest<'_> {
        let mut client = self.open(id);
        let codes: Vec<u8> = filters.iter().map(|(_, options)| options & 3).collect();
        let heard = self.say(&mut client, &self.subscribe(1, filters));
        assert_eq!(Hex(&heard), Hex(&self.suback(1, &codes)));
        client
    }

    /// An open connection ends over this, with that code where the version has codes, and nothing
    /// that was sent behind is done.
    fn breaks(&self, sent: &[u8], code: u8) {
        let mut witness = self.listener("witness", &[("#", 0)]);
        let mut client = self.open("breaker");
        let behind = self.publish(0, "behind", 0, b"");
        let heard = self.say(&mut client, &[sent, &behind].concat());
        let goodbye = [0xE0, 2, code, 0];
        let expected = if self.is_5() { &goodbye[..] } else { b"" };
        assert_eq!(Hex(&heard), Hex(expected), "{:?}", Hex(sent));
        assert!(client.is_closed(), "{:?}", Hex(sent));
        assert_eq!(Hex(&self.hear(&mut witness)), Hex(b""), "{:?}", Hex(sent));
    }

    /// A CONNECT is answered with these codes, or in 3.1.1 not at all, and the connection closed.
    fn refuses(&self, sent: &[u8], code_5: u8, code_311: Option<u8>) {
        let mut witness = self.listener("witness", &[("#", 0)]);
        let behind = self.publish(0, "behind", 0, b"");
        let (heard, is_closed) = self.first(&[sent, &behind].concat());
        let expected = match code_311 {
            _ if self.is_5() => vec![0x20, 3, 0, code_5, 0],
            Some(code) => vec![0x20, 2, 0, code],
            None => Vec::new(),
        };
        assert_eq!(Hex(&heard), Hex(&expected), "{:?}", Hex(sent));
        assert!(is_closed, "{:?}", Hex(sent));
        assert_eq!(Hex(&self.hear(&mut witness)), Hex(b""), "{:?}", Hex(sent));
    }
}
