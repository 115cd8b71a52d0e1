//! One STOMP connection as a state machine, without a socket.
