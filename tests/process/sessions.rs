//! MQTT sessions, retained messages, and what STOMP clients were promised, over SIGKILL at each
//! step.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::program::Program;
use crate::restart::Folder;

/// A client of MQTT 3.1.1 whose session is kept, as octets.
struct Mqtt(TcpStream);

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("short");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).ok().filter(|length| *length < 128).expect("short");
    [&[first, length], body].concat()
}

fn publish(flags: u8, topic: &str, packet_id: u8, body: &str) -> Vec<u8> {
    let id: &[u8] = if flags & 6 == 0 { &[] } else { &[0, packet_id] };
    packet(0x30 | flags, &[&text(topic), id, body.as_bytes()].concat())
}

impl Mqtt {
    /// Connects, and checks whether the broker knew the session.
    fn connect(program: &mut Program, client_id: &str, is_present: bool) -> Self {
        let mut client = Self(program.connect("mqtt"));
        let head = [&text("MQTT")[..], &[4, 0, 0, 0]].concat();
        client.send(&packet(0x10, &[head, text(client_id)].concat()));
        client.expect(&[0x20, 2, u8::from(is_present), 0]);
        client
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the broker reads");
    }

    /// The next octets are these.
    fn expect(&mut self, expected: &[u8]) {
        let mut read = vec![0; expected.len()];
        self.0.read_exact(&mut read).expect("the broker answers");
        assert_eq!(read, expected);
    }

    fn subscribe(&mut self, topic: &str, qos: u8) {
        self.send(&packet(0x82, &[&[0, 1], &text(topic)[..], &[qos]].concat()));
        self.expect(&[0x90, 3, 0, 1, qos]);
    }

    /// Nothing was on its way when the broker answered this.
    fn expect_nothing(&mut self) {
        self.send(&[0xC0, 0]);
        self.expect(&[0xD0, 0]);
    }
}

/// Kills the broker and starts another on its folder.
fn restart(folder: &Folder, program: &mut Program) {
    program.kill();
    *program = folder.start();
}

#[test]
fn qos_2_from_a_client_is_published_once_over_a_kill_at_each_step() {
    let folder = Folder::new();
    let mut program = folder.start();
    Mqtt::connect(&mut program, "watcher", false).subscribe("t", 1);
    let mut client = Mqtt::connect(&mut program, "device", false);
    client.send(&publish(4, "t", 7, "x"));
    client.expect(&[0x50, 2, 0, 7]);
    restart(&folder, &mut program);
    let mut client = Mqtt::connect(&mut program, "device", true);
    client.send(&publish(0xC, "t", 7, "x"));
    client.expect(&[0x50, 2, 0, 7]);
    client.send(&[0x62, 2, 0, 7]);
    restart(&folder, &mut program);
    let mut client = Mqtt::connect(&mut program, "device", true);
    client.send(&[0x62, 2, 0, 7]);
    client.expect(&[0x70, 2, 0, 7]);
    restart(&folder, &mut program);
    let mut client = Mqtt::connect(&mut program, "device", true);
    client.send(&publish(4, "t", 7, "y"));
    client.expect(&[0x50, 2, 0, 7]);
    let mut watcher = Mqtt::connect(&mut program, "watcher", true);
    watcher.expect(&publish(2, "t", 1, "x"));
    watcher.expect(&publish(2, "t", 2, "y"));
    watcher.expect_nothing();
}

#[test]
fn qos_2_towards_a_client_is_one_message_over_a_kill_at_each_step() {
    let folder = Folder::new();
    let mut program = folder.start();
    let mut device = Mqtt::connect(&mut program, "device", false);
    device.subscribe("t", 2);
    let mut publisher = Mqtt::connect(&mut program, "publisher", false);
    publisher.send(&publish(2, "t", 1, "x"));
    publisher.expect(&[0x40, 2, 0, 1]);
    publisher.send(&publish(4, "t", 2, "y"));
    publisher.expect(&[0x50, 2, 0, 2]);
    device.expect(&publish(2, "t", 1, "x"));
    device.expect(&publish(4, "t", 2, "y"));
    device.send(&[0x40, 2, 0, 1]);
    restart(&folder, &mut program);
    let mut device = Mqtt::connect(&mut program, "device", true);
    let mut first = [0; 1];
    device.0.read_exact(&mut first).expect("something is owed");
    if first[0] & 6 == 2 {
        // The acknowledgement of the first was not on disk: at least once.
        device.expect(&publish(2, "t", 1, "x")[1..]);
        device.0.read_exact(&mut first).expect("the other is owed");
        device.send(&[0x40, 2, 0, 1]);
    }
    assert_eq!(first, [0x3C], "sent again under its identifier");
    device.expect(&publish(0xC, "t", 2, "y")[1..]);
    device.send(&[0x50, 2, 0, 2]);
    device.expect(&[0x62, 2, 0, 2]);
    restart(&folder, &mut program);
    let mut device = Mqtt::connect(&mut program, "device", true);
    loop {
        let mut head = [0; 2];
        device.0.read_exact(&mut head).expect("a release is owed");
        let mut body = vec![0; usize::from(head[1])];
        device.0.read_exact(&mut body).expect("the rest follows");
        if head[0] == 0x62 {
            assert_eq!(body, [0, 2]);
            break;
        }
        assert_eq!(head[0] & 0xF6, 0x32, "only what is at least once comes again");
    }
    device.send(&[0x70, 2, 0, 2]);
    device.expect_nothing();
}

