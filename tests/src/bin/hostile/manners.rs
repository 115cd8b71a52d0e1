//! Each class of malformed input by itself: its protocol's own error, the end of that connection,
//! and a neighbour on the same door who notices nothing.

use std::io;
use std::time::{Duration, Instant};

use crate::gateway::{Door, Doors};
use crate::pipe::Pipe;
use crate::report::Report;
use crate::wire::{amqp, mqtt, stomp, websocket};

/// For an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Until the connection is closed.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// Until who says nothing is cut off: `limits.handshake_timeout_ms`, and slack.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(14);

/// What a connection gets for what it sends.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// These octets are among the last that come before the end.
    Says(&'static [u8]),
    /// DISCONNECT of MQTT 5 with this reason code, and a reason string that says why.
    MqttDisconnect(u8),
    /// `connection.close` with this code.
    AmqpClose(u16),
    /// `channel.close` with this code; the connection stays.
    ChannelClose(u16),
    /// The end without a word.
    Silence,
    /// A close frame with this code.
    WebSocket(u16),
    /// A response with this status.
    Http(&'static str),
}

/// One case: on which connection, what, and the answer.
struct Case {
    name: &'static str,
    carrier: Carrier,
    octets: Vec<u8>,
    answer: Answer,
}

#[derive(Clone, Copy, Debug)]
enum Carrier {
    /// Nothing said yet.
    Raw(Door),
    /// Logged in.
    Amqp,
    Mqtt(u8),
    Stomp,
    /// Upgraded for a subprotocol.
    WebSocket(&'static str),
}

impl Carrier {
    const fn door(self) -> Door {
        match self {
            Self::Raw(door) => door,
            Self::Amqp => Door::Amqp,
            Self::Mqtt(_) => Door::Mqtt,
            Self::Stomp => Door::Stomp,
            Self::WebSocket(_) => Door::Http,
        }
    }

    fn open(self, doors: &Doors) -> io::Result<Pipe> {
        let mut pipe = match self {
            Self::WebSocket(subprotocol) => {
                return Pipe::websocket(doors, "/ws", subprotocol, PATIENCE);
            }
            _ => Pipe::tcp(doors, self.door(), PATIENCE)?,
        };
        match self {
            Self::Raw(_) | Self::WebSocket(_) => {}
            Self::Amqp => {
                pipe.send(&amqp::login().concat())?;
                pipe.wait_for(amqp::OPEN_OK)?;
                pipe.send(&amqp::method(1, 20, 10, b"\0"))?;
                pipe.wait_for(b"\0\x14\0\x0b\0\0\0\0\xce")?;
            }
            Self::Mqtt(level) => {
                pipe.send(&mqtt::connect(level, &format!("manners {level}")))?;
                pipe.wait_for(b"\x20")?;
            }
            Self::Stomp => {
                pipe.send(stomp::CONNECT)?;
                pipe.wait_for(b"\n\n\0")?;
            }
        }
        Ok(pipe)
    }
}

/// Runs every case.
pub(crate) fn check(doors: &Doors, report: &mut Report) -> io::Result<()> {
    let mut neighbours = Neighbours::new(doors)?;
    let cases = [amqp_cases(), mqtt_cases(), stomp_cases(), http_cases(), websocket_cases()];
    for case in cases.into_iter().flatten() {
        let result = run(&case, doors).and_then(|()| neighbours.talk(case.carrier.door()));
        let (name, answer) = (case.name, case.answer);
        report.check(&format!("{name}: {answer:?}"), result.map_err(|error| error.to_string()));
    }
    Ok(())
}

fn run(case: &Case, doors: &Doors) -> io::Result<()> {
    let mut pipe = case.carrier.open(doors)?;
    // An early answer may close before all is sent.
    pipe.send_raw(&case.octets).ok();
    let begun = Instant::now();
    let wrong = |pipe: &Pipe| {
        let read = pipe.inbox.get(..200).unwrap_or(&pipe.inbox).escape_ascii().to_string();
        let code = pipe.close_code;
        io::Error::other(format!("read {read:?}, close code {code:?}, {:?}", begun.elapsed()))
    };
    if let Answer::ChannelClose(code) = case.answer {
        let close = [&[0, 20, 0, 40][..], &code.to_be_bytes()].concat();
        pipe.wait_for(&close)?;
        pipe.send(&amqp::method(2, 20, 10, b"\0"))?;
        return pipe.wait_for(b"\0\x14\0\x0b\0\0\0\0\xce").map(drop);
    }
    if let Answer::AmqpClose(code) = case.answer {
        // Otherwise the gateway waits for our `close-ok`; `Silent` has that case.
        let close = [&[0, 10, 0, 50][..], &code.to_be_bytes()].concat();
        while !pipe.inbox.windows(close.len()).any(|window| window == close) {
            pipe.receive().map_err(|_| wrong(&pipe))?;
        }
        pipe.shutdown();
    }
    let has_closed = pipe.read_to_end(CLOSE_PATIENCE);
    let holds = |wanted: &[u8]| pipe.inbox.windows(wanted.len()).any(|window| window == wanted);
    let is_right = match case.answer {
        Answer::Says(wanted) => holds(wanted),
        Answer::MqttDisconnect(reason) => pipe.inbox.windows(5).any(|window| {
            window[0] == 0xE0
                && window[1] == window[3].wrapping_add(2)
                && window[2] == reason
                && window[4] == 0x1F
        }),
        Answer::Silence => pipe.inbox.is_empty(),
        Answer::WebSocket(code) => pipe.close_code == Some(code),
        Answer::Http(status) => pipe.inbox.starts_with(format!("HTTP/1.1 {status} ").as_bytes()),
        Answer::AmqpClose(_) | Answer::ChannelClose(_) => true,
    };
    if is_right && has_closed { Ok(()) } else { Err(wrong(&pipe)) }
}

/// Well-behaved connections that stay open beside every case.
struct Neighbours {
    amqp: Pipe,
    mqtt: Pipe,
    stomp: Pipe,
    http: Pipe,
}

impl Neighbours {
    fn new(doors: &Doors) -> io::Result<Self> {
        let mut mqtt = Pipe::tcp(doors, Door::Mqtt, PATIENCE)?;
        mqtt.send(&mqtt::connect(5, "neighbour"))?;
        mqtt.wait_for(b"\x20")?;
        let http = Carrier::Raw(Door::Http).open(doors)?;
        Ok(Self {
            amqp: Carrier::Amqp.open(doors)?,
            mqtt,
            stomp: Carrier::Stomp.open(doors)?,
            http,
        })
    }

    fn talk(&mut self, door: Door) -> io::Result<()> {
        match door {
            Door::Amqp => {
                self.amqp.send(&amqp::method(1, 60, 10, b"\0\0\0\0\0\0\0"))?;
                self.amqp.wait_for(b"\0\x3c\0\x0b\xce")?;
            }
            Door::Mqtt => {
                self.mqtt.send(b"\xc0\0")?;
                self.mqtt.wait_for(b"\xd0\0")?;
            }
            Door::Stomp => {
                self.stomp.send(b"SEND\ndestination:/topic/nobody\nreceipt:n\n\n\0")?;
                self.stomp.wait_for(b"receipt-id:n\n\n\0")?;
            }
            Door::Http | Door::Prometheus => {
                self.http.send(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
                self.http.wait_for(b"HTTP/1.1 200")?;
            }
        }
        Ok(())
    }
}

fn amqp_cases() -> Vec<Case> {
    let raw = |name, octets: &[u8], answer| Case {
        name,
        carrier: Carrier::Raw(Door::Amqp),
        octets: octets.to_vec(),
        answer,
    };
    let open = |name, octets: Vec<u8>, code| Case {
        name,
        carrier: Carrier::Amqp,
        octets,
        answer: Answer::AmqpClose(code),
    };
    let table = |inside: &[u8]| {
        let head = [&[0, 0][..], &amqp::short("q"), &[4]].concat();
        amqp::method(1, 50, 10, &[head, amqp::long(inside)].concat())
    };
    let deep =
        (0..40).rev().fold(Vec::new(), |inside, _| [&b"\x01aF"[..], &amqp::long(&inside)].concat());
    let content = |size: u64, body: &[u8]| {
        let header = [&[0, 60, 0, 0][..], &size.to_be_bytes(), &[0, 0]].concat();
        let header = amqp::frame(2, 1, &header);
        [amqp::publish(1, "", "q", 0), header, amqp::frame(3, 1, body)].concat()
    };
    let wrong_password = amqp::start_ok(
        b"\x0ccapabilitiesF\0\0\0\x1f\x1cauthentication_failure_closet\x01",
        "wrong",
    );
    let wrong_password = [&amqp::HEADER[..], &wrong_password].concat();
    let tune = b"\x07\xff\x7f\xff\xff\xff\0\0";
    let greedy = [&amqp::login()[..2].concat()[..], &amqp::method(0, 10, 31, tune)].concat();
    vec![
        raw("another protocol", b"GET / HTTP/1.1\r\n\r\n", Answer::Says(amqp::HEADER)),
        raw("another version", b"AMQP\0\x01\0\0", Answer::Says(amqp::HEADER)),
        raw("refused login", &wrong_password, Answer::AmqpClose(403)),
        raw("frame_max above the offer", &greedy, Answer::AmqpClose(530)),
        open("frame of 4 GiB", b"\x01\0\x01\xff\xff\xff\xff".to_vec(), 501),
        open("frame without its end", b"\x01\0\x01\0\0\0\x02ab\0".to_vec(), 501),
        open("unknown frame type", amqp::frame(77, 1, b""), 501),
        open("truncated method", amqp::method(1, 50, 10, b"\0\0\xffq"), 501),
        open("name that is not UTF-8", amqp::method(1, 50, 30, b"\0\0\x01\xff\0"), 501),
        open("unknown field type", table(b"\x01aU\0"), 502),
        open("table 40 deep", table(&deep), 502),
        open("unknown method", amqp::method(1, 99, 99, b""), 503),
        open("closed channel", amqp::method(9, 60, 10, &[0; 7]), 504),
        open("body without a publish", amqp::frame(3, 1, b"x"), 505),
        open("body longer than said", content(1, b"xx"), 501),
        Case {
            name: "message above the limit",
            carrier: Carrier::Amqp,
            octets: content(17 << 20, b""),
            answer: Answer::ChannelClose(406),
        },
    ]
}

fn mqtt_cases() -> Vec<Case> {
    let raw = |name, octets: &[u8], answer| Case {
        name,
        carrier: Carrier::Raw(Door::Mqtt),
        octets: octets.to_vec(),
        answer,
    };
    let three = |name, octets: &[u8]| Case {
        name,
        carrier: Carrier::Mqtt(4),
        octets: octets.to_vec(),
        answer: Answer::Silence,
    };
    let five = |name, octets: &[u8], reason| Case {
        name,
        carrier: Carrier::Mqtt(5),
        octets: octets.to_vec(),
        answer: Answer::MqttDisconnect(reason),
    };
    let wrong = |level: u8| {
        let properties: &[u8] = if level == 5 { &[0] } else { &[] };
        let head = [b"\0\x04MQTT", &[level, 0xC2, 0, 0][..], properties].concat();
        mqtt::packet(0x10, &[head, ["c", "guest", "wrong"].map(mqtt::text).concat()].concat())
    };
    let again = mqtt::connect(5, "manners 5");
    vec![
        raw("another protocol", b"GET / HTTP/1.1\r\n\r\n", Answer::Silence),
        raw("packet before CONNECT", b"\xc0\0", Answer::Silence),
        raw("unknown version", &mqtt::connect(9, "c"), Answer::Says(b"\x20\x03\0\x84\0")),
        raw("old version", &mqtt::connect(2, "c"), Answer::Says(b"\x20\x02\0\x01")),
        raw("refused login, 3.1.1", &wrong(4), Answer::Says(b"\x20\x02\0\x04")),
        raw("refused login, 5", &wrong(5), Answer::Says(b"\x20\x03\0\x86\0")),
        raw("CONNECT above the limit", b"\x10\xff\xff\xff\x7f\0\x04MQTT\x05", Answer::Silence),
        three("packet above the limit, 3.1.1", b"\x30\xff\xff\xff\x7f"),
        three("reserved type, 3.1.1", b"\x00\0"),
        three("length of five octets, 3.1.1", b"\x30\xff\xff\xff\xff\x7f"),
        three("wildcard in a topic, 3.1.1", &mqtt::publish(4, "a/#", None, b"")),
        five("packet above the limit", b"\x30\xff\xff\xff\x7f", 0x95),
        five("reserved type", b"\x00\0", 0x81),
        five("length of five octets", b"\x30\xff\xff\xff\xff\x7f", 0x81),
        five("truncated packet", b"\x32\x03\0\x09a", 0x81),
        five("QoS 3", b"\x36\x06\0\x01a\0\x01\0", 0x81),
        five("second CONNECT", &again, 0x82),
        five("topic alias above the limit", b"\x30\x07\0\x01a\x03\x23\xff\xff", 0x94),
        five("wildcard in a topic", &mqtt::publish(5, "a/#", None, b""), 0x90),
        five("topic that is not UTF-8", b"\x30\x04\0\x01\xff\0", 0x81),
        five("SUBSCRIBE without filters", b"\x82\x03\0\x01\0", 0x82),
        five("unknown property", b"\x30\x06\0\x01a\x02\x7e\0", 0x81),
    ]
}

fn stomp_cases() -> Vec<Case> {
    const ERROR: Answer = Answer::Says(b"ERROR\n");
    let raw = |name, octets: &[u8]| Case {
        name,
        carrier: Carrier::Raw(Door::Stomp),
        octets: octets.to_vec(),
        answer: ERROR,
    };
    let open = |name, octets: &[u8]| Case {
        name,
        carrier: Carrier::Stomp,
        octets: octets.to_vec(),
        answer: ERROR,
    };
    let send = b"SEND\ndestination:/topic/x\n";
    vec![
        raw("another protocol", b"GET / HTTP/1.1\r\n\r\n"),
        raw("unknown version", b"CONNECT\naccept-version:9.9\nhost:/\n\n\0"),
        raw("refused login", b"CONNECT\naccept-version:1.2\nhost:/\nlogin:a\npasscode:b\n\n\0"),
        raw("frame before CONNECT", b"SEND\ndestination:/topic/x\n\n\0"),
        raw("command without end", &[b'x'; 4096]),
        open("unknown command", b"HELLO\n\n\0"),
        open("thousand headers", &[&send[..], &b"a:b\n".repeat(1000), b"\n\0"].concat()),
        open("header of 1 MiB", &[&send[..], b"a:", &[b'x'; 1 << 20], b"\n\n\0"].concat()),
        open("header without a colon", b"SEND\ndestination\n\n\0"),
        open("unknown escape", b"SEND\ndestination:/topic/x\na:\\t\n\n\0"),
        open("head that is not UTF-8", b"SEND\ndestination:/topic/\xff\n\n\0"),
        open("no destination", b"SEND\n\n\0"),
        open("length above the limit", &[&send[..], b"content-length:99999999\n\n"].concat()),
        open("length that is no number", &[&send[..], b"content-length:-1\n\nx\0"].concat()),
        open("length that is wrong", &[&send[..], b"content-length:1\n\nxyz\0"].concat()),
        open("ACK of nothing", b"ACK\nid:nothing\n\n\0"),
        open("unknown transaction", b"COMMIT\ntransaction:t\n\n\0"),
    ]
}

fn http_cases() -> Vec<Case> {
    let case = |name, octets: &[u8], status| Case {
        name,
        carrier: Carrier::Raw(Door::Http),
        octets: octets.to_vec(),
        answer: Answer::Http(status),
    };
    let get = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    vec![
        case("another protocol", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n", "400"),
        case("head of 1 MiB", &[&get[..], &b"a: b\r\n".repeat(170_000)].concat(), "431"),
        case("header of 1 MiB", &[&get[..], b"a: ", &[b'x'; 1 << 20]].concat(), "431"),
        case("path of 1 MiB", &[&b"GET /"[..], &[b'x'; 1 << 20]].concat(), "431"),
        case("NUL in a header", &[&get[..], b"a: \0\r\n\r\n"].concat(), "400"),
        case("another host", b"GET / HTTP/1.1\r\nHost: evil\r\nConnection: close\r\n\r\n", "403"),
        case("no host", b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "403"),
        case("POST", &[b"POST", &get[3..], b"\r\n"].concat(), "405"),
        case("negative length", &[&get[..], b"Content-Length: -1\r\n\r\n"].concat(), "400"),
        case(
            "two lengths",
            &[&get[..], b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"].concat(),
            "400",
        ),
    ]
}

fn websocket_cases() -> Vec<Case> {
    let mask = Some([9, 8, 7, 6]);
    let case = |name, subprotocol, octets: Vec<u8>, code| Case {
        name,
        carrier: Carrier::WebSocket(subprotocol),
        octets,
        answer: Answer::WebSocket(code),
    };
    let stomp = |name, octets, code| case(name, "v12.stomp", octets, code);
    vec![
        stomp("frame without a mask", websocket::frame(0x82, 4, None, b"bare"), 1002),
        stomp("reserved bits", websocket::frame(0xF2, 4, mask, b"bits"), 1002),
        stomp("unknown opcode", websocket::frame(0x83, 4, mask, b"code"), 1002),
        stomp("ping of 126 octets", websocket::frame(0x89, 126, mask, &[0; 126]), 1002),
        stomp("ping in pieces", websocket::frame(0x09, 1, mask, b"p"), 1002),
        stomp("continuation of nothing", websocket::frame(0x80, 1, mask, b"x"), 1002),
        stomp("text that is not UTF-8", websocket::frame(0x81, 2, mask, b"\xc3\x28"), 1007),
        stomp("frame of 1 TiB", websocket::frame(0x82, 1 << 40, mask, b"x"), 1009),
        case("text where MQTT is spoken", "mqtt", websocket::frame(0x81, 2, mask, b"hi"), 1003),
        case("no known protocol", "", websocket::frame(0x82, 8, mask, b"whatever"), 1002),
        case("STOMP error", "v12.stomp", websocket::binary(b"HELLO\n\n\0"), 1000),
    ]
}

/// Connections that say too little; they are looked at again at the end.
pub(crate) struct Silent(Vec<(String, Pipe)>);

impl Silent {
    pub(crate) fn new(doors: &Doors) -> io::Result<Self> {
        let mut all = Vec::new();
        let beginnings: [(Door, &[u8]); 9] = [
            (Door::Amqp, b""),
            (Door::Amqp, b"AMQP"),
            (Door::Amqp, amqp::HEADER),
            (Door::Mqtt, b""),
            (Door::Mqtt, b"\x10\x20\0\x04MQ"),
            (Door::Stomp, b""),
            (Door::Stomp, b"CONNECT\naccept-ver"),
            (Door::Http, b""),
            (Door::Http, b"GET / HTTP/1.1\r\nHo"),
        ];
        for (door, beginning) in beginnings {
            let mut pipe = Pipe::tcp(doors, door, PATIENCE)?;
            pipe.send(beginning)?;
            all.push((format!("{door:?} after {:?}", beginning.escape_ascii().to_string()), pipe));
        }
        let undecided = Pipe::websocket(doors, "/ws", "", PATIENCE)?;
        all.push(("WebSocket of no protocol".to_owned(), undecided));
        let mut closing = Carrier::Amqp.open(doors)?;
        closing.send(b"\x01\0\x01\xff\xff\xff\xff")?;
        all.push(("AMQP after connection.close".to_owned(), closing));
        Ok(Self(all))
    }

    /// Whether each was cut off. `begun` is when they were opened.
    pub(crate) fn check(self, begun: Instant, report: &mut Report) {
        for (name, mut pipe) in self.0 {
            let left = HANDSHAKE_PATIENCE.saturating_sub(begun.elapsed());
            let has_closed = pipe.read_to_end(left.max(Duration::from_millis(100)));
            let result = if has_closed { Ok(()) } else { Err("it is still open".to_owned()) };
            report.check(&format!("silent {name} is cut off"), result);
        }
    }
}
