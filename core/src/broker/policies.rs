//! Policies of vhosts, and how a change reaches what is there: exchanges at once, queues in slices
//! of a tick, because there may be 100,000 of them and each has its lock.

use std::sync::{Arc, PoisonError};

use super::Broker;
use crate::Refusal;
use crate::catalogue::{Change, StoredPolicy};
use crate::policy::{Policies, Policy, PolicyKind};
use crate::queue::{Effects, Queue};
use crate::vhost::Vhost;

/// What applying policies to one queue counts for in a tick's budget.
const VISIT: usize = 4;

impl Broker {
    /// Sets a policy of a vhost that the configuration says, in place of the one of that name.
    /// Queues obey within ticks. Requests can neither change nor clear it.
    ///
    /// # Errors
    ///
    /// When there is no such vhost, or a part of the policy is invalid; the text names it.
    pub fn set_policy(&self, vhost: &str, kind: PolicyKind, policy: Policy) -> Result<(), Refusal> {
        let name = policy.name.clone();
        self.apply_policy(vhost, kind, policy)?;
        self.vhost_of(vhost)?.policies().pin(kind, name);
        Ok(())
    }

    /// Sets a policy that lasts as long as the process.
    pub(crate) fn apply_policy(
        &self,
        vhost: &str,
        kind: PolicyKind,
        policy: Policy,
    ) -> Result<(), Refusal> {
        let vhost = self.vhost_of(vhost)?;
        vhost.policies().set(kind, policy).map_err(|invalid| invalid.refusal())?;
        self.apply_policies(&vhost);
        Ok(())
    }

    /// Sets a policy of a vhost, and keeps it, in place of the one of that name.
    pub(crate) fn keep_policy(
        &self,
        vhost: &str,
        kind: PolicyKind,
        policy: Policy,
    ) -> Result<Arc<Vhost>, Refusal> {
        let found = self.free_policy(vhost, kind, &policy.name)?;
        self.apply_policy(vhost, kind, policy.clone())?;
        let vhost = vhost.to_owned();
        found.propose(Some(Change::PutPolicy(StoredPolicy { vhost, kind, policy })));
        Ok(found)
    }

    /// Clears a policy of a vhost; harmless when there is none of that name.
    pub(crate) fn clear_policy(
        &self,
        vhost: &str,
        kind: PolicyKind,
        name: &str,
    ) -> Result<Arc<Vhost>, Refusal> {
        let found = self.free_policy(vhost, kind, name)?;
        let is_cleared = found.policies().clear(kind, name);
        if is_cleared {
            self.apply_policies(&found);
            let (vhost, name) = (vhost.to_owned(), name.to_owned());
            found.propose(Some(Change::RemovePolicy { vhost, kind, name }));
        }
        Ok(found)
    }

    /// The vhost, unless its policy of that name is the configuration's.
    fn free_policy(
        &self,
        vhost: &str,
        kind: PolicyKind,
        name: &str,
    ) -> Result<Arc<Vhost>, Refusal> {
        let found = self.vhost_of(vhost)?;
        if found.policies().is_pinned(kind, name) {
            return Err(Refusal::precondition(format!(
                "policy '{name}' in vhost '{vhost}' is set by the configuration"
            )));
        }
        Ok(found)
    }

    /// The policies of a vhost, by name.
    ///
    /// # Errors
    ///
    /// When there is no such vhost.
    pub fn policies(&self, vhost: &str, kind: PolicyKind) -> Result<Vec<Policy>, Refusal> {
        Ok(self.vhost_of(vhost)?.policies().list(kind))
    }

    fn vhost_of(&self, name: &str) -> Result<Arc<Vhost>, Refusal> {
        self.vhost(name).ok_or_else(|| Refusal::VhostNotFound { vhost: name.into() })
    }

    fn apply_policies(&self, vhost: &Vhost) {
        let queues: Vec<_> = vhost.change_routing(|routing| {
            let policies = vhost.policies();
            for exchange in routing.exchanges.values_mut() {
                exchange.policy_alternate = policies.alternate_of(&exchange.name);
            }
            routing.queues.values().map(Arc::downgrade).collect()
        });
        self.unruled.lock().unwrap_or_else(PoisonError::into_inner).extend(queues);
    }

    /// Applies the policies of its vhost to a new queue.
    pub(super) fn rule(&self, queue: &Arc<Queue>, effects: &mut Effects) {
        let Some(vhost) = self.vhost(&queue.vhost) else { return };
        let args = {
            let policies: &Policies = &vhost.policies();
            policies.effective(&queue.name, &queue.arguments)
        };
        queue.set_args(args, effects);
    }

    /// Applies changed policies to queues, within `budget`. Returns what is left of it.
    pub(super) fn rule_queues(&self, effects: &mut Effects, budget: usize) -> usize {
        let mut left = budget;
        while left > 0 {
            let next = self.unruled.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(queue) = next else { return left };
            left = left.saturating_sub(VISIT);
            if let Some(queue) = queue.upgrade() {
                self.rule(&queue, effects);
            }
        }
        left
    }
}
