//! The two clients of a pair, and the way of one message there and back.

use trivium_core::Protocol;
use trivium_core::testing::World;

use crate::amqp::AmqpPeer;
use crate::message::Message;
use crate::mqtt::MqttPeer;
use crate::stomp::StompPeer;

/// A client that hears everything that is published to a topic.
pub(crate) trait Peer {
    fn publish(&mut self, message: &Message);

    /// What came since it was last asked. The error is the broker's, who refused something.
    fn receive(&mut self) -> Result<Vec<Message>, String>;
}

pub(crate) fn connect<'w>(world: &'w World, protocol: Protocol, name: &str) -> Box<dyn Peer + 'w> {
    match protocol {
        Protocol::Amqp => Box::new(AmqpPeer::connect(world)),
        Protocol::Mqtt => Box::new(MqttPeer::connect(world, name)),
        Protocol::Stomp => Box::new(StompPeer::connect(world)),
    }
}

/// What became of a message.
#[derive(Debug)]
pub(crate) struct Journey {
    /// As the other client read it; `None` when it never came.
    pub(crate) there: Option<Message>,
    /// Whether the broker counted that something was lost on the way there.
    pub(crate) is_loss_counted: bool,
    /// As its publisher read it after the other client published exactly what it had read; the
    /// error is the broker's, who refused that.
    pub(crate) back: Result<Option<Message>, String>,
}

/// Publishes a message in one protocol, reads it in the other, and sends it back.
///
/// # Panics
///
/// When the broker refuses what the first client publishes.
pub(crate) fn travel(from: Protocol, to: Protocol, message: &Message) -> Journey {
    let world = World::new();
    let mut origin = connect(&world, from, "origin");
    let mut echo = connect(&world, to, "echo");
    origin.publish(message);
    world.step();
    let own = origin.receive();
    assert!(own.is_ok(), "{from:?} refused {message:?}: {own:?}");
    let there = only(echo.receive().expect("a reader is refused nothing"));
    let is_loss_counted = !world.broker().totals().losses.is_empty();
    let Some(message) = &there else {
        return Journey { there, is_loss_counted, back: Ok(None) };
    };
    echo.publish(message);
    world.step();
    let back = match echo.receive() {
        Ok(_) => Ok(only(origin.receive().expect("a reader is refused nothing"))),
        Err(refusal) => Err(refusal),
    };
    Journey { there, is_loss_counted, back }
}

fn only(mut messages: Vec<Message>) -> Option<Message> {
    assert!(messages.len() <= 1, "one message came as {messages:?}");
    messages.pop()
}
