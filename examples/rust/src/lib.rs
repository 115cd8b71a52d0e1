//! Where the broker is, and how a program stays connected to it.

#![allow(clippy::print_stdout, reason = "these are programs for a terminal")]

use std::env;
use std::error::Error;
use std::time::Duration;

use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use rumqttc::v5::MqttOptions;

/// What went wrong, in words for whoever started the program.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Longest wait between two attempts to connect.
const DELAY_MAX: Duration = Duration::from_secs(30);

/// Runs `work` on a channel of an AMQP connection, and again on a new one each time the connection
/// is lost, until it is done or the broker refuses something.
///
/// The broker is where `AMQP_URL` says, else on this machine.
pub async fn stay_connected<T>(work: impl AsyncFn(&Channel) -> lapin::Result<T>) -> Result<T> {
    let url = env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@localhost:5672/".into());
    let mut uri: AMQPUri = url.parse()?;
    if uri.vhost.is_empty() {
        uri.vhost = "/".into(); // what most libraries take a closing slash for
    }
    let mut delay = Duration::from_secs(1);
    loop {
        let attempt = async {
            let connection =
                Connection::connect_uri(uri.clone(), ConnectionProperties::default()).await?;
            let channel = connection.create_channel().await?;
            let done = work(&channel).await?;
            connection.close(200, "goodbye".into()).await?;
            Ok(done)
        };
        let error = match attempt.await {
            Ok(done) => return Ok(done),
            // A refusal stays one, however often we ask.
            Err(error) if is_refusal(&error) => return Err(error.into()),
            Err(error) => error,
        };
        println!("no connection ({error}), next attempt in {} s", delay.as_secs());
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(DELAY_MAX);
    }
}

/// Whether the broker said no (wrong password, no such queue), rather than went away.
fn is_refusal(error: &lapin::Error) -> bool {
    const CONNECTION_FORCED: u16 = 320; // an operator ends connections, a broker shuts down
    match error.kind() {
        ErrorKind::ProtocolError(said) => said.get_id() != CONNECTION_FORCED,
        _ => false,
    }
}

/// How to reach the broker over MQTT: where `MQTT_URL` says, else on this machine.
pub fn mqtt_options(client_id: &str) -> Result<MqttOptions> {
    let url = env::var("MQTT_URL").unwrap_or_else(|_| "mqtt://localhost:1883".into());
    let mut options = MqttOptions::parse_url(format!("{url}?client_id={client_id}"))?;
    options.set_keep_alive(Duration::from_secs(30));
    Ok(options)
}
