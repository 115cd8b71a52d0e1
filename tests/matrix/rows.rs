//! The rows of the matrix: what can be said, and how each protocol says it.

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;
use trivium_core::Protocol;

use crate::amqp::push_value;
use crate::message::{Field, Message};
use crate::octets::push_sized;

/// Something a message can say.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) says: &'static str,
    /// How AMQP, MQTT and STOMP say it; `None` where they cannot.
    ways: [Option<BoxedStrategy<Message>>; 3],
    /// How many values are drawn.
    pub(crate) values: usize,
    /// The cells show values, and what every message gains.
    pub(crate) shows_all: bool,
    /// Another protocol says the same in other words, so that texts cannot be compared there.
    pub(crate) is_translated: bool,
    /// Names are drawn, too.
    pub(crate) any_name: bool,
}

impl Row {
    pub(crate) fn way(&self, protocol: Protocol) -> Option<&BoxedStrategy<Message>> {
        self.ways[index(protocol)].as_ref()
    }

    fn says(self, protocol: Protocol, fields: impl Strategy<Value = Vec<Field>> + 'static) -> Self {
        let body = proptest::collection::vec(any::<u8>(), 0..40);
        let message = (fields, body)
            .prop_map(move |(fields, body)| message(protocol, address(protocol), fields, body));
        self.with(protocol, message.boxed())
    }

    pub(crate) fn with(mut self, protocol: Protocol, way: BoxedStrategy<Message>) -> Self {
        self.ways[index(protocol)] = Some(way);
        self
    }

    fn amqp(self, fields: impl Strategy<Value = Vec<Field>> + 'static) -> Self {
        self.says(Protocol::Amqp, fields)
    }

    fn mqtt(self, fields: impl Strategy<Value = Vec<Field>> + 'static) -> Self {
        self.says(Protocol::Mqtt, fields)
    }

    fn stomp(self, fields: impl Strategy<Value = Vec<Field>> + 'static) -> Self {
        self.says(Protocol::Stomp, fields)
    }

    /// Text headers, which every protocol has.
    fn everywhere(self, fields: impl Strategy<Value = Vec<Field>> + Clone + 'static) -> Self {
        self.amqp(fields.clone()).mqtt(fields.clone()).stomp(fields)
    }

    const fn translated(mut self) -> Self {
        self.is_translated = true;
        self
    }

    const fn with_any_name(mut self) -> Self {
        self.any_name = true;
        self
    }

    const fn showing_all(mut self) -> Self {
        self.shows_all = true;
        self
    }
}

const fn index(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Amqp => 0,
        Protocol::Mqtt => 1,
        Protocol::Stomp => 2,
    }
}

const fn row(says: &'static str) -> Row {
    let ways = [None, None, None];
    Row { says, ways, values: 8, shows_all: false, is_translated: false, any_name: false }
}

const fn address(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Amqp => "t.out",
        Protocol::Mqtt => "t/out",
        Protocol::Stomp => "/topic/t.out",
    }
}

/// Every MQTT message has a QoS; what says nothing of it is sent at 0.
fn message(protocol: Protocol, address: &str, mut fields: Vec<Field>, body: Vec<u8>) -> Message {
    if protocol == Protocol::Mqtt && fields.first().is_none_or(|field| field.name != "QoS") {
        fields.insert(0, Field::property("QoS", b'B', [0]));
    }
    Message { address: address.into(), fields, body }
}

/// The message that gains only what every message gains.
pub(crate) fn bare(protocol: Protocol) -> Message {
    message(protocol, address(protocol), Vec::new(), b"bare".to_vec())
}

/// Every row, in the order of the document.
pub(crate) fn all() -> Vec<Row> {
    let groups = [
        delivery(),
        content(),
        replies(),
        lifetime(),
        identity(),
        headers(),
        types(),
        collisions(),
        bodies_and_addresses(),
    ];
    groups.into_iter().flatten().collect()
}

fn octets(pattern: &str) -> BoxedStrategy<Vec<u8>> {
    let pattern = proptest::string::string_regex(pattern).expect("a pattern");
    pattern.prop_map(String::into_bytes).boxed()
}

/// A short text with everything that a header may have to escape.
fn text() -> BoxedStrategy<Vec<u8>> {
    octets("[ -~é日:\\\\]{1,60}")
}

fn one(field: Field) -> BoxedStrategy<Vec<Field>> {
    Just(vec![field]).boxed()
}

fn property(
    name: &'static str,
    tag: u8,
    values: impl Strategy<Value = Vec<u8>> + 'static,
) -> BoxedStrategy<Vec<Field>> {
    values.prop_map(move |value| vec![Field::property(name, tag, value)]).boxed()
}

