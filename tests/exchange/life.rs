//! What happens besides publish and deliver, seen by clients of different protocols.

use lapin::options::BasicAckOptions;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{DisconnectReasonCode, LastWill};
use tokio::time::timeout;

use crate::client::{Amqp, Frame, Letter, Mqtt3, Mqtt5, Stomp};
use crate::{PATIENCE, SILENCE, soon};

#[tokio::test(flavor = "multi_thread")]
async fn the_last_retained_message_greets_who_subscribes() {
    let running = trivium_tests::start().await;
    let mut old = Mqtt3::connect(&running, "old").await;
    let letter = Letter::new(b"21.5").bare();
    old.retain("rooms/kitchen", &Letter::new(b"20").bare()).await;
    old.retain("rooms/kitchen", &letter).await;
    let mut new = Mqtt5::connect(&running, "new").await;
    new.subscribe("rooms/#").await;
    assert_eq!(new.receive().await, (letter, true));
    old.retain("rooms/kitchen", &Letter::new(b"").bare()).await;
    assert_eq!(new.receive().await, (Letter::new(b"").bare(), false));
    let mut newest = Mqtt3::connect(&running, "newest").await;
    newest.subscribe("rooms/+").await;
    assert!(timeout(SILENCE, newest.receive()).await.is_err(), "nothing is retained any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_will_reaches_every_protocol() {
    let running = trivium_tests::start().await;
    let mut amqp = Amqp::connect(&running).await;
    amqp.subscribe("devices.*.state").await;
    let mut stomp = Stomp::connect(&running).await;
    stomp.subscribe("devices.#").await;
    let mut mqtt = Mqtt5::connect(&running, "listener").await;
    mqtt.subscribe("devices/+/state").await;
    let will = LastWill::new("devices/a/state", "gone", QoS::AtLeastOnce, false, None);
    let device = Mqtt5::connect_with(&running, "device", Some(will)).await;
    device.abort();
    let expected = Letter::new(b"gone").bare();
    assert_eq!(amqp.receive().await, expected);
    assert_eq!(stomp.receive().await, expected);
    assert_eq!(mqtt.receive().await, (expected, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_client_of_the_same_name_takes_over() {
    let running = trivium_tests::start().await;
    let mut first = Mqtt5::connect(&running, "twin").await;
    let mut second = Mqtt5::connect(&running, "twin").await;
    assert_eq!(first.goodbye().await, DisconnectReasonCode::SessionTakenOver);
    second.subscribe("t").await;
    let letter = Letter::new(b"hi");
    Stomp::connect(&running).await.publish("t", &letter).await;
    assert_eq!(second.receive().await.0, letter);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_connection_had_not_settled_comes_again() {
    let running = trivium_tests::start().await;
    let publisher = Amqp::connect(&running).await;
    let mut browser = Stomp::connect(&running).await;
    browser.subscribe_to("/queue/work", "client-individual").await;
    for body in ["1", "2"] {
        publisher.publish_to("", "work", &Letter::new(body.as_bytes())).await;
    }
    assert_eq!(browser.receive().await.body, b"1");
    assert_eq!(browser.receive().await.body, b"2");
    drop(browser);

    // STOMP declares /queue durable, so the worker finds it and does not declare it otherwise.
    let mut worker = Amqp::connect(&running).await;
    worker.consume_existing("work").await;
    for body in ["1", "2"] {
        let delivery = worker.take().await;
        assert_eq!((delivery.data.as_slice(), delivery.redelivered), (body.as_bytes(), true));
        if body == "1" {
            delivery.ack(BasicAckOptions::default()).await.expect("the channel lives");
        }
    }
    soon("amqp close", worker.connection.close(200, "".into())).await.expect("a clean close");

    let mut browser = Stomp::connect(&running).await;
    browser.subscribe_to("/queue/work", "auto").await;
    let again = browser.next().await.expect("the connection stands");
    assert_eq!((again.body.as_slice(), again.header("redelivered")), (&b"2"[..], Some("true")));
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_hears_goodbye_at_the_drain() {
    let running = trivium_tests::start().await;
    let mut amqp = Amqp::connect(&running).await;
    amqp.subscribe("t").await;
    let mut old = Mqtt3::connect(&running, "old").await;
    let mut new = Mqtt5::connect(&running, "new").await;
    let mut browser = Stomp::connect(&running).await;
    let mut early = Stomp::connect(&running).await;
    early.process(Frame::new("DISCONNECT", &[])).await;
    drop(early);

    let drained = tokio::spawn(running.shutdown());
    let error = amqp.error().await;
    assert!(error.contains("CONNECTION_FORCED") || error.contains("320"), "{error}");
    assert_eq!(new.goodbye().await, DisconnectReasonCode::ServerShuttingDown);
    old.end().await;
    let goodbye = browser.next().await.expect("an ERROR before the end");
    assert_eq!(goodbye.command, "ERROR", "{goodbye:?}");
    assert_eq!(browser.next().await, None);
    // As a browser does at the end of the closing handshake; the broker waits for it, not for long.
    drop(browser);
    let has_ended = timeout(PATIENCE, drained).await.expect("the drain ends");
    assert!(has_ended.expect("the drain does not panic"), "every client left by itself");
}
