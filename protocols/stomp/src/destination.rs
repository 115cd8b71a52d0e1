//! What a destination means, in RabbitMQ's dialect.
//!
//! | written | means |
//! |---|---|
//! | `/queue/<n>`, `<n>` | the shared queue n, declared when used |
//! | `/amq/queue/<n>` | the queue n, which must exist |
//! | `/topic/<k>` | key or binding key k of `amq.topic` |
//! | `/exchange/<x>[/<k>]` | exchange x with key k |
//! | `/reply-queue/<n>` | the queue n; n is not decoded |
//! | `/temp-queue/<t>` | only in `reply-to`: a queue of this connection |
//!
//! In names `%2F` is a slash, `%252F` is `%2F`, and so on: each level of `25` is one level of
//! coding. Every other `%` is itself. Coding and decoding are exact inverses.

use std::borrow::Cow;

use crate::failure::Failure;

/// The exchange behind `/topic/`.
pub(crate) const TOPIC_EXCHANGE: &str = "amq.topic";

/// How `reply-to` names a queue of this connection.
pub(crate) const TEMPORARY_PREFIX: &str = "/temp-queue/";

const REPLY_PREFIX: &str = "/reply-queue/";

/// Longest name of a queue or an exchange that AMQP 0-9-1 can say.
const NAME_BYTES_MAX: usize = 255;

/// The core keeps routing keys of at most this many bytes.
const KEY_BYTES_MAX: usize = 65_535;

/// A destination, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination<'a> {
    /// A shared queue that whoever uses it declares.
    Queue(Cow<'a, str>),
    /// A queue that must exist.
    ExistingQueue(Cow<'a, str>),
    /// A key of the topic exchange.
    Topic(Cow<'a, str>),
    /// An exchange and a key, which may be empty.
    Exchange(Cow<'a, str>, Cow<'a, str>),
    /// A queue that answers go to.
    ReplyQueue(&'a str),
}

impl<'a> Destination<'a> {
    /// Reads what `command` said in its `destination`.
    pub(crate) fn parse(text: &'a str, command: &str) -> Result<Self, Failure> {
        let destination = if let Some(name) = text.strip_prefix("/queue/") {
            Self::Queue(one_name(name, "queue")?)
        } else if let Some(name) = text.strip_prefix("/amq/queue/") {
            Self::ExistingQueue(one_name(name, "amqqueue")?)
        } else if let Some(key) = text.strip_prefix("/topic/") {
            Self::Topic(one_name(key, "topic")?)
        } else if let Some(rest) = text.strip_prefix("/exchange/") {
            exchange(rest)?
        } else if let Some(name) = text.strip_prefix(REPLY_PREFIX).filter(|name| !name.is_empty()) {
            Self::ReplyQueue(name)
        } else if text.starts_with(TEMPORARY_PREFIX) {
            let body = format!("'{text}' is not a valid destination for '{command}'\n");
            return Err(Failure::new("Invalid destination", body));
        } else if !text.contains('/') && !text.is_empty() {
            Self::Queue(decode(text))
        } else {
            return Err(unknown(text));
        };
        destination.check_lengths(text)
    }

    /// The address that a message sent here is published to.
    pub(crate) fn address(&self) -> (&str, &str) {
        match self {
            Self::Queue(name) | Self::ExistingQueue(name) => ("", name),
            Self::ReplyQueue(name) => ("", name),
            Self::Topic(key) => (TOPIC_EXCHANGE, key),
            Self::Exchange(exchange, key) => (exchange, key),
        }
    }

    fn check_lengths(self, text: &str) -> Result<Self, Failure> {
        let (exchange, key) = self.address();
        let key_bytes_max = if exchange.is_empty() { NAME_BYTES_MAX } else { KEY_BYTES_MAX };
        if exchange.len() > NAME_BYTES_MAX || key.len() > key_bytes_max {
            let body = format!("'{text}' is too long\n");
            return Err(Failure::new("Invalid destination", body));
        }
        Ok(self)
    }
}

fn unknown(text: &str) -> Failure {
    let body = format!(
        "'{text}' is not a valid destination.\nValid destination types are: /temp-queue, \
         /exchange, /topic, /queue, /amq/queue, /reply-queue/.\n"
    );
    Failure::new("Unknown destination", body)
}

fn invalid(rest: &str, kind: &str) -> Failure {
    let mut body = format!("'/{rest}' is not a valid {kind} destination\n");
    if kind == "topic" && rest.contains('/') {
        body.push_str("Words of a topic are separated by dots; a slash within one is %2F.\n");
    }
    Failure::new("Invalid destination", body)
}

fn one_name<'a>(text: &'a str, kind: &str) -> Result<Cow<'a, str>, Failure> {
    if text.is_empty() || text.contains('/') {
        return Err(invalid(text, kind));
    }
    Ok(decode(text))
}

fn exchange(rest: &str) -> Result<Destination<'_>, Failure> {
    let (exchange, key) = rest.split_once('/').unwrap_or((rest, ""));
    if exchange.is_empty() || key.contains('/') {
        return Err(invalid(rest, "exchange"));
    }
    Ok(Destination::Exchange(decode(exchange), decode(key)))
}