fn header(
    name: &'static str,
    tag: u8,
    values: impl Strategy<Value = Vec<u8>> + 'static,
) -> BoxedStrategy<Vec<Field>> {
    values.prop_map(move |value| vec![Field::header(name, tag, value)]).boxed()
}

fn delivery() -> Vec<Row> {
    let qos = |value| one(Field::property("QoS", b'B', [value]));
    let mode = |value| one(Field::property("delivery_mode", b'B', [value]));
    let persistent = |value: &'static str| one(Field::header("persistent", b'S', value));
    let retain = vec![Field::property("QoS", b'B', [0]), Field::property("RETAIN", b'B', [1])];
    vec![
        row("nothing but a body").showing_all().everywhere(Just(Vec::new())),
        row("durable: delivery mode 2, QoS 1, `persistent:true`")
            .showing_all()
            .amqp(mode(2))
            .mqtt(qos(1))
            .stomp(persistent("true")),
        row("not durable: delivery mode 1, QoS 0, `persistent:false`")
            .showing_all()
            .amqp(mode(1))
            .mqtt(qos(0))
            .stomp(persistent("false")),
        row("QoS 2").showing_all().mqtt(qos(2)),
        row("retain").showing_all().mqtt(Just(retain)),
    ]
}

fn content() -> Vec<Row> {
    let long = || octets("[a-z]{256,400}");
    let all_ways =
        |row: Row, amqp, mqtt, stomp, values: fn() -> BoxedStrategy<Vec<u8>>| {
            row.amqp(property(amqp, b'S', values()))
                .mqtt(property(mqtt, b'S', values()))
                .stomp(header(stomp, b'S', values()))
        };
    vec![
        all_ways(row("content type"), "content_type", "Content-Type", "content-type", text),
        row("content type above 255 octets")
            .mqtt(property("Content-Type", b'S', long()))
            .stomp(header("content-type", b'S', long())),
        row("content encoding")
            .amqp(property("content_encoding", b'S', text()))
            .mqtt(header("content-encoding", b'S', text()))
            .stomp(header("content-encoding", b'S', text())),
        row("payload format").mqtt(property("Payload-Format-Indicator", b'B', octet(0..=1))),
        row("correlation, text")
            .amqp(property("correlation_id", b'S', text()))
            .mqtt(property("Correlation-Data", b'x', text()))
            .stomp(header("correlation-id", b'S', text())),
        row("correlation, text above 255 octets")
            .mqtt(property("Correlation-Data", b'x', long()))
            .stomp(header("correlation-id", b'S', long())),
        row("correlation, octets that are no UTF-8").mqtt(property(
            "Correlation-Data",
            b'x',
            binary(),
        )),
    ]
}

fn octet(range: std::ops::RangeInclusive<u8>) -> BoxedStrategy<Vec<u8>> {
    range.prop_map(|value| vec![value]).boxed()
}

/// Never UTF-8.
fn binary() -> BoxedStrategy<Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..30)
        .prop_map(|mut octets| {
            octets.push(0xFF);
            octets
        })
        .boxed()
}

fn prefixed(prefix: &'static str, values: BoxedStrategy<Vec<u8>>) -> BoxedStrategy<Vec<u8>> {
    values.prop_map(move |value| [prefix.as_bytes(), &value].concat()).boxed()
}

fn replies() -> Vec<Row> {
    let queue = || octets("[a-z0-9_-]{1,40}");
    let words = || octets("[a-z]{1,9}(\\.[a-z]{1,9}){0,4}");
    vec![
        row("reply to a queue")
            .translated()
            .amqp(property("reply_to", b'S', queue()))
            .mqtt(property("Response-Topic", b'S', prefixed("$queue/", queue())))
            .stomp(header("reply-to", b'S', prefixed("/reply-queue/", queue()))),
        row("reply to a queue, as `/queue/`").translated().stomp(header(
            "reply-to",
            b'S',
            prefixed("/queue/", queue()),
        )),
        row("reply to a queue whose name has `/ + # % . :`")
            .translated()
            .amqp(property("reply_to", b'S', octets("[a-z/+#%.: ]{1,40}")))
            .stomp(header(
                "reply-to",
                b'S',
                prefixed("/reply-queue/", octets("[a-z/+#%.: ]{1,40}")),
            )),
        row("reply to a topic")
            .translated()
            .amqp(property("reply_to", b'S', prefixed("amq.topic.reply-to.", words())))
            .mqtt(property("Response-Topic", b'S', octets("[a-z]{1,9}(/[a-z.%]{1,9}){0,4}")))
            .stomp(header("reply-to", b'S', prefixed("/topic/", words()))),
        row("reply to a topic above 255 octets")
            .translated()
            .mqtt(property("Response-Topic", b'S', octets("[a-z]{256,400}")))
            .stomp(header("reply-to", b'S', prefixed("/topic/", octets("[a-z]{256,400}")))),
    ]
}

