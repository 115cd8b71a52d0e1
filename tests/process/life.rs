//! From start to exit.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::program::{FREE_PORTS, PATIENCE, Program};

const AMQP_HEADER: &[u8] = b"AMQP\0\0\x09\x01";
const MQTT_CONNECT: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01x";

#[test]
fn it_says_where_it_listens_serves_and_ends_with_0() {
    let mut program = Program::start(FREE_PORTS, &[]);
    for listener in ["amqp", "mqtt", "stomp", "http"] {
        assert_ne!(program.address(listener).port(), 0, "{listener}: the real port is printed");
    }
    program.find("about memory", |line| {
        line["message"].as_str().is_some_and(|text| text.contains("kept in memory only"))
    });
    let mut amqp = program.connect("amqp");
    amqp.write_all(AMQP_HEADER).expect("it listens");
    let mut head = [0; 1];
    amqp.read_exact(&mut head).expect("connection.start comes");
    assert_eq!(head, [1], "a method frame");
    drop(amqp);

    assert_eq!(program.get("/health/live").0, 200);
    assert_eq!(program.get("/health/ready").0, 200);
    let (status, metrics) = program.get("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("# TYPE trivium_"), "{metrics}");
    assert_eq!(program.get("/nowhere").0, 404);

    program.terminate();
    assert_eq!(program.exit_code(), Some(0));
}

#[test]
fn connects_disconnects_and_refused_logins_are_one_line_each() {
    let mut program = Program::start(FREE_PORTS, &[]);
    let mut mqtt = program.connect("mqtt");
    let peer = mqtt.local_addr().expect("it is connected").to_string();
    mqtt.write_all(MQTT_CONNECT).expect("it listens");
    let mut connack = [0; 4];
    mqtt.read_exact(&mut connack).expect("CONNACK comes");
    assert_eq!(connack, *b"\x20\x02\0\0");
    let is_about = |line: &serde_json::Value, peer: &str| line.to_string().contains(peer);
    let line = program.find("of the connect", |line| is_about(line, &peer));
    assert_eq!(line["level"], "INFO", "{line}");
    drop(mqtt);
    program.find("of the disconnect", |other| is_about(other, &peer) && *other != line);

    let mut stomp = program.connect("stomp");
    let peer = stomp.local_addr().expect("it is connected").to_string();
    let connect = b"CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:wrong\n\n\0";
    stomp.write_all(connect).expect("it listens");
    let mut error = Vec::new();
    stomp.read_to_end(&mut error).expect("ERROR, and the end");
    assert!(error.starts_with(b"ERROR\n"), "{}", String::from_utf8_lossy(&error));
    let line = program.find("of the refused login", |line| is_about(line, &peer));
    assert!(line.to_string().contains("password"), "the reason stands in {line}");
    assert!(!line.to_string().contains("wrong\""), "the password does not");
}

#[test]
fn a_drain_is_visible_and_a_second_signal_ends_it_at_once() {
    let mut program = Program::start(FREE_PORTS, &[]);
    // A client that never answers connection.close holds the drain up.
    let mut amqp = program.connect("amqp");
    amqp.write_all(AMQP_HEADER).expect("it listens");
    let start_ok =
        b"\x01\0\0\0\0\0\x24\0\x0a\0\x0b\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US\xce";
    amqp.write_all(start_ok).expect("it listens");
    amqp.write_all(b"\x01\0\0\0\0\0\x0c\0\x0a\0\x1f\x07\xff\0\x02\0\0\0\0\xce").expect("tune-ok");
    amqp.write_all(b"\x01\0\0\0\0\0\x08\0\x0a\0\x28\x01/\0\0\xce").expect("open");
    let open_ok = b"\0\x0a\0\x29\0\xce";
    let mut read = Vec::new();
    while !read.ends_with(open_ok) {
        let mut buffer = [0; 1024];
        let length = amqp.read(&mut buffer).expect("the handshake goes on");
        assert_ne!(length, 0, "closed after {}", read.escape_ascii());
        read.extend_from_slice(&buffer[..length]);
    }
    program.terminate();
    program.line("shutting down");
    // The line is written a moment before the drain begins, and a connection that the drain meets
    // before its request has come ends without an answer.
    let begun = Instant::now();
    while program.try_get("/health/ready").is_none_or(|(status, _)| status != 503) {
        assert!(begun.elapsed() < PATIENCE, "it is ready while it drains");
    }
    let before = Instant::now();
    program.terminate();
    assert_eq!(program.exit_code(), Some(0));
    assert!(before.elapsed() < Duration::from_secs(2), "after {:?}", before.elapsed());
}

#[test]
fn the_environment_opens_listeners_and_names_the_user() {
    let variables = [
        ("TRIVIUM_LISTENERS_AMQP", "off"),
        ("TRIVIUM_LISTENERS_MQTT", "off"),
        ("TRIVIUM_LISTENERS_STOMP", "127.0.0.1:0"),
        ("TRIVIUM_LISTENERS_HTTP", "off"),
        ("TRIVIUM_DEFAULT_USER", "ada"),
        ("TRIVIUM_DEFAULT_PASS", "secret"),
    ];
    let mut program = Program::start(&[], &variables);
    for (login, expected) in
        [("ada\npasscode:secret", "CONNECTED"), ("guest\npasscode:guest", "ERROR")]
    {
        let mut stomp = program.connect("stomp");
        let connect = format!("CONNECT\naccept-version:1.2\nhost:/\nlogin:{login}\n\n\0");
        stomp.write_all(connect.as_bytes()).expect("it listens");
        let mut answer = vec![0; expected.len()];
        stomp.read_exact(&mut answer).expect("an answer to CONNECT");
        assert_eq!(String::from_utf8_lossy(&answer), expected, "{login}");
    }
}
