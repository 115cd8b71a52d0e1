//! Shared subscriptions (MQTT 5, section 4.8.2): a group is a queue bound to its filter, which
//! clients of the other protocols may join by its name. It ends with its last member unless
//! somebody declared it before.

use std::sync::Arc;

use super::Consume;
use crate::address::{Pattern, Segment, words_of_topic};
use crate::queue::{Declaration, Effects, Queue};
use crate::session::SessionShared;
use crate::vhost::Vhost;
use crate::{Broker, ConsumerId, QueueId, Refusal};

/// Bytes in a queue's name (a short string of AMQP).
const NAME_BYTES_MAX: usize = 255;

/// The queue of a group: `mqtt-share.<group>.<filter>` in words.
pub(crate) fn queue_name(group: &str, pattern: &Pattern) -> String {
    let mut name = "mqtt-share.".to_owned();
    words_of_topic(group, &mut name);
    name.push('.');
    name.push_str(&pattern.to_binding_key());
    let looks_wild = |segment: &Segment| match segment {
        Segment::Literal(word) => matches!(&**word, "*" | "#"),
        Segment::One | Segment::Many => false,
    };
    // A literal star reads like a wildcard in words: the name must tell them apart.
    if pattern.segments().iter().any(looks_wild) {
        name = hashed(&name, &format!("{group}/{pattern:?}"));
    }
    name_that_fits(name)
}

/// A queue's name as it is, or its beginning and a hash of the whole when AMQP could not say it.
pub(super) fn name_that_fits(name: String) -> String {
    if name.len() <= NAME_BYTES_MAX { name } else { hashed(&name, &name) }
}

fn hashed(name: &str, whole: &str) -> String {
    // FNV-1a, 128 bits: the same in every version of this program. Who searches for names that
    // collide finds them, and is refused: whoever joins compares the group and the filter.
    let hash = whole.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, octet| {
        (hash ^ u128::from(octet)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    let kept = name.floor_char_boundary(NAME_BYTES_MAX - 33);
    format!("{}~{hash:032x}", &name[..kept])
}

/// Joins a group and attaches a consumer, with no credit. Returns the id of the group's queue, too,
/// if that is durable.
pub(super) fn join(
    session: &Arc<SessionShared>,
    group: &str,
    pattern: &Pattern,
) -> Result<(ConsumerId, Option<QueueId>), Refusal> {
    let connection = &session.connection;
    let name = queue_name(group, pattern);
    // The messages of a group survive a restart if its first member does.
    let is_kept = session.contents().client.as_ref().is_some_and(|client| client.stored.is_some());
    let id = QueueId(connection.broker.new_id());
    let make = || new_queue(&connection.broker, &connection.vhost, &name, id, is_kept);
    let (queue, is_new) =
        connection.vhost.change_routing(|routing| routing.join(&name, group, pattern, make))?;
    if is_new {
        connection.broker.register(&queue);
    }
    let attached = super::consumer::attach(session, &queue, &Consume::default());
    if attached.is_err() {
        let mut effects = connection.broker.effects();
        connection.broker.leave(&connection.vhost, group, pattern, &mut effects);
        connection.broker.finish(&mut effects);
    }
    attached.map(|consumer| (consumer, queue.is_logged().then_some(queue.id)))
}

/// The queue of a group.
pub(crate) fn new_queue(
    broker: &Broker,
    vhost: &Vhost,
    name: &str,
    id: QueueId,
    is_kept: bool,
) -> Arc<Queue> {
    Queue::new(Declaration {
        id,
        name: name.into(),
        vhost: vhost.name.clone(),
        durable: is_kept,
        owner: None,
        auto_delete: false,
        is_session: false,
        arguments: crate::Table::default(),
        memory: broker.memory.clone(),
        held_bytes_max: None,
    })
}

impl Broker {
    /// Leaves a group; its queue ends when nobody is left in it.
    pub(super) fn leave(
        &self,
        vhost: &Vhost,
        group: &str,
        pattern: &Pattern,
        effects: &mut Effects,
    ) {
        let name = queue_name(group, pattern);
        let ended = vhost.change_routing(|routing| routing.leave(&name));
        if let Some(queue) = ended {
            self.end_queue(&queue, effects);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_groups_are_in_words_and_fit() {
        let name = |group: &str, filter: &str| queue_name(group, &Pattern::from_filter(filter));
        assert_eq!(name("g", "a/+/#"), "mqtt-share.g.a.*.#");
        assert_eq!(name("g.h", "a.b"), "mqtt-share.g%2Eh.a%2Eb");
        assert_ne!(name("g", "a/*"), name("g", "a/+"));
        let long = name("g", &"é".repeat(200));
        assert!(long.len() <= 255, "{long}");
        assert_ne!(long, name("g", &"é".repeat(201)));
        assert_eq!(name_that_fits("short".to_owned()), "short");
    }
}
