//! MQTT 5 with rumqttc.

use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    DisconnectReasonCode, LastWill, Packet, Publish, PublishProperties,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use trivium::Running;

use super::{HEADER, Letter};
use crate::soon;

/// A client, and the task that plays its event loop until the connection ends.
pub(crate) struct Mqtt5 {
    pub(crate) client: AsyncClient,
    packets: UnboundedReceiver<Result<Packet, ConnectionError>>,
    event_loop: AbortHandle,
}

impl Mqtt5 {
    pub(crate) async fn connect(running: &Running, client_id: &str) -> Self {
        Self::connect_with(running, client_id, None).await
    }

    pub(crate) async fn connect_with(
        running: &Running,
        client_id: &str,
        will: Option<LastWill>,
    ) -> Self {
        let address = running.address("mqtt").expect("the listener is on");
        let mut options = MqttOptions::new(client_id, address.ip().to_string(), address.port());
        options.set_keep_alive(Duration::from_mins(1));
        options.set_max_packet_size(Some(4 << 20));
        will.map(|will| options.set_last_will(will));
        let (client, event_loop) = AsyncClient::new(options, 100);
        let (sender, packets) = unbounded_channel();
        let event_loop = tokio::spawn(play(event_loop, sender)).abort_handle();
        let mut client = Self { client, packets, event_loop };
        client.wait("CONNACK", |packet| matches!(packet, Packet::ConnAck(_)).then_some(())).await;
        client
    }

    pub(crate) async fn subscribe(&mut self, filter: &str) {
        self.client.subscribe(filter, QoS::AtLeastOnce).await.expect("the event loop lives");
        self.wait("SUBACK", |packet| matches!(packet, Packet::SubAck(_)).then_some(())).await;
    }

    pub(crate) async fn publish(&mut self, topic: &str, letter: &Letter) {
        let header = letter.header.clone().map(|header| (HEADER.to_owned(), header));
        let properties = PublishProperties {
            content_type: letter.content_type.clone(),
            correlation_data: letter.correlation.clone().map(Into::into),
            user_properties: header.into_iter().collect(),
            ..PublishProperties::default()
        };
        let (qos, body) = (QoS::AtLeastOnce, letter.body.clone());
        let published = self.client.publish_with_properties(topic, qos, false, body, properties);
        published.await.expect("the event loop lives");
        self.wait("PUBACK", |packet| matches!(packet, Packet::PubAck(_)).then_some(())).await;
    }

    /// The next message, and whether it was a retained one.
    pub(crate) async fn receive(&mut self) -> (Letter, bool) {
        let publish: Publish = self
            .wait("PUBLISH", |packet| match packet {
                Packet::Publish(publish) => Some(publish),
                _ => None,
            })
            .await;
        let properties = publish.properties.unwrap_or_default();
        let correlation = properties.correlation_data.map(|octets| octets.to_vec());
        let mut user = properties.user_properties.into_iter();
        let letter = Letter {
            body: publish.payload.to_vec(),
            content_type: properties.content_type,
            correlation: correlation.map(|octets| String::from_utf8(octets).expect("text")),
            header: user.find(|(name, _)| name == HEADER).map(|(_, value)| value),
        };
        (letter, publish.retain)
    }

    /// The socket breaks without a word.
    pub(crate) fn abort(&self) {
        self.event_loop.abort();
    }

    /// Why the broker ended the connection, once it has.
    pub(crate) async fn goodbye(&mut self) -> DisconnectReasonCode {
        loop {
            match soon("DISCONNECT", self.packets.recv()).await {
                Some(Ok(_)) => {}
                Some(Err(ConnectionError::MqttState(StateError::ServerDisconnect {
                    reason_code,
                    ..
                }))) => return reason_code,
                other => panic!("instead of a DISCONNECT: {other:?}"),
            }
        }
    }

    /// The first packet that `choose` takes; others before it are skipped.
    pub(crate) async fn wait<T>(&mut self, what: &str, choose: impl Fn(Packet) -> Option<T>) -> T {
        loop {
            let packet = soon(what, self.packets.recv()).await;
            let packet = packet.and_then(Result::ok);
            let packet = packet.unwrap_or_else(|| panic!("the connection ended before {what}"));
            if let Some(chosen) = choose(packet) {
                return chosen;
            }
        }
    }
}

/// Passes on what is read, up to and with the error that ends it.
async fn play(
    mut event_loop: EventLoop,
    packets: UnboundedSender<Result<Packet, ConnectionError>>,
) {
    loop {
        let read = match event_loop.poll().await {
            Ok(Event::Incoming(packet)) => Ok(packet),
            Ok(Event::Outgoing(_)) => continue,
            Err(error) => Err(error),
        };
        let is_last = read.is_err();
        if packets.send(read).is_err() || is_last {
            return;
        }
    }
}
