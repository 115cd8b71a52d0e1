//! One round: a few clients, one broker, and what can happen to them.

use std::sync::Arc;

use trivium_core::control::Origin;
use trivium_core::log::StepLog;
use trivium_core::testing::{Client, World};
use trivium_core::{
    Adapter, Alarms, Broker, Counts, DEFAULT_VHOST, Limits, PolicyKind, Protocol, Reply, Request,
};

use crate::calm;
use crate::damage;
use crate::pattern::show;
use crate::random::Random;
use crate::seeds::Seeds;
use crate::speaker::{Script, Speaker};

/// A client, and who speaks for it.
struct Talker<'w> {
    protocol: Protocol,
    client: Client<'w, Box<dyn Adapter>>,
    speaker: Box<dyn Speaker>,
    /// What was said and has not arrived.
    unsent: Vec<u8>,
    /// Times its connection was replaced.
    connections: usize,
    /// For whom reads along, what it is called.
    shown: Option<usize>,
}

/// A client whose connection is gone comes back so many times.
const RECONNECTS_MAX: usize = 8;

/// See the module.
pub(crate) struct Round<'s> {
    seeds: &'s [Seeds; 3],
    random: Random,
    /// Whether to print what is said and heard.
    shows: bool,
}

impl<'s> Round<'s> {
    pub(crate) const fn new(seeds: &'s [Seeds; 3], seed: u64, shows: bool) -> Self {
        Self { seeds, random: Random::new(seed), shows }
    }

    /// Plays it; says what was found, or what became of messages, by protocol.
    pub(crate) fn play(mut self) -> Result<[Counts; 3], String> {
        let world = self.world();
        let count = self.random.between(1, 5);
        let mut talkers: Vec<_> = (0..count).map(|number| self.talker(&world, number)).collect();
        while talkers.iter().any(Talker::has_more) {
            let at = self.random.below(talkers.len());
            self.speak(&world, &mut talkers[at])?;
            self.stir(&world, &mut talkers)?;
        }
        self.end(&world, talkers)?;
        Ok(world.broker().totals().counts)
    }

    /// A broker, often with so little room that much goes over the log.
    fn world(&mut self) -> World {
        let log = Arc::new(StepLog::default());
        let limits = if self.random.chance(50) {
            Limits {
                window_messages_max: self.random.between(2, 6),
                outbox_bytes_max: self.random.between(200, 2000),
                deliveries_per_turn_max: self.random.between(1, 20),
                ..Limits::default()
            }
        } else {
            Limits::default()
        };
        let seed = self.random.next();
        World::over(Broker::new(log.clone(), limits, seed), log)
    }

