//! Publishing while memory or disk is short.

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, BasicProperties, connection};
use trivium_core::Alarms;
use trivium_core::testing::World;

use crate::dialog::{Dialog, both, channel_close, deliveries, on, publish};

const LOW_MEMORY: Alarms = Alarms { memory: true, disk: false };
const CALM: Alarms = Alarms { memory: false, disk: false };

fn blocked(reason: &str) -> AMQPFrame {
    on(0, method!(Connection connection::Blocked { reason: reason.into() }))
}

fn unblocked() -> AMQPFrame {
    on(0, method!(Connection connection::Unblocked {}))
}

fn ready(world: &World) -> u64 {
    world.broker().totals().ready
}

#[test]
fn a_publisher_waits_for_the_end_of_the_alarm() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::tuned(world, chunk_len, 131_072, 10);
        dialog.declare_queue("q");
        world.broker().set_alarms(Alarms { memory: true, disk: true });
        let other = method!(Basic basic::Qos { prefetch_count: 1 });
        let ok = method!(Basic basic::QosOk {});
        dialog.ask_for(1, other, ok);
        assert_eq!(dialog.publish("q", b"1"), [blocked("low on disk & memory")]);
        assert_eq!(dialog.ask(1, method!(Basic basic::Qos {})), [], "nothing is read");
        assert_eq!(ready(world), 0);
        // Nor is the silence of one who is not read from held against it.
        for _ in 0..6 {
            world.pass(5_000);
            assert_eq!(dialog.read(), [AMQPFrame::Heartbeat]);
        }
        world.broker().set_alarms(LOW_MEMORY);
        assert_eq!(dialog.read(), []);
        world.broker().set_alarms(CALM);
        assert_eq!(dialog.read(), [unblocked(), on(1, method!(Basic basic::QosOk {}))]);
        assert_eq!(ready(world), 1);
        assert_eq!(dialog.publish("q", b"2"), []);
        assert_eq!(ready(world), 2);
    });
}

#[test]
fn an_alarm_in_the_middle_of_a_publish_loses_nothing() {
    let world = World::new();
    let mut dialog = Dialog::open(&world, usize::MAX);
    dialog.declare_queue("q");
    let bytes = publish(1, "", "q", BasicProperties::default(), b"body");
    for cut in 1..bytes.len() {
        assert_eq!(dialog.send(&bytes[..cut]), []);
        world.broker().set_alarms(LOW_MEMORY);
        let heard = dialog.send(&bytes[cut..]);
        assert_eq!(heard, [blocked("low on memory")], "{cut}");
        world.broker().set_alarms(CALM);
        assert_eq!(dialog.read(), [unblocked()], "{cut}");
        assert_eq!(ready(&world), cut as u64);
    }
}

#[test]
fn who_holds_deliveries_is_refused_and_its_acknowledgements_are_read() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        dialog.declare_queue("q");
        dialog.publish("q", b"held");
        let held = dialog.consume("q", "c", false);
        assert_eq!(deliveries(&held).len(), 1);
        dialog.open_channel(2);
        dialog.ask(2, method!(Confirm confirm::Select {}));
        world.broker().set_alarms(LOW_MEMORY);
        // With confirms: nack. Without: the channel closes.
        let sent = publish(2, "", "q", BasicProperties::default(), b"x");
        let nack = method!(Basic basic::Nack { delivery_tag: 1 });
        assert_eq!(dialog.send(&sent), [blocked("low on memory"), on(2, nack)]);
        dialog.open_channel(3);
        let text = "PRECONDITION_FAILED - publishing is blocked: low on memory";
        let close = on(3, channel_close(406, text, (60, 40)));
        let sent = publish(3, "", "q", BasicProperties::default(), b"x");
        assert_eq!(dialog.send(&sent), [close]);
        assert_eq!(dialog.ask(1, method!(Basic basic::Ack { delivery_tag: 1 })), []);
        assert_eq!(world.broker().totals().unsettled, 0, "its acknowledgement was read");
        // Now it can wait.
        let sent = publish(2, "", "q", BasicProperties::default(), b"y");
        assert_eq!(dialog.send(&sent), []);
        world.broker().set_alarms(CALM);
        let heard = dialog.read();
        assert_eq!(heard[0], unblocked());
        assert!(heard.contains(&on(2, method!(Basic basic::Ack { delivery_tag: 2 }))), "{heard:?}");
    });
}

#[test]
fn only_who_can_hear_it_is_told() {
    let world = World::new();
    let mut dialog = Dialog::new(&world, usize::MAX);
    dialog.send(crate::dialog::HEADER);
    let start_ok = connection::StartOk {
        mechanism: "PLAIN".into(),
        response: "\0guest\0guest".into(),
        locale: "en_US".into(),
        ..connection::StartOk::default()
    };
    dialog.ask(0, AMQPClass::Connection(connection::AMQPMethod::StartOk(start_ok)));
    dialog.ask(0, method!(Connection connection::TuneOk { channel_max: 1, frame_max: 8192 }));
    dialog.ask(0, method!(Connection connection::Open { virtual_host: "/".into() }));
    dialog.open_channel(1);
    dialog.declare_queue("q");
    world.broker().set_alarms(LOW_MEMORY);
    assert_eq!(dialog.publish("q", b"1"), []);
    world.broker().set_alarms(CALM);
    assert_eq!(dialog.read(), []);
    assert_eq!(ready(&world), 1);
}