/// Where the levels of `25` of the coded slash at the beginning of `text` end, if there is one:
/// `%2F`, `%252F`, `%25252F` ...
fn coded_slash(text: &[u8]) -> Option<usize> {
    let mut rest = text.strip_prefix(b"%")?;
    while let Some(inner) = rest.strip_prefix(b"25") {
        rest = inner;
    }
    rest.starts_with(b"2F").then(|| text.len() - rest.len())
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        match coded_slash(rest.as_bytes()) {
            Some(1) => {
                plain.push('/');
                rest = &rest[3..];
            }
            Some(_) => {
                plain.push('%');
                rest = &rest[3..];
            }
            None => {
                plain.push('%');
                rest = &rest[1..];
            }
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

fn encode(text: &[u8], out: &mut Vec<u8>) {
    for (index, &octet) in text.iter().enumerate() {
        match octet {
            b'/' => out.extend_from_slice(b"%2F"),
            b'%' if coded_slash(&text[index..]).is_some() => out.extend_from_slice(b"%25"),
            _ => out.push(octet),
        }
    }
}

/// Appends the destination of a message published to `exchange` with `key`, so that sending there
/// publishes to the same address (S-74).
pub(crate) fn write(exchange: &[u8], key: &[u8], out: &mut Vec<u8>) {
    if exchange.is_empty() {
        out.extend_from_slice(b"/queue/");
    } else if exchange == TOPIC_EXCHANGE.as_bytes() && !key.is_empty() {
        out.extend_from_slice(b"/topic/");
    } else {
        out.extend_from_slice(b"/exchange/");
        encode(exchange, out);
        if key.is_empty() {
            return;
        }
        out.push(b'/');
    }
    encode(key, out);
}

/// Appends the `reply-to` that reaches `queue`. A text that is a destination already stays one.
pub(crate) fn write_reply_queue(queue: &str, out: &mut Vec<u8>) {
    if !is_destination(queue) {
        out.extend_from_slice(REPLY_PREFIX.as_bytes());
    }
    out.extend_from_slice(queue.as_bytes());
}

fn is_destination(text: &str) -> bool {
    ["/queue/", "/topic/", "/exchange/", "/amq/queue/", TEMPORARY_PREFIX, REPLY_PREFIX]
        .iter()
        .any(|prefix| text.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn destinations_mean_what_they_mean_in_rabbitmq() {
        for (text, exchange, key) in [
            ("/queue/a", "", "a"),
            ("a.b", "", "a.b"),
            ("/amq/queue/a", "", "a"),
            ("/topic/a.b", "amq.topic", "a.b"),
            ("/topic/a.*.#", "amq.topic", "a.*.#"),
            ("/exchange/x", "x", ""),
            ("/exchange/x/", "x", ""),
            ("/exchange/x/k", "x", "k"),
            ("/reply-queue/a/b%2F", "", "a/b%2F"),
            ("/queue/a%2Fb", "", "a/b"),
            ("/queue/a%252Fb", "", "a%2Fb"),
            ("/queue/a%25252Fb%2525", "", "a%252Fb%2525"),
            ("/queue/50%", "", "50%"),
            ("/queue/%20%2f", "", "%20%2f"),
        ] {
            let destination = Destination::parse(text, "SEND").unwrap();
            assert_eq!(destination.address(), (exchange, key), "{text}");
        }
    }

    #[test]
    fn wrong_destinations_get_rabbitmqs_texts() {
        for (text, message, body) in [
            ("/queue/", "Invalid destination", "'/' is not a valid queue destination\n"),
            ("/queue/a/b", "Invalid destination", "'/a/b' is not a valid queue destination\n"),
            ("/exchange//k", "Invalid destination", "'//k' is not a valid exchange destination\n"),
            (
                "/temp-queue/a",
                "Invalid destination",
                "'/temp-queue/a' is not a valid destination for 'SEND'\n",
            ),
        ] {
            let failure = Destination::parse(text, "SEND").unwrap_err();
            assert_eq!((&*failure.message, &*failure.body), (message, body), "{text}");
        }
        for text in ["/foo/a", "a/b", "", "/", "/queue", "/reply-queue/"] {
            let failure = Destination::parse(text, "SEND").unwrap_err();
            assert_eq!(failure.message, "Unknown destination", "{text}");
        }
        let failure = Destination::parse("/topic/a/b", "SEND").unwrap_err();
        assert!(failure.body.starts_with("'/a/b' is not a valid topic destination\n"));
        assert!(failure.body.contains("dots"));
        let long = format!("/exchange/{}/k", "x".repeat(256));
        assert_eq!(Destination::parse(&long, "SEND").unwrap_err().message, "Invalid destination");
    }

    proptest! {
        #[test]
        fn sending_to_a_messages_destination_reaches_its_address(
            exchange in "([a%25F/2]{0,6}|amq\\.topic)",
            key in "[a.%25F/2é]{0,12}",
        ) {
            prop_assume!(!exchange.is_empty() || !key.is_empty());
            let mut out = Vec::new();
            write(exchange.as_bytes(), key.as_bytes(), &mut out);
            let text = String::from_utf8(out).unwrap();
            let destination = Destination::parse(&text, "SEND").unwrap();
            prop_assert_eq!(destination.address(), (&*exchange, &*key));
        }

        #[test]
        fn coding_is_the_inverse_of_decoding(text in "[%25F/2a]{0,20}") {
            let mut coded = Vec::new();
            encode(text.as_bytes(), &mut coded);
            let coded = String::from_utf8(coded).unwrap();
            prop_assert!(!coded.contains('/'));
            prop_assert_eq!(decode(&coded), text);
        }
    }
}
