//! Transactions: what they hold, and their commit, a batch of its own, with one append for all of it.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::kept::KeptValue;
use super::publish::{check_lengths, point_at_topic};
use super::{Batch, Staged, StagedRoute, append, index};
use crate::queue::{Room, Settlement};
use crate::retained::keep;
use crate::routing::{RouteCache, TOPIC_EXCHANGE};
use crate::session::SessionShared;
use crate::transaction::Held;
use crate::{Draft, Message, Refusal, Session, Transaction};

impl Batch<'_> {
    /// Holds a publish for the commit of `transaction`, routed now. Returns whether anything
    /// matched its address.
    ///
    /// # Errors
    ///
    /// Those of [`Batch::publish`], and when the transaction is full. Nothing was held then.
    pub fn hold(
        &mut self,
        session: &Session,
        transaction: &mut Transaction,
        mut draft: Draft<'_>,
        more_keys: &[&str],
    ) -> Result<bool, Refusal> {
        check_lengths(&draft)?;
        point_at_topic(&mut draft);
        self.check_alarms()?;
        let connection = &session.shared.connection;
        let cache = self.scratch.cache.get_or_insert_with(|| {
            RouteCache::new(&self.broker.hasher, self.broker.limits.cached_routes_max)
        });
        let place = connection.vhost.route(cache, &draft, more_keys)?;
        let route = cache.at(place).ok_or(Refusal::Internal)?.clone();
        let (routed, mandatory) = (!route.is_empty(), draft.mandatory);
        let message = Message::new(draft, session.publisher(), &mut self.scratch.copy);
        let held = Held { message, route, mandatory };
        transaction.hold(held, self.broker.limits.transaction_bytes_max)?;
        Ok(routed)
    }

    /// Does all of `transaction`, in this batch of its own. Returns up to which position the log
    /// must be durable before the commit is safe.
    ///
    /// In this order: every queue is asked whether it takes its share, and one that does not
    /// refuses the whole; what is settled leaves its queues; one append holds both; the messages
    /// are pushed.
    pub(crate) fn commit(
        mut self,
        session: &Arc<SessionShared>,
        transaction: Transaction,
    ) -> Result<u64, Refusal> {
        let Transaction { publishes, settlements, .. } = transaction;
        self.stage_held(session, publishes);
        self.stage_settlements(session, &settlements);
        self.group_by_queue();
        self.reserve()?;
        self.keep_all(session);
        self.settle_all();
        let position = self.append_all();
        self.scratch.work_on_queues();
        self.finish();
        Ok(position)
    }

    fn stage_held(&mut self, session: &Arc<SessionShared>, publishes: Vec<Held>) {
        let scratch = &mut *self.scratch;
        let at = scratch.session(session);
        for Held { message, route, mandatory } in publishes {
            let counts = scratch.effects.counters.of(session.protocol());
            counts.published += 1;
            counts.published_bytes += message.body().len() as u64;
            let is_last = |staged: &StagedRoute| Arc::ptr_eq(&staged.route, &route);
            if !scratch.routes.last().is_some_and(is_last) {
                scratch.routes.push(StagedRoute { route, work: Vec::new() });
            }
            scratch.staged.push(Staged {
                message,
                route: index(scratch.routes.len() - 1),
                session: at,
                ticket: None,
                mandatory,
                position: 0,
                taken: 0,
                refused: super::Refused::No,
                refused_count: 0,
            });
        }
    }

    fn stage_settlements(
        &mut self,
        session: &Arc<SessionShared>,
        settlements: &[(crate::DeliveryId, crate::Outcome)],
    ) {
        let contents = session.contents();
        for (delivery, outcome) in settlements {
            let Some(queue) = contents.queue(delivery.queue) else { continue };
            let work = self.scratch.work(&queue) as usize;
            self.scratch.work[work].settlements.push(Settlement::new(*delivery, *outcome));
        }
    }

    /// Refuses what a queue would not take. A queue that is deleted takes nothing and refuses
    /// nothing: what was on its way there is not routed.
    fn reserve(&mut self) -> Result<(), Refusal> {
        for at in 0..self.scratch.work.len() {
            let scratch = &mut *self.scratch;
            let work = &mut scratch.work[at];
            if work.pushes.is_empty() {
                continue;
            }
            let (mut room, mut reserved) = (Room::Reserved, 0);
            let refusal = if let Some(mut state) = work.queue.lock() {
                if !work.queue.can_refuse() {
                    continue;
                }
                for push in &work.pushes {
                    let message = &scratch.staged[push.staged as usize].message;
                    room = state.reserve(&work.queue, message, &mut scratch.effects);
                    if room == Room::Full {
                        break;
                    }
                    reserved += 1;
                }
                let (name, vhost) = (work.queue.name.to_string(), work.queue.vhost.to_string());
                Refusal::QueueFull { name, vhost }
            } else {
                room = Room::Full;
                Refusal::Internal
            };
            work.has_reserved = true;
            if room == Room::Full {
                work.pushes.truncate(reserved);
                // The whole is refused: nobody dies of it.
                scratch.effects.deaths.clear();
                self.unreserve();
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Gives back what was reserved for a commit that is refused.
    fn unreserve(&mut self) {
        let scratch = &mut *self.scratch;
        for work in scratch.work.iter().filter(|work| work.has_reserved) {
            let Some(mut state) = work.queue.lock() else { continue };
            for push in &work.pushes {
                state.unreserve(&scratch.staged[push.staged as usize].message);
            }
        }
    }

    /// Keeps what is kept for those who come later.
    fn keep_all(&mut self, session: &SessionShared) {
        for (at, staged) in (0u32..).zip(&self.scratch.staged) {
            let message = &staged.message;
            let is_retained = message.is_retain() && message.exchange() == TOPIC_EXCHANGE;
            let retained = is_retained.then(|| session.connection.vhost.retained());
            let route = &self.scratch.routes[staged.route as usize].route;
            let change = keep(message, retained, &route.histories);
            self.scratch.kept.extend(change.map(|change| KeptValue { staged: at, change }));
        }
    }

    fn settle_all(&mut self) {
        let scratch = &mut *self.scratch;
        for work in &mut scratch.work {
            let Some(mut state) = work.queue.lock() else { continue };
            for settlement in work.settlements.drain(..) {
                state.settle(settlement, &mut scratch.effects);
            }
        }
    }

    fn append_all(&mut self) -> u64 {
        let scratch = &mut *self.scratch;
        let settled = scratch.effects.take_settled();
        if !scratch.kept.is_empty() {
            return super::kept::append(&*self.broker.log, scratch, settled);
        }
        let appended = {
            let publishes = append::publishes(&scratch.staged, &scratch.routes, &[]);
            if publishes.is_empty() && settled.is_empty() {
                return 0;
            }
            self.broker.log.append_atomic(&publishes, &settled)
        };
        let last = append::assign(&mut scratch.staged, &scratch.routes, appended);
        NonZeroU64::get(last.0)
    }
}
