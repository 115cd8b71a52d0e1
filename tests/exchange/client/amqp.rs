//! AMQP 0-9-1 with lapin.

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use trivium::Running;

use super::{HEADER, Letter};
use crate::soon;

pub(crate) struct Amqp {
    pub(crate) connection: Connection,
    pub(crate) channel: Channel,
    consumer: Option<Consumer>,
}

impl Amqp {
    pub(crate) async fn connect(running: &Running) -> Self {
        let address = running.address("amqp").expect("the listener is on");
        let uri = format!("amqp://guest:guest@{address}/%2f");
        let connection =
            soon("amqp connect", Connection::connect(&uri, ConnectionProperties::default()))
                .await
                .expect("guest may log in");
        let channel = connection.create_channel().await.expect("a channel opens");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms are on");
        Self { connection, channel, consumer: None }
    }

    /// Consumes from a queue that is there.
    pub(crate) async fn consume_existing(&mut self, queue: &str) {
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = self.channel.basic_consume(queue.into(), "".into(), options, arguments);
        self.consumer = Some(consumer.await.expect("the consumer is attached"));
    }

    pub(crate) async fn subscribe(&mut self, key: &str) {
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let declared = self.channel.queue_declare("".into(), options, FieldTable::default()).await;
        let queue = declared.expect("a queue is made").name().to_string();
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        let bound = self.channel.queue_bind(
            queue.as_str().into(),
            "amq.topic".into(),
            key.into(),
            options,
            arguments,
        );
        bound.await.expect("the queue is bound");
        self.consume_existing(&queue).await;
    }

    pub(crate) async fn publish(&self, key: &str, letter: &Letter) {
        self.publish_to("amq.topic", key, letter).await;
    }

    pub(crate) async fn publish_to(&self, exchange: &str, key: &str, letter: &Letter) {
        let mut properties = BasicProperties::default();
        if let Some(content_type) = &letter.content_type {
            properties = properties.with_content_type(content_type.as_str().into());
        }
        if let Some(correlation) = &letter.correlation {
            properties = properties.with_correlation_id(correlation.as_str().into());
        }
        if let Some(header) = &letter.header {
            let mut headers = FieldTable::default();
            headers.insert(HEADER.into(), AMQPValue::LongString(header.as_str().into()));
            properties = properties.with_headers(headers);
        }
        let options = BasicPublishOptions::default();
        let published = self.channel.basic_publish(
            exchange.into(),
            key.into(),
            options,
            &letter.body,
            properties,
        );
        let confirm = soon("amqp publish", published).await.expect("the message is sent");
        let confirmation = soon("amqp confirm", confirm).await.expect("the broker confirms");
        assert!(confirmation.is_ack(), "{confirmation:?}");
    }

    /// Why the connection ended, once it has.
    pub(crate) async fn error(&mut self) -> String {
        let consumer = self.consumer.as_mut().expect("it has subscribed");
        match soon("the end of AMQP", consumer.next()).await {
            Some(Err(error)) => error.to_string(),
            other => panic!("instead of an end: {other:?}"),
        }
    }

    /// The next delivery, not acknowledged.
    pub(crate) async fn take(&mut self) -> Delivery {
        let consumer = self.consumer.as_mut().expect("it has subscribed");
        let next = soon("amqp delivery", consumer.next()).await;
        next.expect("the consumer lives").expect("the channel lives")
    }

    pub(crate) async fn receive(&mut self) -> Letter {
        let delivery = self.take().await;
        delivery.ack(BasicAckOptions::default()).await.expect("the channel lives");
        let headers = delivery.properties.headers().as_ref();
        Letter {
            content_type: delivery.properties.content_type().as_ref().map(ToString::to_string),
            correlation: delivery.properties.correlation_id().as_ref().map(ToString::to_string),
            header: headers.and_then(|headers| headers.inner().get(HEADER)).map(
                |value| match value {
                    AMQPValue::LongString(text) => text.to_string(),
                    other => panic!("{HEADER} is {other:?}"),
                },
            ),
            body: delivery.data,
        }
    }
}
