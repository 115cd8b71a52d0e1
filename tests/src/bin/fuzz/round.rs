//! One round: a few clients, one broker, and what can happen to them.

use std::sync::Arc;

use trivium_amqp::Connection;
use trivium_core::testing::{Client, World};
use trivium_core::{Alarms, Protocol};

use crate::damage;
use crate::random::Random;
use crate::seeds::Seeds;

/// What clients are, and what they have still to say.
struct Talker<'w> {
    client: Client<'w, Connection>,
    frames: std::vec::IntoIter<Vec<u8>>,
    heard: Vec<u8>,
}

/// See the module.
pub(crate) struct Round<'s> {
    seeds: &'s Seeds,
    random: Random,
}

impl<'s> Round<'s> {
    pub(crate) const fn new(seeds: &'s Seeds, seed: u64) -> Self {
        Self { seeds, random: Random::new(seed) }
    }

    /// Plays it; says what was found, or how many messages got through to the broker.
    pub(crate) fn play(mut self) -> Result<u64, String> {
        let world = World::new();
        let count = self.random.between(1, 4);
        let mut talkers: Vec<_> = (0..count).map(|_| self.talker(&world)).collect();
        while talkers.iter().any(|talker| talker.frames.len() > 0) {
            let at = self.random.below(talkers.len());
            self.speak(&mut talkers[at]);
            self.stir(&world, &mut talkers);
        }
        self.end(&world, talkers)?;
        Ok(world.broker().totals().counts[Protocol::Amqp.index()].published)
    }

    fn talker<'w>(&mut self, world: &'w World) -> Talker<'w> {
        let adapter = Connection::new(Arc::default(), world.now());
        let chunk_len = *self.random.pick(&[usize::MAX, usize::MAX, 1, 7, 64]);
        let frames = self.conversation().into_iter();
        Talker {
            client: world.client(Protocol::Amqp, adapter, chunk_len),
            frames,
            heard: Vec::new(),
        }
    }

    /// What one client says: a trace with frames dropped, repeated and moved, or operations of all
    /// traces in any order; then some frames are changed.
    fn conversation(&mut self) -> Vec<Vec<u8>> {
        let mut said = if self.random.chance(50) {
            let mut trace = self.random.pick(&self.seeds.traces).clone();
            if self.random.chance(50) {
                damage::shuffle(&mut trace, &mut self.random);
            }
            trace
        } else {
            (0..self.random.between(1, 60)).map(|_| self.any_frame()).collect()
        };
        let mut frames = self.seeds.opening.clone();
        frames.append(&mut said);
        let spared = if self.random.chance(90) { self.seeds.opening.len() } else { 0 };
        for frame in frames.iter_mut().skip(spared) {
            if self.random.chance(10) {
                self.change(frame);
            }
        }
        frames
    }

    fn any_frame(&mut self) -> Vec<u8> {
        let trace = self.random.pick(&self.seeds.traces);
        self.random.pick(trace).clone()
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

    /// A few frames in one write.
    fn speak(&mut self, talker: &mut Talker<'_>) {
        let count = self.random.between(1, 12);
        let octets: Vec<u8> = talker.frames.by_ref().take(count).flatten().collect();
        talker.heard.append(&mut talker.client.send(&octets));
    }

    /// What happens besides.
    fn stir(&mut self, world: &World, talkers: &mut [Talker<'_>]) {
        match self.random.below(24) {
            0 | 1 => world.step(),
            2 => {
                world.pass(self.random.between(1, 20_000) as u64);
                world.broker().tick(world.now(), self.random.below(1000));
            }
            3 => {
                let (memory, disk) = (self.random.chance(50), self.random.chance(50));
                world.broker().set_alarms(Alarms { memory, disk });
            }
            4 | 5 => world.broker().set_alarms(Alarms::default()),
            6 => {
                let at = self.random.below(talkers.len());
                talkers[at].client.disconnect();
            }
            _ => {}
        }
        for talker in talkers {
            talker.heard.append(&mut talker.client.read());
        }
    }

    /// Everybody leaves, some with a goodbye; nothing of them may stay.
    fn end(&mut self, world: &World, talkers: Vec<Talker<'_>>) -> Result<(), String> {
        world.broker().set_alarms(Alarms::default());
        world.step();
        for mut talker in talkers {
            talker.heard.append(&mut talker.client.read());
            if self.random.chance(50) {
                talker.heard.append(&mut talker.client.shutdown());
                world.pass(60_000);
                talker.heard.append(&mut talker.client.read());
                if !talker.client.is_closed() {
                    return Err("a client that does not answer is waited for".into());
                }
            }
            talker.client.disconnect();
            check_frames(&talker.heard)?;
        }
        world.step();
        while world.broker().tick(world.now(), 100_000) {}
        check_rest(world)
    }
}

/// What a client hears is whole frames, or after a wrong header that of the broker.
fn check_frames(mut heard: &[u8]) -> Result<(), String> {
    if heard == b"AMQP\0\0\x09\x01" {
        return Ok(());
    }
    while !heard.is_empty() {
        let [1 | 2 | 3 | 8, _, _, a, b, c, d, rest @ ..] = heard else {
            return Err(format!("no frame: {:?}", &heard[..heard.len().min(20)]));
        };
        let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        if rest.get(len) != Some(&0xCE) || len + 8 > 131_072 {
            return Err(format!("a frame of {len} octets without its end"));
        }
        heard = &rest[len + 1..];
    }
    Ok(())
}

/// Nobody is left, and the log holds no more than the queues do.
fn check_rest(world: &World) -> Result<(), String> {
    let totals = world.broker().totals();
    let left = (totals.connections, totals.sessions, totals.consumers, totals.unsettled);
    if left != (0, [0; 3], 0, 0) {
        return Err(format!("connections, sessions, consumers and unsettled are left: {left:?}"));
    }
    let live = world.log().live() as u64;
    if live > totals.ready {
        return Err(format!("the log holds {live} messages, the queues {}", totals.ready));
    }
    Ok(())
}
