//! Groups of shared subscriptions: who shares a queue, and when it ends.

use std::sync::Arc;

use super::{BindingKey, Routing, TOPIC_EXCHANGE, Target};
use crate::Refusal;
use crate::address::Pattern;
use crate::queue::Queue;

/// A group (MQTT 5, section 4.8.2).
#[derive(Debug)]
pub(crate) struct Share {
    group: Box<str>,
    pattern: Pattern,
    queue: Arc<Queue>,
    members: u32,
    /// The queue was made for the group, and ends with it.
    is_ours: bool,
}

impl Routing {
    /// Adds a member to the group whose queue is `name`. Returns the queue, and whether it was
    /// made by `make` now.
    pub(crate) fn join(
        &mut self,
        name: &str,
        group: &str,
        pattern: &Pattern,
        make: impl FnOnce() -> Arc<Queue>,
    ) -> Result<(Arc<Queue>, bool), Refusal> {
        let locked = || Refusal::Locked { name: name.into(), vhost: self.vhost.to_string() };
        if let Some(share) = self.shares.get(name)
            && (&*share.group != group || share.pattern != *pattern)
        {
            return Err(locked());
        }
        let known = self.queues.get(name).cloned();
        if known.as_ref().is_some_and(|queue| !queue.is_open_to(None) || queue.is_session) {
            return Err(locked());
        }
        let is_new = known.is_none();
        let queue = known.unwrap_or_else(make);
        if is_new {
            self.queues.insert(queue.name.clone(), queue.clone());
        }
        let key = BindingKey::of_filter(pattern.clone());
        self.bind(TOPIC_EXCHANGE, &Target::Queue(queue.clone()), key)?;
        let share = self.shares.entry(queue.name.clone()).or_insert_with(|| Share {
            group: group.into(),
            pattern: pattern.clone(),
            queue: queue.clone(),
            members: 0,
            is_ours: is_new,
        });
        share.members += 1;
        if is_new {
            // Somebody deleted the one before it.
            share.queue = queue.clone();
            share.is_ours = true;
        }
        Ok((queue, is_new))
    }

    /// Takes a member out of the group whose queue is `name`. Returns the queue when it ends with
    /// the group: it has no name and no bindings any more.
    pub(crate) fn leave(&mut self, name: &str) -> Option<Arc<Queue>> {
        let share = self.shares.get_mut(name)?;
        share.members -= 1;
        if share.members > 0 {
            return None;
        }
        let share = self.shares.remove(name)?;
        if share.is_ours {
            self.remove_queue(name, share.queue.id);
            return Some(share.queue);
        }
        let key = BindingKey::of_filter(share.pattern);
        self.unbind(TOPIC_EXCHANGE, &Target::Queue(share.queue).id(), &key);
        None
    }
}