fn lifetime() -> Vec<Row> {
    let decimal = |millis: u32| millis.to_string().into_bytes();
    let whole = (1..9_999_u32).prop_map(move |seconds| decimal(seconds * 1000));
    let broken = (1..9_999_999_u32).prop_map(move |millis| decimal(millis / 1000 * 1000 + 999));
    let seconds = (1..300_000_000_u32).prop_map(|seconds| seconds.to_be_bytes().to_vec());
    let priority = || (0..=255_u8).prop_map(|value| value.to_string().into_bytes());
    vec![
        row("expiry in whole seconds")
            .amqp(property("expiration", b'S', whole.clone()))
            .mqtt(property("Message-Expiry-Interval", b'i', seconds))
            .stomp(header("expiration", b'S', whole)),
        row("expiry with a fraction of a second, which MQTT rounds up")
            .amqp(property("expiration", b'S', broken.clone()))
            .stomp(header("expiration", b'S', broken)),
        row("priority")
            .amqp(property("priority", b'B', octet(0..=255)))
            .mqtt(header("priority", b'S', priority()))
            .stomp(header("priority", b'S', priority())),
        row("priority with leading zeros")
            .mqtt(header("priority", b'S', octets("00[1-9]")))
            .stomp(header("priority", b'S', octets("00[1-9]"))),
    ]
}

fn identity() -> Vec<Row> {
    let named = |says, amqp, mqtt, stomp, values: fn() -> BoxedStrategy<Vec<u8>>| {
        row(says)
            .amqp(property(amqp, b'S', values()))
            .mqtt(header(mqtt, b'S', values()))
            .stomp(header(stomp, b'S', values()))
    };
    let decimal = || any::<u32>().prop_map(|value| value.to_string().into_bytes());
    let instant = any::<u32>().prop_map(|value| u64::from(value).to_be_bytes().to_vec());
    vec![
        named("message id", "message_id", "amqp-message-id", "amqp-message-id", text),
        named("type", "type", "amqp-type", "type", text),
        named("application", "app_id", "amqp-app-id", "app-id", text),
        named("user, as logged in", "user_id", "amqp-user-id", "user-id", || octets("guest")),
        row("timestamp")
            .amqp(property("timestamp", b'T', instant))
            .mqtt(header("amqp-timestamp", b'S', decimal()))
            .stomp(header("timestamp", b'S', decimal())),
        row("type, said twice").mqtt(twice("amqp-type")).stomp(twice("type")),
        row("cluster id, which is reserved").amqp(property("cluster_id", b'S', text())),
    ]
}

fn twice(name: &'static str) -> BoxedStrategy<Vec<Field>> {
    (octets("a[a-z]{1,9}"), octets("b[a-z]{1,9}"))
        .prop_map(move |(first, second)| {
            [first, second].map(|value| Field::header(name, b'S', value)).to_vec()
        })
        .boxed()
}

fn names(pattern: &'static str) -> BoxedStrategy<Vec<Field>> {
    (octets(pattern), text())
        .prop_map(|(name, value)| {
            vec![Field::header(&String::from_utf8(name).expect("UTF-8"), b'S', value)]
        })
        .boxed()
}