    fn talker<'w>(&mut self, world: &'w World, number: usize) -> Talker<'w> {
        let protocol = *self.random.pick(&[
            Protocol::Amqp,
            Protocol::Amqp,
            Protocol::Amqp,
            Protocol::Mqtt,
            Protocol::Stomp,
        ]);
        let speaker: Box<dyn Speaker> = match protocol {
            _ if self.random.chance(25) => {
                Box::new(Script::new(protocol, self.conversation(protocol)))
            }
            Protocol::Amqp => Box::new(calm::Amqp::new(&mut self.random)),
            Protocol::Mqtt => Box::new(calm::Mqtt::new(&mut self.random, number)),
            Protocol::Stomp => Box::new(calm::Stomp::new(&mut self.random)),
        };
        let client = self.client(world, protocol);
        let shown = self.shows.then_some(number);
        Talker { protocol, client, speaker, unsent: Vec::new(), connections: 0, shown }
    }

    fn client<'w>(&mut self, world: &'w World, protocol: Protocol) -> Client<'w, Box<dyn Adapter>> {
        let now = world.now();
        let adapter: Box<dyn Adapter> = match protocol {
            Protocol::Amqp => Box::new(trivium_amqp::Connection::new(Arc::default(), now)),
            Protocol::Mqtt => Box::new(trivium_mqtt::Connection::new(Arc::default(), now)),
            Protocol::Stomp => Box::new(trivium_stomp::Connection::new(Arc::default(), now)),
        };
        let chunk_len = *self.random.pick(&[usize::MAX, usize::MAX, usize::MAX, 1, 7, 64]);
        world.client(protocol, adapter, chunk_len)
    }

    /// What one client says: a trace with frames dropped, repeated and moved, or operations of all
    /// traces in any order; then some frames are changed.
    fn conversation(&mut self, protocol: Protocol) -> Vec<Vec<u8>> {
        let seeds = &self.seeds[protocol.index()];
        let mut said = if self.random.chance(50) {
            let mut trace = self.random.pick(&seeds.traces).clone();
            if self.random.chance(50) {
                damage::shuffle(&mut trace, &mut self.random);
            }
            trace
        } else {
            let count = self.random.between(1, 60);
            (0..count)
                .map(|_| {
                    let trace = self.random.pick(&seeds.traces);
                    self.random.pick(trace).clone()
                })
                .collect()
        };
        let mut frames = seeds.opening.clone();
        frames.append(&mut said);
        let spared = if self.random.chance(90) { seeds.opening.len() } else { 0 };
        for frame in frames.iter_mut().skip(spared) {
            if !self.random.chance(10) {
                continue;
            }
            match protocol {
                Protocol::Amqp => self.change(frame),
                Protocol::Mqtt | Protocol::Stomp => damage::damage(frame, &mut self.random),
            }
        }
        frames
    }

    /// Changes a frame so that it stays one (its channel, its payload behind a right length), or
    /// leaves nothing of it certain.
    fn change(&mut self, frame: &mut Vec<u8>) {
        const HEAD: usize = 7;
        if frame.len() <= HEAD || self.random.chance(20) {
            return damage::damage(frame, &mut self.random);
        }
        if self.random.chance(30) {
            frame[2] = u8::try_from(self.random.below(4)).unwrap_or(0);
            return;
        }
        let end = frame.len() - 1;
        let mut payload = frame[HEAD..end].to_vec();
        damage::damage(&mut payload, &mut self.random);
        let len = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
        frame.truncate(HEAD);
        frame[3..HEAD].copy_from_slice(&len);
        frame.append(&mut payload);
        frame.push(0xCE);
    }

    /// A few frames in one write, which may arrive in two pieces with others' between them.
    fn speak<'w>(&mut self, world: &'w World, talker: &mut Talker<'w>) -> Result<(), String> {
        if talker.client.is_closed() && !self.come_back(world, talker) {
            return Ok(());
        }
        if talker.unsent.is_empty() {
            talker.unsent = talker.speaker.say(&mut self.random);
        }
        let all = talker.unsent.len();
        let len = if self.random.chance(70) { all } else { self.random.below(all + 1) };
        let octets: Vec<u8> = talker.unsent.drain(..len).collect();
        let was_calm = talker.speaker.is_calm();
        talker.show('>', &octets);
        let heard = talker.client.send(&octets);
        talker.hear(&heard, was_calm)
    }

    /// Whether there is another connection.
    fn come_back<'w>(&mut self, world: &'w World, talker: &mut Talker<'w>) -> bool {
        if talker.connections == RECONNECTS_MAX {
            return false;
        }
        talker.connections += 1;
        talker.client = self.client(world, talker.protocol);
        talker.speaker.reconnect();
        talker.unsent.clear();
        true
    }

    /// What happens besides.
    fn stir<'w>(&mut self, world: &'w World, talkers: &mut [Talker<'w>]) -> Result<(), String> {
        let what = self.random.below(30);
        if self.shows && what < 10 {
            crate::say(&format!("world {what}, {} ms", world.now().as_millis()));
        }
        match what {
            0..3 => world.step(),
            3 => {
                let most = *self.random.pick(&[100, 1000, 20_000]);
                world.pass(self.random.between(1, most) as u64);
                world.broker().tick(world.now(), self.random.below(1000));
            }
            4 => {
                let (memory, disk) = (self.random.chance(50), self.random.chance(50));
                world.broker().set_alarms(Alarms { memory, disk });
            }
            5..8 => world.broker().set_alarms(Alarms::default()),
            8 if self.random.chance(50) => {
                let at = self.random.below(talkers.len());
                talkers[at].client.disconnect();
            }
            9 if self.random.chance(30) => self.rule(world)?,
            _ => {}
        }
        for talker in talkers {
            let was_calm = talker.speaker.is_calm() && !talker.client.is_closed();
            let heard = talker.client.read();
            talker.hear(&heard, was_calm)?;
        }
        Ok(())
    }

    /// An operator changes what queues do.
    fn rule(&mut self, world: &World) -> Result<(), String> {
        let kind = *self.random.pick(&[PolicyKind::Policy, PolicyKind::Operator]);
        let policy = calm::policy(&mut self.random);
        let vhost = DEFAULT_VHOST.to_owned();
        let request = if self.random.chance(40) {
            Request::ClearPolicy { vhost, kind, name: policy.name }
        } else {
            Request::SetPolicy { vhost, kind, policy: Box::new(policy) }
        };
        let origin = Origin { session: None, principal: None, protocol: Protocol::Amqp };
        // An operator policy may not say everything that a policy may.
        match (world.broker().request(&origin, request), kind) {
            (Reply::Ready(Ok(_)), _) | (Reply::Ready(Err(_)), PolicyKind::Operator) => Ok(()),
            (other, _) => Err(format!("a policy is answered {other:?}")),
        }
    }

    /// Everybody leaves, some with a goodbye; nothing of them may stay.
    fn end(&mut self, world: &World, mut talkers: Vec<Talker<'_>>) -> Result<(), String> {
        const TURNS: usize = 6;
        world.broker().set_alarms(Alarms::default());
        for _ in 0..TURNS {
            world.step();
            while world.broker().tick(world.now(), 100_000) {}
            for talker in &mut talkers {
                let was_calm = talker.speaker.is_calm() && !talker.client.is_closed();
                let heard = talker.client.read();
                talker.hear(&heard, was_calm)?;
            }
        }
        for mut talker in talkers {
            if !talker.client.is_closed() {
                talker.speaker.check_end()?;
            }
            if self.random.chance(50) {
                talker.say_goodbye(world)?;
            }
            talker.client.disconnect();
        }
        world.step();
        while world.broker().tick(world.now(), 100_000) {}
        check_rest(world)
    }
}

