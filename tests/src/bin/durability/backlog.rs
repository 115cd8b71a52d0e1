//! Many messages that nobody takes for a while: in, over restarts, and out.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::client::{Client, Said, message};
use crate::{Settings, per_second, say};

const BODY_BYTES: usize = 128;

/// Publishes sent and not confirmed.
const WINDOW: u64 = 20_000;

/// Publishes in one write.
const BURST: u64 = 100;

/// Deliveries between two acknowledgements.
const ACKNOWLEDGED_AT_ONCE: u64 = 500;

/// Until the disk has to be given back.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn run(settings: &Settings) -> io::Result<()> {
    let Settings { messages, queues, .. } = *settings;
    say(&format!("{messages} messages of {BODY_BYTES} B in {queues} queues"));
    let mut broker = Broker::start(&settings.broker, &settings.data)?;
    let (start, cpu) = (Instant::now(), broker.cpu_time()?);
    fill(&broker, messages, queues)?;
    let each = broker.cpu_time()?.saturating_sub(cpu).as_nanos() / u128::from(messages.max(1));
    let (now, most) = broker.memory()?;
    say(&format!(
        "published: {} a second, confirmed; broker CPU {each} ns a message; resident {now} MiB, at \
         most {most} MiB; disk {} MiB",
        per_second(messages, start.elapsed()),
        broker.disk()?
    ));
    for is_cold in [false, true] {
        let (ended_in, is_cold) = broker.restart(is_cold)?;
        let (now, most) = broker.memory()?;
        say(&format!(
            "restart, {}: stop {} ms, start to ready {} ms, {} ms of CPU ({}); resident {now} MiB, at \
             most {most} MiB",
            if is_cold { "cold" } else { "warm" },
            ended_in.as_millis(),
            broker.started_in.as_millis(),
            broker.cpu_time()?.as_millis(),
            broker.recovered
        ));
    }
    let start = Instant::now();
    drain(&broker, messages, queues)?;
    let (now, most) = broker.memory()?;
    say(&format!(
        "drained: {} a second, acknowledged; resident {now} MiB, at most {most} MiB",
        per_second(messages, start.elapsed())
    ));
    let start = Instant::now();
    let mut disk = broker.disk()?;
    // The segment that is written, two spares, and the catalogue.
    while disk > 4 * 64 && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(200));
        disk = broker.disk()?;
    }
    say(&format!("disk after that: {disk} MiB, {} ms later", start.elapsed().as_millis()));
    Ok(())
}

fn name(queue: u64) -> String {
    format!("backlog-{queue}")
}

fn fill(broker: &Broker, messages: u64, queues: u64) -> io::Result<()> {
    let mut client = Client::connect(&broker.address)?;
    let mut frames = Vec::new();
    for queue in 0..queues {
        client.declare(&name(queue))?;
        frames.push(message(&name(queue), &[b'x'; BODY_BYTES]));
    }
    client.confirm()?;
    let (mut sent, mut through) = (0u64, 0u64);
    let mut burst = Vec::new();
    while through < messages {
        while sent < messages && sent - through < WINDOW {
            burst.clear();
            for number in sent..(sent + BURST).min(messages) {
                let frame = &frames[usize::try_from(number % queues).expect("few queues")];
                // The number stands at the start of the body.
                let body = frame.len() - 1 - BODY_BYTES;
                burst.extend_from_slice(&frame[..body]);
                burst.extend_from_slice(&number.to_be_bytes());
                burst.extend_from_slice(&frame[body + 8..]);
            }
            client.send(&burst)?;
            sent = (sent + BURST).min(messages);
        }
        client.read(|said| {
            if let Said::Confirmed(tag) = said {
                through = through.max(tag);
            }
        })?;
    }
    Ok(())
}

/// Takes and acknowledges everything; every message must come once, of each queue in order.
fn drain(broker: &Broker, messages: u64, queues: u64) -> io::Result<()> {
    let mut client = Client::connect(&broker.address)?;
    let prefetch = if queues == 1 { 5000 } else { 100 };
    for queue in 0..queues {
        client.consume(&name(queue), prefetch)?;
    }
    // What each queue has to deliver next.
    let mut next: Vec<u64> = (0..queues).collect();
    let (mut taken, mut acknowledged, mut is_body) = (0u64, 0u64, false);
    while taken < messages {
        let mut wrong = None;
        client.read(|said| match said {
            Said::Delivered => is_body = false,
            // The header comes first.
            Said::Content(_) if !is_body => is_body = true,
            Said::Content(number) => {
                taken += 1;
                let next = &mut next[usize::try_from(number % queues).expect("few queues")];
                if *next != number {
                    wrong = wrong.or(Some((*next, number)));
                }
                *next = number + queues;
            }
            _ => {}
        })?;
        if let Some((expected, found)) = wrong {
            return Err(io::Error::other(format!("message {found} came instead of {expected}")));
        }
        if taken >= acknowledged + ACKNOWLEDGED_AT_ONCE || taken == messages {
            // Tags count deliveries.
            client.acknowledge(taken)?;
            acknowledged = taken;
        }
    }
    Ok(())
}
