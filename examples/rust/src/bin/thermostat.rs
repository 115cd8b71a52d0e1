//! A room that speaks MQTT and a control that speaks AMQP. Neither knows of the other's protocol.
//!
//! ```sh
//! cargo run --bin thermostat -- control
//! cargo run --bin thermostat -- room kitchen
//! ```
//!
//! The room publishes `rooms/kitchen/temperature`, which is the key `rooms.kitchen.temperature` on
//! the exchange `amq.topic`; the control publishes `rooms.kitchen.heating` there, which is the topic
//! `rooms/kitchen/heating`.

#![allow(clippy::print_stdout, reason = "this is a program for a terminal")]

use std::process::ExitCode;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, ConnectionError, Event};
use tokio::sync::watch;
use trivium_examples::{Result, mqtt_options, stay_connected};

/// Heating goes on below the first and off above the second; between them it stays as it is.
const WANTED_CELSIUS: (f64, f64) = (20.0, 21.0);

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["control"] => stay_connected(control).await,
        ["room", name] => room(name).await,
        _ => Err("usage: thermostat control | room NAME".into()),
    }
}

/// The device: reports its temperature, and heats when it is told to.
async fn room(name: &str) -> Result<()> {
    let (client, mut events) = AsyncClient::new(mqtt_options(&format!("room-{name}"))?, 100);
    let (heating, is_heating) = watch::channel(false);
    tokio::spawn(report(client.clone(), name.to_owned(), is_heating));
    loop {
        // Polling does everything: it sends, receives, keeps alive, and connects again.
        match events.poll().await {
            // Subscriptions end with their connection, so each new one subscribes.
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                println!("connected as {name}");
                client.try_subscribe(format!("rooms/{name}/heating"), QoS::AtLeastOnce)?;
            }
            Ok(Event::Incoming(Packet::Publish(message))) => {
                heating.send_replace(message.payload == "on");
            }
            Ok(_) => {}
            Err(error @ ConnectionError::ConnectionRefused(_)) => return Err(error.into()),
            Err(error) => {
                println!("no connection ({error}), next attempt in 1 s");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Publishes the temperature five times a second, with QoS 1: sent again until it is confirmed.
async fn report(client: AsyncClient, name: String, heating: watch::Receiver<bool>) {
    let mut celsius = 19.5;
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        let on = *heating.borrow();
        celsius += if on { 0.3 } else { -0.3 };
        println!("{celsius:.1} °C, heating {}", if on { "on" } else { "off" });
        let topic = format!("rooms/{name}/temperature");
        let sent = client.publish(topic, QoS::AtLeastOnce, false, format!("{celsius:.1}")).await;
        if sent.is_err() {
            return; // nobody polls any more
        }
    }
}

/// The service: reads the temperature of every room, and says when to heat.
async fn control(channel: &Channel) -> lapin::Result<()> {
    // A queue of our own, which goes when we go: old temperatures are of no use.
    let private = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), private, FieldTable::default()).await?;
    let queue = queue.name();
    let (exchange, pattern) = ("amq.topic".into(), "rooms.*.temperature".into());
    let options = QueueBindOptions::default();
    channel.queue_bind(queue.clone(), exchange, pattern, options, FieldTable::default()).await?;

    let without_acks = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut readings = channel
        .basic_consume(queue.clone(), "".into(), without_acks, FieldTable::default())
        .await?;
    println!("watching all rooms, Ctrl-C ends");
    while let Some(reading) = readings.next().await {
        let reading = reading?;
        let room = reading.routing_key.as_str().split('.').nth(1).unwrap_or_default();
        let Some(celsius) = parse(&reading.data) else {
            println!("{room} sent no temperature");
            continue;
        };
        if let Some(heating) = decide(celsius) {
            println!("{room} has {celsius} °C: heating {heating}");
            let key = format!("rooms.{room}.heating");
            let (exchange, options) = ("amq.topic".into(), BasicPublishOptions::default());
            let text = BasicProperties::default().with_content_type("text/plain".into());
            channel.basic_publish(exchange, key.into(), options, heating.as_bytes(), text).await?;
        }
    }
    Ok(())
}

fn parse(body: &[u8]) -> Option<f64> {
    std::str::from_utf8(body).ok()?.parse().ok()
}

fn decide(celsius: f64) -> Option<&'static str> {
    let (low, high) = WANTED_CELSIUS;
    if celsius < low {
        Some("on")
    } else if celsius > high {
        Some("off")
    } else {
        None
    }
}