impl Talker<'_> {
    fn has_more(&self) -> bool {
        let is_gone = self.client.is_closed() && self.connections == RECONNECTS_MAX;
        !is_gone && (!self.speaker.is_done() || !self.unsent.is_empty())
    }

    fn show(&self, direction: char, octets: &[u8]) {
        if let Some(number) = self.shown.filter(|_| !octets.is_empty()) {
            crate::say(&format!("{}{number}{direction} {}", self.protocol.name(), show(octets)));
        }
    }

    fn hear(&mut self, heard: &[u8], was_calm: bool) -> Result<(), String> {
        self.show('<', heard);
        if was_calm && self.client.is_closed() {
            self.show('!', b"closed");
        }
        self.speaker.hear(heard)?;
        if was_calm && self.speaker.is_calm() && self.client.is_closed() {
            return Err(format!("a calm client of {} is closed", self.protocol.name()));
        }
        Ok(())
    }

    /// The gateway goes down.
    fn say_goodbye(&mut self, world: &World) -> Result<(), String> {
        let goodbye = self.client.shutdown();
        self.speaker.hear(&goodbye)?;
        world.pass(60_000);
        let rest = self.client.read();
        self.speaker.hear(&rest)?;
        if !self.client.is_closed() {
            return Err("a client that does not answer is waited for".into());
        }
        Ok(())
    }
}

/// Nobody is left, and the log holds no more than the queues and what is retained.
fn check_rest(world: &World) -> Result<(), String> {
    // Sessions of MQTT outlive their connections, the most patient by a week.
    const WEEK_MS: u64 = 8 * 24 * 60 * 60 * 1000;
    world.pass(WEEK_MS);
    world.step();
    world.pass(1000);
    let totals = world.broker().totals();
    let left = (totals.connections, totals.sessions, totals.consumers, totals.unsettled);
    if left != (0, [0; 3], 0, 0) {
        return Err(format!("connections, sessions, consumers and unsettled are left: {left:?}"));
    }
    let live = world.log().live() as u64;
    let held = totals.ready + totals.retained;
    if live > held {
        return Err(format!("the log holds {live} messages, the queues and topics {held}"));
    }
    Ok(())
}
