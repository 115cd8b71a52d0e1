//! One MQTT connection as a state machine, without a socket.
