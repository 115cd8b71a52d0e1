//! Heartbeats, deadlines and the end of the gateway.

use amq_protocol::frame::AMQPFrame;
use trivium_core::Adapter;
use trivium_core::testing::World;

use crate::dialog::{Dialog, connection_close, on, raw};

#[test]
fn a_heartbeat_goes_out_when_nothing_else_did() {
    let world = World::new();
    let mut dialog = Dialog::tuned(&world, usize::MAX, 8192, 10);
    for _ in 0..3 {
        world.pass(4_999);
        assert_eq!(dialog.read(), []);
        world.pass(1);
        assert_eq!(dialog.read(), [AMQPFrame::Heartbeat]);
        assert_eq!(dialog.send(&raw(8, 0, b"")), []);
    }
    world.pass(4_000);
    dialog.ask_for(1, method!(Basic basic::Qos {}), method!(Basic basic::QosOk {}));
    world.pass(4_000);
    assert_eq!(dialog.read(), []);
}

#[test]
fn two_silent_intervals_end_the_connection() {
    let world = World::new();
    let mut dialog = Dialog::tuned(&world, usize::MAX, 8192, 10);
    for _ in 0..3 {
        world.pass(5_000);
        assert_eq!(dialog.read(), [AMQPFrame::Heartbeat]);
    }
    world.pass(5_000);
    assert_eq!(dialog.read(), []);
    assert!(dialog.client.is_closed());
}

#[test]
fn without_heartbeats_silence_is_no_fault() {
    let world = World::new();
    let mut dialog = Dialog::tuned(&world, usize::MAX, 8192, 0);
    assert_eq!(dialog.client.adapter().unwrap().poll_timeout(), None);
    world.pass(1_000_000_000);
    assert_eq!(dialog.read(), []);
    assert!(!dialog.client.is_closed());
}

#[test]
fn shutdown_says_goodbye_and_does_not_wait_for_ever() {
    let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    let goodbye = || on(0, connection_close(320, text, (0, 0)));
    let world = World::new();
    let mut polite = Dialog::open(&world, usize::MAX);
    assert_eq!(crate::dialog::frames(&polite.client.shutdown()), [goodbye()]);
    assert_eq!(polite.ask(0, method!(Connection connection::CloseOk {})), []);
    assert!(polite.client.is_closed());

    let mut crossing = Dialog::open(&world, usize::MAX);
    crossing.client.shutdown();
    let close = connection_close(200, "bye", (0, 0));
    crossing.ask_for(0, close, method!(Connection connection::CloseOk {}));

    let mut deaf = Dialog::open(&world, usize::MAX);
    deaf.client.shutdown();
    world.pass(4_999);
    deaf.read();
    assert!(!deaf.client.is_closed());
    world.pass(1);
    deaf.read();
    assert!(deaf.client.is_closed());
}
