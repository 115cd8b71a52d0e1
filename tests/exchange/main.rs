//! Three protocols, one broker: unmodified clients exchange messages through a gateway started in
//! the test. lapin speaks AMQP, rumqttc MQTT 3.1.1 and 5, and a browser is played by
//! tokio-tungstenite with STOMP over a WebSocket.
//!
//! `directions.rs` has every sender with every receiver; `life.rs` what happens besides: retained
//! messages, wills, takeover, redelivery, the drain; `doors.rs` who is kept out. `client/` makes
//! the four clients look alike.

mod client;
mod directions;
mod doors;
mod life;

use std::time::Duration;

/// How long anything may take; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What must not happen is waited for this long.
const SILENCE: Duration = Duration::from_millis(100);

/// Waits for `future`, but not for ever.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(PATIENCE, future).await;
    result.unwrap_or_else(|_| panic!("{what}: nothing came for {PATIENCE:?}"))
}
