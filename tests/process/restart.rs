//! What survives the process: killed under load, and stopped in order.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};

use crate::program::{FREE_PORTS, Program};

/// A folder that goes with the test.
pub(crate) struct Folder(std::path::PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("trivium-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).expect("there is a place for temporary files");
        Self(path)
    }

    pub(crate) fn start(&self) -> Program {
        self.start_with(&[], &[])
    }

    /// With more arguments, and with settings as variables of the environment.
    pub(crate) fn start_with(&self, more: &[&str], variables: &[(&str, &str)]) -> Program {
        let data = self.argument();
        Program::start(&[FREE_PORTS, &[&data], more].concat(), variables)
    }

    /// What tells a broker to use it.
    pub(crate) fn argument(&self) -> String {
        format!("--data={}", self.0.display())
    }

    /// The data directory.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Whoever looks after temporary files does the rest.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

pub(crate) async fn connect(program: &mut Program) -> Channel {
    let uri = format!("amqp://guest:guest@{}/%2f", program.address("amqp"));
    let connection = Connection::connect(&uri, ConnectionProperties::default());
    let connection = connection.await.expect("guest may log in");
    connection.create_channel().await.expect("a channel opens")
}

pub(crate) async fn declare(channel: &Channel) {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let none = FieldTable::default();
    let exchange =
        channel.exchange_declare("orders".into(), ExchangeKind::Topic, durable, none.clone());
    exchange.await.expect("the exchange is there");
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("kept".into(), durable, none.clone()).await.expect("the queue is there");
    let options = QueueBindOptions::default();
    let bound = channel.queue_bind("kept".into(), "orders".into(), "order.#".into(), options, none);
    bound.await.expect("the queue is bound");
}

/// Publishes numbers from `first` on until the connection ends. Returns those that were confirmed.
async fn publish_until_the_end(channel: Channel, first: u32) -> BTreeSet<u32> {
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms are on");
    let (mut confirmed, mut waiting) = (BTreeSet::new(), FuturesUnordered::new());
    for number in first.. {
        let (options, body) = (BasicPublishOptions::default(), number.to_string());
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let published = channel.basic_publish(
            "orders".into(),
            "order.new".into(),
            options,
            body.as_bytes(),
            persistent,
        );
        let Ok(confirm) = published.await else { break };
        waiting.push(async move { (number, confirm.await) });
        while waiting.len() > 100 {
            match waiting.next().await {
                Some((number, Ok(confirmation))) if confirmation.is_ack() => {
                    confirmed.insert(number);
                }
                _ => break,
            }
        }
    }
    while let Some((number, outcome)) = waiting.next().await {
        if outcome.is_ok_and(|confirmation| confirmation.is_ack()) {
            confirmed.insert(number);
        }
    }
    confirmed
}

/// Publishes one number, and returns whether it was confirmed.
pub(crate) async fn publish(channel: &Channel, number: u32) -> bool {
    let (options, body) = (BasicPublishOptions::default(), number.to_string());
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let (exchange, key) = ("orders".into(), "order.new".into());
    let sent = channel.basic_publish(exchange, key, options, body.as_bytes(), persistent).await;
    let Ok(confirm) = sent else { return false };
    confirm.await.is_ok_and(|confirmation| confirmation.is_ack())
}

/// Takes and acknowledges everything in the queue; numbers with whether they were redelivered.
pub(crate) async fn drain(channel: &Channel) -> Vec<(u32, bool)> {
    let mut taken = Vec::new();
    loop {
        let got = channel.basic_get("kept".into(), BasicGetOptions::default()).await;
        let Some(got) = got.expect("the queue is there") else { return taken };
        let number = std::str::from_utf8(&got.data).expect("it is text").parse();
        taken.push((number.expect("it is a number"), got.redelivered));
        got.ack(BasicAckOptions::default()).await.expect("it is taken back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confirmed_survives_a_kill() {
    let folder = Folder::new();
    let mut next = 0;
    for round in 0..5 {
        let mut program = folder.start();
        let channel = connect(&mut program).await;
        declare(&channel).await;
        let publishing = tokio::spawn(publish_until_the_end(channel, next));
        tokio::time::sleep(Duration::from_millis(60 + 30 * round)).await;
        program.kill();
        let confirmed = publishing.await.expect("the publisher ends");
        assert!(!confirmed.is_empty(), "something was confirmed in that time");

        let mut program = folder.start();
        let line = program.line("recovered");
        assert_eq!(line["queues"], 1, "{line}");
        let channel = connect(&mut program).await;
        let taken = drain(&channel).await;
        let numbers: Vec<u32> = taken.iter().map(|(number, _)| *number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "order holds, and nothing is there twice");
        let found: BTreeSet<u32> = numbers.into_iter().filter(|number| *number >= next).collect();
        let lost: Vec<_> = confirmed.difference(&found).collect();
        assert!(lost.is_empty(), "round {round}: confirmed and lost: {lost:?}");
        assert!(taken.iter().all(|(_, redelivered)| *redelivered), "any may have been delivered");
        next = found.last().map_or(next, |last| last + 1);
        program.terminate();
        assert_eq!(program.exit_code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_orderly_stop_the_flags_are_exact() {
    let folder = Folder::new();
    let mut program = folder.start();
    let channel = connect(&mut program).await;
    declare(&channel).await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms are on");
    for number in 0..4 {
        assert!(publish(&channel, number).await);
    }
    let options = BasicQosOptions::default();
    channel.basic_qos(10, options).await.expect("prefetch is set");
    let get = || channel.basic_get("kept".into(), BasicGetOptions::default());
    let first = get().await.expect("the queue is there").expect("it has a message");
    first.ack(BasicAckOptions::default()).await.expect("it is taken back");
    // Taken, and not acknowledged.
    let second = get().await.expect("the queue is there").expect("it has a message");
    assert_eq!(second.data, b"1");
    program.terminate();
    assert_eq!(program.exit_code(), Some(0));

    let mut program = folder.start();
    let channel = connect(&mut program).await;
    assert_eq!(drain(&channel).await, [(1, true), (2, false), (3, false)]);
}
