//! A client that says nearly right things (ST-2): no panic, and the same answers however the
//! octets are cut (ST-1).

use super::*;

const FRAMES: &[&str] = &[
    "CONNECT\naccept-version:1.2\nhost:/\nheart-beat:1000,1000\n\n\0",
    "STOMP\r\naccept-version:1.1\r\n\r\n\0\r\n",
    "CONNECT\nlogin:guest\npasscode: guest\n\n\0",
    "SEND\ndestination:/queue/q\ncontent-length:3\nreceipt:1\n\na\0b\0",
    "SEND\ndestination:/topic/a.b\npersistent:true\nreply-to:/temp-queue/t\nx\\cy:z\\n\n\nhi\0",
    "SEND\ndestination:/exchange/amq.fanout\ntransaction:t\nreceipt:2\n\nhi\0",
    "SUBSCRIBE\nid:0\ndestination:/queue/q\nack:client\nprefetch-count:2\n\n\0",
    "SUBSCRIBE\nid:1\ndestination:/topic/#\nack:client-individual\ndurable:true\n\n\0",
    "SUBSCRIBE\nid:2\ndestination:q\nreceipt:3\n\n\0\n",
    "UNSUBSCRIBE\nid:0\nreceipt:4\n\n\0",
    "UNSUBSCRIBE\nid:1\ndurable:true\n\n\0",
    "ACK\nid:mine\n\n\0",
    "BEGIN\ntransaction:t\n\n\0",
    "COMMIT\ntransaction:t\nreceipt:5\n\n\0",
    "ABORT\ntransaction:t\n\n\0",
    "DISCONNECT\nreceipt:6\n\n\0",
    "\n\0\r\n",
];

/// Acknowledgements of what the one connection of a world may have been sent.
const ACKNOWLEDGEMENTS: &[&str] = &[
    "ACK\nid:1-1-1\n\n\0",
    "ACK\nmessage-id:1-2-1\nsubscription:1\ntransaction:t\n\n\0",
    "NACK\nid:1-2-1\nrequeue:false\n\n\0",
    "ACK\nid:1-3-1\ntransaction:t\n\n\0",
];

/// Numbers that look random and are the same in every run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}

/// A handful of frames, the first mostly CONNECT, with a few octets changed, cut or repeated.
fn conversation(numbers: &mut Numbers, frames: &[&str]) -> Vec<u8> {
    let mut text = frames[numbers.below(3)].as_bytes().to_vec();
    for _ in 0..numbers.below(12) {
        text.extend_from_slice(frames[numbers.below(frames.len())].as_bytes());
    }
    let first = if numbers.below(4) == 0 { 0 } else { text.len().min(70) };
    for _ in 0..numbers.below(4) {
        let at = first + numbers.below(text.len() - first + 1);
        match numbers.below(4) {
            0 => text.insert(at, b"\n\0\r:\\\xFF9/%"[numbers.below(9)]),
            1 if at < text.len() => text[at] = u8::try_from(numbers.below(256)).unwrap(),
            2 if at < text.len() => drop(text.remove(at)),
            _ => text.truncate(at.max(first)),
        }
    }
    text
}

/// How the conversation ends: with which ERROR, and whether at all.
fn ending(text: &[u8], chunk_len: usize) -> (String, bool) {
    let world = World::new();
    let config = Config { message_bytes_max: 64, headers_max: 6, ..Config::default() };
    let mut client = connect(&world, &config, chunk_len);
    let mut read = client.send(text);
    world.step();
    read.extend(client.read());
    let read = String::from_utf8_lossy(&read).into_owned();
    let error = read.split('\0').find(|frame| frame.starts_with("ERROR\n")).unwrap_or_default();
    (error.to_owned(), client.is_closed())
}

/// Whether a message or a confirm comes before or after the end depends on the pieces, so it is
/// the end that is compared; and no acknowledgement here names a message, which the client could
/// not know yet.
#[test]
fn a_client_that_says_nearly_right_things_ends_the_same_way_whole_and_in_pieces() {
    let mut numbers = Numbers(1);
    let (mut open, mut closed) = (0, 0);
    for round in 0..3000 {
        let text = conversation(&mut numbers, FRAMES);
        let whole = ending(&text, usize::MAX);
        let pieces = ending(&text, 1 + numbers.below(3));
        assert_eq!(whole, pieces, "round {round}: {:?}", String::from_utf8_lossy(&text));
        *(if whole.1 { &mut closed } else { &mut open }) += 1;
    }
    assert!(open > 300 && closed > 300, "both ends are reached: {open} open, {closed} closed");
}

#[test]
fn a_client_that_acknowledges_at_random_harms_nobody() {
    let mut numbers = Numbers(2);
    let frames = [FRAMES, ACKNOWLEDGEMENTS].concat();
    for _ in 0..3000 {
        let text = conversation(&mut numbers, &frames);
        ending(&text, 1 + numbers.below(40));
    }
}