fn headers() -> Vec<Row> {
    let many = proptest::collection::vec(text(), 6).prop_map(|values| {
        let names = ["z", "a", "m", "B", "é", "0"].into_iter();
        names.zip(values).map(|(name, value)| Field::header(name, b'S', value)).collect::<Vec<_>>()
    });
    let repeats = (octets("a[a-z]{0,9}"), octets("b[a-z]{0,9}"), octets("c[a-z]{0,9}"))
        .prop_map(|(first, other, second)| {
            let fields = [("n", first), ("o", other), ("n", second)];
            fields.map(|(name, value)| Field::header(name, b'S', value)).to_vec()
        })
        .boxed();
    vec![
        row("a header").everywhere(header("h", b'S', text())),
        row("a header with line ends").everywhere(header(
            "h",
            b'S',
            octets("[a-z]{1,5}\r\n[a-z:]{1,5}"),
        )),
        row("a header with other control characters")
            .amqp(header("h", b'S', octets("[\x01-\x09\x0B\x0C\x0E-\x1F]{1,9}")))
            .stomp(header("h", b'S', octets("[\x01-\x09\x0B\x0C\x0E-\x1F]{1,9}"))),
        row("a header with NUL").amqp(header("h", b'S', octets("[a-z]{1,5}\0[a-z]{1,5}"))),
        row("a header without a value").everywhere(header("h", b'S', octets(""))),
        row("a header that reads like a number").everywhere(header(
            "h",
            b'S',
            octets("[1-9][0-9]{0,8}"),
        )),
        row("a header of 5 to 10 KiB").everywhere(header("h", b'S', octets("[a-z]{5120,10240}"))),
        row("a header of more than 64 KiB").amqp(header("h", b'S', octets("[a-z]{65536,65600}"))),
        row("a header that is no UTF-8").amqp(header("h", b'S', binary())),
        row("a name with spaces, colons, `é` and `\\`")
            .with_any_name()
            .everywhere(names("n[ -~é:\\\\]{1,30}")),
        row("a name without characters").with_any_name().amqp(names("")).mqtt(names("")),
        row("a name above 255 octets")
            .with_any_name()
            .mqtt(names("[a-z]{256,400}"))
            .stomp(names("[a-z]{256,400}")),
        row("several headers, in their order").with_any_name().everywhere(many),
        row("a header that is repeated").translated().mqtt(repeats.clone()).stomp(repeats),
    ]
}

/// The types that only AMQP has.
fn types() -> Vec<Row> {
    let of_size = |size| proptest::collection::vec(any::<u8>(), size);
    let typed = |says, tag, size| row(says).amqp(header("h", tag, of_size(size)));
    let float =
        (-9_999_i16..9_999).prop_map(|value| (f32::from(value) / 8.0).to_be_bytes().to_vec());
    let double =
        (-9_999_i16..9_999).prop_map(|value| (f64::from(value) / 8.0).to_be_bytes().to_vec());
    let decimal =
        (0..6_u8, any::<[u8; 4]>()).prop_map(|(scale, value)| [&[scale][..], &value].concat());
    let nested = (text(), any::<[u8; 4]>()).prop_map(|(text, number)| {
        let (mut array, mut inner, mut outer) = (Vec::new(), Vec::new(), Vec::new());
        push_value(b'I', &number, &mut array);
        push_value(b'S', &text, &mut array);
        for (name, tag, value) in [("n", b'I', &number[..]), ("a", b'A', &array)] {
            push_sized(name.as_bytes(), 1, &mut inner);
            push_value(tag, value, &mut inner);
        }
        push_sized(b"t", 1, &mut outer);
        push_value(b'F', &inner, &mut outer);
        (outer, array)
    });
    let table = nested.clone().prop_map(|(table, _)| table);
    let array = nested.prop_map(|(_, array)| array);
    vec![
        row("a boolean").amqp(header("h", b't', octet(0..=1))),
        typed("an integer of 8 bits", b'b', 1),
        typed("an integer of 16 bits", b's', 2),
        typed("an integer of 32 bits", b'I', 4),
        typed("an integer of 64 bits", b'l', 8),
        typed("an unsigned integer of 8 bits", b'B', 1),
        typed("an unsigned integer of 16 bits", b'u', 2),
        typed("an unsigned integer of 32 bits", b'i', 4),
        row("a float").amqp(header("h", b'f', float)),
        row("a double").amqp(header("h", b'd', double)),
        row("a decimal").amqp(header("h", b'D', decimal)),
        row("a timestamp").amqp(header("h", b'T', instant_octets())),
        row("binary that is UTF-8").amqp(header("h", b'x', text())),
        row("binary that is no UTF-8").amqp(header("h", b'x', binary())),
        row("void").amqp(header("h", b'V', octets(""))),
        row("an array").amqp(header("h", b'A', array)),
        row("tables in a table").amqp(header("h", b'F', table)),
    ]
}

fn instant_octets() -> BoxedStrategy<Vec<u8>> {
    any::<u32>().prop_map(|value| u64::from(value).to_be_bytes().to_vec()).boxed()
}

