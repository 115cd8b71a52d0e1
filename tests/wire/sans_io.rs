//! A trace over the real core, without a socket, a clock or a thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use trivium_core::testing::{Client, World};
use trivium_core::{Adapter, Instant, Protocol};

use crate::pattern::{Names, Pattern, show};
use crate::trace::{Move, Trace, What, Who};

/// One client and what it has read since it was last asked.
struct Reader<'w> {
    client: Client<'w, Box<dyn Adapter>>,
    read: Vec<u8>,
}

/// Runs `trace` with writes cut into pieces of `chunk_len` bytes.
pub(crate) fn run(trace: &Trace, chunk_len: usize) -> Result<(), String> {
    let world = World::new();
    let mut readers: BTreeMap<&Who, Reader<'_>> = BTreeMap::new();
    let mut names = Names::new();
    for step in &trace.steps {
        let Some(who) = &step.client else {
            move_world(&step.what, &world, &mut readers);
            continue;
        };
        let reader = readers.entry(who).or_insert_with(|| {
            let adapter = adapter(who.protocol, world.now());
            let client = world.client(who.protocol, adapter, chunk_len);
            Reader { client, read: Vec::new() }
        });
        let played = reader.play(&step.what, &mut names);
        played.map_err(|error| format!("{}: {error}", step.line))?;
    }
    for (who, reader) in &mut readers {
        reader.fetch();
        if !reader.read.is_empty() {
            return Err(format!(" at the end, {who:?} still reads {}", show(&reader.read)));
        }
    }
    Ok(())
}

fn move_world(what: &What, world: &World, readers: &mut BTreeMap<&Who, Reader<'_>>) {
    match what {
        What::Moves(Move::Durable) => world.step(),
        What::Moves(Move::Tick(span) | Move::Wait(span)) => {
            world.pass(u64::try_from(span.as_millis()).expect("a span of a test"));
            readers.values_mut().for_each(Reader::fetch);
        }
        What::Moves(Move::Alarm(alarms)) => world.broker().set_alarms(*alarms),
        What::Moves(Move::Shutdown) => {
            for reader in readers.values_mut() {
                let mut goodbye = reader.client.shutdown();
                reader.read.append(&mut goodbye);
            }
        }
        other => unreachable!("{other:?} is a client's"),
    }
}

impl Reader<'_> {
    fn play(&mut self, what: &What, names: &mut Names) -> Result<(), String> {
        match what {
            What::Sends(pattern) => {
                let mut read = self.client.send(&pattern.fill(names)?);
                self.read.append(&mut read);
            }
            What::Reads(pattern) => self.expect(pattern, names)?,
            What::Moves(Move::Disconnect) => self.client.disconnect(),
            What::Moves(Move::Closed) => {
                self.fetch();
                if !self.client.is_closed() {
                    return Err("the connection is still open".into());
                }
            }
            What::Moves(other) => unreachable!("{other:?} is the world's"),
        }
        Ok(())
    }

    fn fetch(&mut self) {
        let mut read = self.client.read();
        self.read.append(&mut read);
    }

    fn expect(&mut self, pattern: &Pattern, names: &mut Names) -> Result<(), String> {
        self.fetch();
        let read = std::mem::take(&mut self.read);
        if pattern.is(&read, names) {
            return Ok(());
        }
        let (wanted, read) = (pattern.show(), show(&read));
        Err(format!("\n  expected {wanted}\n      read {read}"))
    }
}

fn adapter(protocol: Protocol, now: Instant) -> Box<dyn Adapter> {
    match protocol {
        Protocol::Amqp => Box::new(trivium_amqp::Connection::new(Arc::default(), now)),
        Protocol::Mqtt => Box::new(trivium_mqtt::Connection::new(Arc::default(), now)),
        Protocol::Stomp => Box::new(trivium_stomp::Connection::new(Arc::default(), now)),
    }
}
