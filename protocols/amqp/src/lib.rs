//! One AMQP connection as a state machine, without a socket.
