//! Orders over AMQP: a publisher that knows what the broker has taken, and a consumer that loses
//! none.
//!
//! ```sh
//! cargo run --bin orders -- ship
//! cargo run --bin orders -- place 100
//! ```

#![allow(clippy::print_stdout, reason = "this is a program for a terminal")]

use std::cell::Cell;
use std::process::ExitCode;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use trivium_examples::{Result, stay_connected};

const QUEUE: &str = "examples.rust-orders";

/// Orders that wait for their confirmation at once. Waiting for each alone costs a round trip
/// each; without a bound, memory would be the bound.
const WINDOW: usize = 100;

/// `delivery_mode` of a message that survives a restart of the broker, if its queue does.
const PERSISTENT: u8 = 2;

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
        ["place", count] => {
            let count = count.parse()?;
            // Outside the closure: what was confirmed before the connection broke is done.
            let confirmed = Cell::new(0);
            stay_connected(async |channel| place(channel, count, &confirmed).await).await?;
            println!("{count} orders confirmed");
            Ok(())
        }
        ["ship"] => stay_connected(ship).await,
        _ => Err("usage: orders place COUNT | ship".into()),
    }
}

async fn place(channel: &Channel, count: usize, confirmed: &Cell<usize>) -> lapin::Result<()> {
    declare(channel).await?;
    // From here on the broker answers for each message.
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    while confirmed.get() < count {
        let mut waiting = Vec::with_capacity(WINDOW);
        for number in (confirmed.get() + 1..=count).take(WINDOW) {
            let properties = BasicProperties::default()
                .with_delivery_mode(PERSISTENT)
                .with_content_type("text/plain".into())
                // Published again after a lost connection, an order may arrive twice: a consumer
                // knows it by its id.
                .with_message_id(format!("order-{number}").into());
            let body = format!("order {number}");
            let options = BasicPublishOptions::default();
            let confirmation = channel
                .basic_publish("".into(), QUEUE.into(), options, body.as_bytes(), properties)
                .await?;
            waiting.push(confirmation);
        }
        for confirmation in waiting {
            if !confirmation.await?.is_ack() {
                break; // the broker would not take it: this one and those after it go out again
            }
            confirmed.set(confirmed.get() + 1);
        }
    }
    Ok(())
}

async fn ship(channel: &Channel) -> lapin::Result<()> {
    declare(channel).await?;
    // At most ten orders that we have not acknowledged; the others stay for other consumers.
    channel.basic_qos(10, BasicQosOptions::default()).await?;
    let mut orders = channel
        .basic_consume(
            QUEUE.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    println!("waiting for orders, Ctrl-C ends");
    while let Some(order) = orders.next().await {
        let order = order?;
        let again = if order.redelivered { ", which somebody had before" } else { "" };
        println!("shipping {}{again}", String::from_utf8_lossy(&order.data));
        // Only now may the broker forget it: what a consumer that dies has not acknowledged goes
        // to another one.
        order.ack(BasicAckOptions::default()).await?;
    }
    Ok(()) // the queue was deleted under us
}

/// Declaring what exists already is harmless: both sides do it, and either may come first.
async fn declare(channel: &Channel) -> lapin::Result<()> {
    let durable = QueueDeclareOptions::durable();
    channel.queue_declare(QUEUE.into(), durable, FieldTable::default()).await?;
    Ok(())
}
