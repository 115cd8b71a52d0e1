//! MQTT 3.1.1 with rumqttc.

use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use trivium::Running;

use super::Letter;
use crate::soon;

/// A client, and what the task that plays its event loop has read.
pub(crate) struct Mqtt3 {
    client: AsyncClient,
    packets: UnboundedReceiver<Packet>,
}

impl Mqtt3 {
    pub(crate) async fn connect(running: &Running, client_id: &str) -> Self {
        let address = running.address("mqtt").expect("the listener is on");
        let mut options = MqttOptions::new(client_id, address.ip().to_string(), address.port());
        options.set_keep_alive(Duration::from_mins(1));
        options.set_max_packet_size(4 << 20, 4 << 20);
        let (client, event_loop) = AsyncClient::new(options, 100);
        let (sender, packets) = unbounded_channel();
        tokio::spawn(play(event_loop, sender));
        let mut client = Self { client, packets };
        client.wait("CONNACK", |packet| matches!(packet, Packet::ConnAck(_)).then_some(())).await;
        client
    }

    pub(crate) async fn subscribe(&mut self, filter: &str) {
        self.client.subscribe(filter, QoS::AtLeastOnce).await.expect("the event loop lives");
        self.wait("SUBACK", |packet| matches!(packet, Packet::SubAck(_)).then_some(())).await;
    }

    pub(crate) async fn publish(&mut self, topic: &str, letter: &Letter) {
        self.send(topic, false, letter).await;
    }

    pub(crate) async fn retain(&mut self, topic: &str, letter: &Letter) {
        self.send(topic, true, letter).await;
    }

    async fn send(&mut self, topic: &str, retain: bool, letter: &Letter) {
        let sent = self.client.publish(topic, QoS::AtLeastOnce, retain, letter.body.clone());
        sent.await.expect("the event loop lives");
        self.wait("PUBACK", |packet| matches!(packet, Packet::PubAck(_)).then_some(())).await;
    }

    /// The next message, and whether it was a retained one.
    pub(crate) async fn receive(&mut self) -> (Letter, bool) {
        let publish = self
            .wait("PUBLISH", |packet| match packet {
                Packet::Publish(publish) => Some(publish),
                _ => None,
            })
            .await;
        (Letter::new(&publish.payload).bare(), publish.retain)
    }

    /// Waits until the broker has closed the connection; skips what comes before.
    pub(crate) async fn end(&mut self) {
        while soon("the end of MQTT 3.1.1", self.packets.recv()).await.is_some() {}
    }

    async fn wait<T>(&mut self, what: &str, choose: impl Fn(Packet) -> Option<T>) -> T {
        loop {
            let packet = soon(what, self.packets.recv()).await;
            let packet = packet.unwrap_or_else(|| panic!("the connection ended before {what}"));
            if let Some(chosen) = choose(packet) {
                return chosen;
            }
        }
    }
}

async fn play(mut event_loop: EventLoop, packets: UnboundedSender<Packet>) {
    while let Ok(event) = event_loop.poll().await {
        if let Event::Incoming(packet) = event
            && packets.send(packet).is_err()
        {
            return;
        }
    }
}
