//! Publisher confirms and returns.

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, BasicProperties, basic};

use crate::dialog::{Dialog, both, content, frame, on, publish};

fn confirming(dialog: &mut Dialog<'_>) {
    for _ in 0..2 {
        let select = method!(Confirm confirm::Select {});
        dialog.ask_for(1, select, method!(Confirm confirm::SelectOk {}));
    }
}

/// What confirms say: the sum of tags that were confirmed, in order.
fn confirmed(frames: &[AMQPFrame]) -> u64 {
    let mut last = 0;
    for frame in frames {
        match frame {
            AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Ack(ack))) => {
                assert!(ack.delivery_tag > last);
                assert_eq!(ack.multiple, ack.delivery_tag > last + 1);
                last = ack.delivery_tag;
            }
            other => panic!("no confirm: {other:?}"),
        }
    }
    last
}

#[test]
fn sequence_numbers_count_from_the_select() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        dialog.declare_queue("q");
        assert_eq!(dialog.publish("q", b"before"), []);
        confirming(&mut dialog);
        let ack = |tag| on(1, method!(Basic basic::Ack { delivery_tag: tag }));
        assert_eq!(dialog.publish("q", b"first"), [ack(1)]);
        assert_eq!(dialog.publish("nowhere", b"second"), [ack(2)]);
    });
}

#[test]
fn one_ack_covers_a_batch() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        dialog.declare_queue("q");
        confirming(&mut dialog);
        let one = publish(1, "", "q", BasicProperties::default(), b"x");
        let seen = dialog.send(&one.repeat(50));
        assert_eq!(confirmed(&seen), 50);
        if chunk_len > 1 {
            let all = method!(Basic basic::Ack { delivery_tag: 50, multiple: true });
            assert_eq!(seen, [on(1, all)]);
        }
    });
}

#[test]
fn a_persistent_message_is_confirmed_once_it_is_safe() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        let declare = method!(Queue queue::Declare { queue: "q".into(), durable: true });
        dialog.ask_for(1, declare, method!(Queue queue::DeclareOk { queue: "q".into() }));
        confirming(&mut dialog);
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let mut sent = publish(1, "", "q", persistent, b"safe");
        sent.extend(publish(1, "", "q", BasicProperties::default(), b"transient"));
        assert_eq!(dialog.send(&sent), []);
        world.step();
        assert_eq!(confirmed(&dialog.read()), 2);
    });
}

#[test]
fn an_unroutable_message_comes_back_before_its_ack() {
    let properties = BasicProperties::default().with_message_id("m".into());
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        confirming(&mut dialog);
        let publish = method!(Basic basic::Publish { exchange: "amq.direct".into(), routing_key: "k".into(), mandatory: true });
        let sent = [frame(1, publish), content(1, properties.clone(), b"back")].concat();
        let seen = dialog.send(&sent);
        let returned = method!(Basic basic::Return { reply_code: 312, reply_text: "NO_ROUTE".into(), exchange: "amq.direct".into(), routing_key: "k".into() });
        assert_eq!(seen[0], on(1, returned));
        match &seen[1] {
            AMQPFrame::Header(1, header) => assert_eq!(header.properties, properties),
            other => panic!("{other:?}"),
        }
        assert_eq!(seen[2], AMQPFrame::Body(1, b"back".to_vec()));
        assert_eq!(seen[3..], [on(1, method!(Basic basic::Ack { delivery_tag: 1 }))]);
    });
}

#[test]
fn confirms_of_a_closed_channel_do_not_reach_its_successor() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        let declare = method!(Queue queue::Declare { queue: "q".into(), durable: true });
        dialog.ask_for(1, declare, method!(Queue queue::DeclareOk { queue: "q".into() }));
        confirming(&mut dialog);
        let persistent = BasicProperties::default().with_delivery_mode(2);
        assert_eq!(dialog.send(&publish(1, "", "q", persistent, b"x")), []);
        let close = crate::dialog::channel_close(200, "", (0, 0));
        dialog.ask_for(1, close, method!(Channel channel::CloseOk {}));
        dialog.open_channel(1);
        confirming(&mut dialog);
        world.step();
        assert_eq!(dialog.read(), []);
    });
}
