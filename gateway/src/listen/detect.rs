//! Which protocol a client speaks, by its first bytes: for a WebSocket that offers no
//! subprotocol.

use trivium_core::Protocol;

/// What the first bytes of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detected {
    /// This protocol, and more bytes will not change that.
    Protocol(Protocol),
    /// Not yet clear.
    NeedMore,
    /// None of ours, and more bytes will not change that.
    Unknown,
}

/// How clients begin: AMQP's protocol header; MQTT's CONNECT packet (type 1, no flags); STOMP's
/// CONNECT or STOMP command, after which 1.2 allows line ends.
const BEGINNINGS: [(&[u8], Protocol); 8] = [
    (b"AMQP", Protocol::Amqp),
    (&[0x10], Protocol::Mqtt),
    (b"CONNECT\n", Protocol::Stomp),
    (b"CONNECT\r\n", Protocol::Stomp),
    (b"STOMP\n", Protocol::Stomp),
    (b"STOMP\r\n", Protocol::Stomp),
    (b"\n", Protocol::Stomp),
    (b"\r\n", Protocol::Stomp),
];

/// Reads the first bytes of a connection.
pub(crate) fn detect(first: &[u8]) -> Detected {
    let mut detected = Detected::Unknown;
    for (beginning, protocol) in BEGINNINGS {
        if first.starts_with(beginning) {
            return Detected::Protocol(protocol);
        }
        if beginning.starts_with(first) {
            detected = Detected::NeedMore;
        }
    }
    detected
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONVERSATIONS: [(&[u8], Detected); 10] = [
        (b"AMQP\0\0\x09\x01", Detected::Protocol(Protocol::Amqp)),
        (b"\x10\x0c\0\x04MQTT", Detected::Protocol(Protocol::Mqtt)),
        (b"CONNECT\naccept-version:1.2\n\n\0", Detected::Protocol(Protocol::Stomp)),
        (b"STOMP\r\naccept-version:1.2\n\n\0", Detected::Protocol(Protocol::Stomp)),
        (b"\r\nCONNECT\n", Detected::Protocol(Protocol::Stomp)),
        (b"GET / HTTP/1.1\r\n", Detected::Unknown),
        (b"\x20\x02\0\0", Detected::Unknown),
        (b"CONNECTED\n", Detected::Unknown),
        (b"AMQ", Detected::NeedMore),
        (b"", Detected::NeedMore),
    ];

    #[test]
    fn first_bytes_tell() {
        for (bytes, detected) in CONVERSATIONS {
            assert_eq!(detect(bytes), detected, "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn no_prefix_changes_its_mind() {
        for (bytes, detected) in CONVERSATIONS {
            for length in 0..bytes.len() {
                let early = detect(&bytes[..length]);
                assert!(early == Detected::NeedMore || early == detected, "{bytes:?} at {length}");
            }
        }
    }
}