#[test]
fn retained_messages_are_there_after_a_kill() {
    let folder = Folder::new();
    let mut program = folder.start();
    let mut publisher = Mqtt::connect(&mut program, "publisher", false);
    for (packet_id, topic, body) in
        [(1, "a", "old"), (2, "b", "gone"), (3, "a", "new"), (4, "b", "")]
    {
        publisher.send(&publish(3, topic, packet_id, body));
        publisher.expect(&[0x40, 2, 0, packet_id]);
    }
    restart(&folder, &mut program);
    let mut reader = Mqtt::connect(&mut program, "reader", false);
    reader.subscribe("#", 0);
    reader.expect(&publish(1, "a", 0, "new"));
    reader.expect_nothing();
}

/// A client of STOMP 1.2.
struct Stomp(TcpStream);

impl Stomp {
    fn connect(program: &mut Program) -> Self {
        let mut client = Self(program.connect("stomp"));
        client.send("CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0");
        assert!(client.frame().starts_with("CONNECTED"));
        client
    }

    fn send(&mut self, frame: &str) {
        self.0.write_all(frame.as_bytes()).expect("the broker reads");
    }

    /// The next frame; `None` when the broker is gone.
    fn try_frame(&mut self) -> Option<String> {
        let mut frame = Vec::new();
        loop {
            let mut octet = [0];
            self.0.read_exact(&mut octet).ok()?;
            match octet[0] {
                0 => return Some(String::from_utf8_lossy(&frame).into_owned()),
                b'\n' if frame.is_empty() => {}
                octet => frame.push(octet),
            }
        }
    }

    fn frame(&mut self) -> String {
        self.try_frame().expect("the broker answers")
    }

    fn subscribe_durably(&mut self) {
        self.send(
            "SUBSCRIBE\nid:1\ndestination:/topic/orders\ndurable:true\nauto-delete:false\nreceipt:s\n\
             ack:client-individual\n\n\0",
        );
        let frame = self.frame();
        assert!(frame.contains("receipt-id:s"), "{frame}");
    }
}

#[test]
fn a_durable_subscription_and_its_messages_survive_a_kill() {
    let folder = Folder::new();
    let mut program = folder.start();
    Stomp::connect(&mut program).subscribe_durably();
    restart(&folder, &mut program);
    let mut sender = Stomp::connect(&mut program);
    sender.send("SEND\ndestination:/topic/orders\npersistent:true\nreceipt:r\n\nkept\0");
    assert!(sender.frame().contains("receipt-id:r"));
    restart(&folder, &mut program);
    let mut reader = Stomp::connect(&mut program);
    reader.send(
        "SUBSCRIBE\nid:1\ndestination:/topic/orders\ndurable:true\nauto-delete:false\n\
         ack:client-individual\n\n\0",
    );
    let frame = reader.frame();
    assert!(frame.starts_with("MESSAGE") && frame.ends_with("kept"), "{frame}");
}

#[test]
fn a_transaction_that_meets_a_kill_is_whole_or_not_at_all() {
    const ROUNDS: usize = 4;
    const SENDS: usize = 20;
    let folder = Folder::new();
    let mut program = folder.start();
    Stomp::connect(&mut program).subscribe_durably();
    let mut promised = 0;
    for round in 0..ROUNDS {
        let mut sender = Stomp::connect(&mut program);
        sender.send("BEGIN\ntransaction:t\n\n\0");
        for number in 0..SENDS {
            sender.send(&format!(
                "SEND\ndestination:/topic/orders\npersistent:true\ntransaction:t\n\n{round} {number}\0"
            ));
        }
        sender.send("COMMIT\ntransaction:t\nreceipt:c\n\n\0");
        if round % 2 == 0 {
            assert!(sender.frame().contains("receipt-id:c"));
            promised += 1;
        }
        restart(&folder, &mut program);
    }
    let mut reader = Stomp::connect(&mut program);
    reader.subscribe_durably();
    reader.send("SEND\ndestination:/topic/orders\n\nend\0");
    let mut numbers = vec![Vec::new(); ROUNDS];
    loop {
        let frame = reader.frame();
        let (_, body) = frame.split_once("\n\n").expect("a frame has a body");
        if body == "end" {
            break;
        }
        let (round, number) = body.split_once(' ').expect("as it was sent");
        let round: usize = round.parse().expect("a number");
        numbers[round].push(number.parse::<usize>().expect("a number"));
    }
    let whole: Vec<usize> = (0..SENDS).collect();
    assert!(numbers.iter().all(|numbers| numbers.is_empty() || *numbers == whole), "{numbers:?}");
    assert!(numbers.iter().step_by(2).all(|numbers| *numbers == whole), "{promised} were promised");
}