/// Names that mean something to some protocol, as the publisher's own headers.
fn collisions() -> Vec<Row> {
    let word = || octets("[a-z]{3,9}");
    let named = |says, name| {
        let field = || header(name, b'S', word());
        row(says).amqp(field()).mqtt(field())
    };
    vec![
        named("a header called `destination`", "destination"),
        named("a header called `message-id`", "message-id"),
        named("a header called `content-length`", "content-length"),
        named("a header called `receipt`", "receipt"),
        named("a header called `transaction`", "transaction"),
        named("a header called `subscription`", "subscription").stomp(header(
            "subscription",
            b'S',
            word(),
        )),
        named("a header called `amqp-header-ack`", "amqp-header-ack").stomp(header(
            "amqp-header-ack",
            b'S',
            word(),
        )),
        named("a header called `type`", "type"),
        named("a header called `content-type`", "content-type"),
        named("a header called `correlation-id`", "correlation-id"),
        row("a header called `content-encoding`").amqp(header("content-encoding", b'S', word())),
        row("a header called `amqp-type`").amqp(header("amqp-type", b'S', word())).stomp(header(
            "amqp-type",
            b'S',
            word(),
        )),
        row("a header called `priority` that is a number").amqp(header(
            "priority",
            b'S',
            octets("[1-9]"),
        )),
        named("a header called `priority` that is no number", "priority").stomp(header(
            "priority",
            b'S',
            word(),
        )),
        row("a header called `x-correlation-id`").everywhere(header(
            "x-correlation-id",
            b'S',
            word(),
        )),
        row("a header called `x-reply-to-topic`").everywhere(header(
            "x-reply-to-topic",
            b'S',
            word(),
        )),
        row("a header called `x-mqtt-topic`").everywhere(header("x-mqtt-topic", b'S', word())),
        named("a header called `amqp-user-id`", "amqp-header-amqp-user-id")
            .amqp(header("amqp-user-id", b'S', word()))
            .stomp(header("amqp-user-id", b'S', word())),
        row("a header called `x-header-types`")
            .amqp(header("x-header-types", b'S', word()))
            .amqp(header("x-header-types", b'S', octets("[a-z]{1,9}=I"))),
    ]
}

fn bodies_and_addresses() -> Vec<Row> {
    let with_body = |says, values, bodies: BoxedStrategy<Vec<u8>>| {
        let mut row = Row { values, ..row(says) };
        for protocol in Protocol::ALL {
            let way = bodies
                .clone()
                .prop_map(move |body| message(protocol, address(protocol), Vec::new(), body));
            row = row.with(protocol, way.boxed());
        }
        row
    };
    let mebibyte = any::<u8>().prop_map(|seed| {
        (0..1_u32 << 20).map(|at| seed.wrapping_add(at.to_le_bytes()[0])).collect::<Vec<_>>()
    });
    let any_octets = proptest::collection::vec(any::<u8>(), 1..2_000);
    vec![
        with_body("body: empty", 1, octets("")),
        with_body("body: UTF-8", 8, octets("[ -~é日\r\n]{1,300}")),
        with_body("body: any octets, NUL among them", 8, any_octets.boxed()),
        with_body("body: 1 MiB", 1, mebibyte.boxed()),
        addressed("address: plain levels", "[a-z0-9 _-]{1,9}", "[a-z0-9 _é-]{0,9}"),
        addressed(
            "address: `%` and the other protocols' separators",
            "a(%|%25|2E|2F|[.b])*",
            "(%|%25|%2E|%2F|%252F|%23|2E|[a+])*",
        ),
        long_addresses(),
    ]
}

/// Addresses that are no AMQP routing key.
fn long_addresses() -> Row {
    let way = |protocol, pattern: &str| {
        octets(pattern)
            .prop_map(move |address| {
                let address = String::from_utf8(address).expect("UTF-8");
                message(protocol, &address, Vec::new(), vec![1])
            })
            .boxed()
    };
    row("address: above 255 octets, of which AMQP has the leading words")
        .with(Protocol::Mqtt, way(Protocol::Mqtt, "[a-z]{9}(/[a-z]{9}){40}"))
        .with(Protocol::Stomp, way(Protocol::Stomp, "/topic/[a-z]{9}(\\.[a-z]{9}){40}"))
}

/// Addresses of a first word and more words, in each protocol's form.
fn addressed(says: &'static str, first: &str, other: &str) -> Row {
    let plural = |separator: &'static str| {
        let others = proptest::collection::vec(octets(other), 0..4);
        (octets(first), others).prop_map(move |(first, others)| {
            let words = std::iter::once(first).chain(others);
            let words = words.map(|word| String::from_utf8(word).expect("UTF-8"));
            words.collect::<Vec<_>>().join(separator)
        })
    };
    let mut row = row(says);
    for protocol in Protocol::ALL {
        let way = match protocol {
            Protocol::Amqp => plural(".").boxed(),
            Protocol::Mqtt => plural("/").prop_map(|topic| topic.replace('+', "*")).boxed(),
            Protocol::Stomp => plural(".").prop_map(|key| format!("/topic/{key}")).boxed(),
        };
        let way = way.prop_map(move |address| message(protocol, &address, Vec::new(), vec![1]));
        row = row.with(protocol, way.boxed());
    }
    row
}
