//! Exchanges that hand each message to one of their bindings: `x-consistent-hash`, where the same
//! value always goes to the same binding, and `x-random`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::route::Addressed;
use super::target::{Target, TargetId, Targets};
use crate::{Properties, Refusal, Table, Value};

/// What an `x-consistent-hash` exchange hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HashOn {
    Key,
    /// `hash-header`: a header of that name.
    Header(Box<str>),
    MessageId,
    CorrelationId,
    Timestamp,
}

const HASH_HEADER: &str = "hash-header";
const HASH_PROPERTY: &str = "hash-property";

impl HashOn {
    /// As the exchange's arguments say.
    pub(super) fn of(arguments: &Table) -> Self {
        if let Some(header) = arguments.get(HASH_HEADER).and_then(Value::as_str) {
            return Self::Header(header.into());
        }
        match arguments.get(HASH_PROPERTY).and_then(Value::as_str) {
            Some("message_id") => Self::MessageId,
            Some("correlation_id") => Self::CorrelationId,
            Some("timestamp") => Self::Timestamp,
            _ => Self::Key,
        }
    }

    /// The hash of what a message says there. All that say nothing go one way.
    fn hash(&self, message: &Addressed<'_>) -> u64 {
        match self {
            Self::Key => hash(message.key().as_bytes()),
            Self::Header(name) => match message.properties().headers.get(name) {
                None => 0,
                Some(Value::Text(octets) | Value::Bytes(octets)) => hash(octets),
                Some(value) => match value.as_integer() {
                    Some(integer) => hash(integer.to_string().as_bytes()),
                    None => hash(format!("{value:?}").as_bytes()),
                },
            },
            Self::MessageId => {
                let Properties { message_id, .. } = message.properties();
                message_id.as_ref().map_or(0, |id| hash(id.as_bytes()))
            }
            Self::CorrelationId => {
                let Properties { correlation, .. } = message.properties();
                correlation.as_ref().map_or(0, |octets| hash(octets))
            }
            Self::Timestamp => {
                message.properties().timestamp.map_or(0, |seconds| hash(&seconds.to_be_bytes()))
            }
        }
    }
}

/// Refuses arguments that an `x-consistent-hash` exchange cannot follow.
pub(crate) fn check(arguments: &Table) -> Result<(), Refusal> {
    match (arguments.get(HASH_HEADER), arguments.get(HASH_PROPERTY)) {
        (Some(_), Some(_)) => {
            Err(Refusal::precondition("hash-header and hash-property are mutually exclusive"))
        }
        (None, Some(property))
            if !matches!(
                property.as_str(),
                Some("correlation_id" | "message_id" | "timestamp")
            ) =>
        {
            let shown = property.as_str().map_or_else(|| format!("{property:?}"), str::to_owned);
            Err(Refusal::precondition(format!("Unsupported property: {shown}")))
        }
        _ => Ok(()),
    }
}

/// Refuses binding keys that are no weight.
pub(crate) fn check_weight(key: &str) -> Result<(), Refusal> {
    match key.parse::<i64>() {
        Ok(1..) => Ok(()),
        Ok(_) => Err(Refusal::precondition("The binding key must be greater than 0")),
        Err(_) => {
            Err(Refusal::precondition(format!("The binding key must be an integer: <<\"{key}\">>")))
        }
    }
}

/// Weighted rendezvous hashing: each binding draws a number from the value and its own name, and
/// the lowest wins. A binding that comes or goes moves only what it wins or had won; weights are
/// exact and cost no memory.
#[derive(Debug)]
pub(super) struct Weighted {
    on: HashOn,
    bindings: Vec<WeightedBinding>,
}

#[derive(Debug)]
struct WeightedBinding {
    target: Target,
    key: Box<str>,
    /// Of the target's name, which is the same after a restart.
    seed: u64,
    weight: f64,
}

impl Weighted {
    pub(super) const fn new(on: HashOn) -> Self {
        Self { on, bindings: Vec::new() }
    }

    pub(super) fn add(&mut self, target: &Target, key: &str) {
        let seed = match target {
            Target::Queue(queue) | Target::QueueAtQos0(queue) => hash(queue.name.as_bytes()),
            Target::Exchange(name) => !hash(name.as_bytes()),
            Target::Subscriber(subscriber) => mix(subscriber.id),
        };
        // The key was checked; what is no weight is chosen never.
        let weight = key.parse().unwrap_or(0.0);
        let seed = seed ^ hash(key.as_bytes()).rotate_left(1);
        let (target, key) = (target.clone(), key.into());
        self.bindings.push(WeightedBinding { target, key, seed, weight });
    }

    pub(super) fn remove(&mut self, target: &TargetId, key: &str) {
        let is_it =
            |binding: &WeightedBinding| binding.target.id() == *target && *binding.key == *key;
        if let Some(at) = self.bindings.iter().position(is_it) {
            self.bindings.remove(at);
        }
    }

    pub(super) fn choose(&self, message: &Addressed<'_>) -> Option<&Target> {
        let value = match self.bindings.as_slice() {
            [] => return None,
            [only] => return Some(&only.target),
            _ => self.on.hash(message),
        };
        let draw = |binding: &WeightedBinding| {
            // Uniform in (0, 1); its logarithm over the weight is how long the binding "waits".
            #[allow(clippy::cast_precision_loss, reason = "53 bits are what a fraction has")]
            let uniform = ((mix(value ^ binding.seed) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            -uniform.ln() / binding.weight
        };
        let least = self.bindings.iter().min_by(|a, b| draw(a).total_cmp(&draw(b)));
        least.map(|binding| &binding.target)
    }
}

/// A binding at random, of those that there are.
#[derive(Debug)]
pub(super) struct Random {
    pub(super) targets: Targets,
    /// Counts messages; hashed it is the next number of a sequence that looks random.
    count: AtomicU64,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self { targets: Targets::default(), count: AtomicU64::new(seed) }
    }

    pub(super) fn choose(&self, message: &Addressed<'_>) -> Option<&Target> {
        message.note_unique();
        let count = self.targets.len() as u64;
        let drawn = mix(self.count.fetch_add(1, Ordering::Relaxed)).checked_rem(count)?;
        self.targets.iter().nth(usize::try_from(drawn).unwrap_or(0))
    }
}

/// FNV-1a, finished by [`mix`]. Not ahash: it must be the same after a restart, and on the next
/// node. Who chooses values that collide only spoils its own distribution.
fn hash(octets: &[u8]) -> u64 {
    let step = |hash: u64, octet: &u8| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
    mix(octets.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// `SplitMix64`'s finish: every bit of the input moves every bit of the result.
const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
