//! Probes (policy `probe`): a callee whose registration ran out may still be there. While somebody watches it, its last contacts are asked by
//! OPTIONS, by one replica at a time; who answers is reinstated for a while as if it had registered, so that everything else is as usual.

use std::time::Duration;

use redial_core::link::{BindingChange, ContactChange, Order, ProbeOrder, Register, Target};
use redial_core::store::{LastContacts, StoreError};
use redial_core::{Aor, Binding, BindingId, EdgeGateway, Policy, PolicySet, UnixMillis, WatchStore};

use super::Engine;
use super::register::set_off;
use crate::metrics::ProbeStep;

/// A claim ends so much before the next probe: clocks of replicas may differ, and a probe must not be missed for that.
const CLAIM_SLACK: Duration = Duration::from_secs(1);

impl<S: WatchStore, G: EdgeGateway> Engine<S, G> {
    /// What to remember after a REGISTER of a callee whose policy has probes: its contacts outlive their registration, unless the phone said
    /// goodbye.
    pub(super) fn last_contacts(policies: &PolicySet, now: UnixMillis, register: &Register, live: &[Binding]) -> Option<LastContacts> {
        let policy = policies.for_callee(&register.aor);
        if policy.probe.is_none() || register.change == BindingChange::Fetch {
            return None;
        }
        let until = live.iter().map(|b| b.expires_at).max().unwrap_or(now).after(policy.period_max);
        Some(LastContacts { aor: register.aor.clone(), contacts: live.to_vec(), until })
    }

    /// A watched callee is away: asks its last contacts, unless another replica does so in this interval.
    pub(super) async fn probe(&self, now: UnixMillis, policy: &Policy, callee: &Aor) -> Result<(), StoreError> {
        let Some(interval) = policy.probe else { return Ok(()) };
        let mut contacts = self.store.remembered(now, callee).await?;
        contacts.retain(|contact| self.gateway.is_attached(&contact.edge));
        let claim = now.after(interval.saturating_sub(CLAIM_SLACK));
        if contacts.is_empty() || !self.store.claim_probe(now, callee, claim).await? {
            return Ok(());
        }
        for contact in contacts {
            let order = ProbeOrder { aor: callee.clone(), binding: contact.id.clone(), target: Target::from(&contact) };
            // One that is not delivered is asked at the next interval.
            if self.gateway.order(&contact.edge, Order::Probe(order)).is_ok() {
                self.metrics.probe(ProbeStep::Ordered);
            }
        }
        Ok(())
    }

    /// A probed phone has answered. It has a binding for two intervals, by which it is recalled for and called; then it is away again.
    pub(super) async fn answered(&self, now: UnixMillis, callee: &Aor, id: &BindingId) -> Result<(), StoreError> {
        let policies = self.policies();
        let Some(interval) = policies.for_callee(callee).probe else { return Ok(()) };
        // The watch may have ended, and the phone may have registered, since it was asked.
        if self.store.queue(callee, 1).await?.is_empty() || self.online(now, callee).await? {
            return Ok(());
        }
        let Some(contact) = self.store.remembered(now, callee).await?.into_iter().find(|contact| contact.id == *id) else { return Ok(()) };
        let (call_id, cseq) = (contact.call_id.clone(), contact.cseq);
        let back = Binding { expires_at: now.after(interval.saturating_mul(2)), probed: true, ..contact };
        let change = BindingChange::Each(vec![ContactChange::Put(back)]);
        let outcomes = self.store.register(now, &[Register { aor: callee.clone(), call_id, cseq, change }]).await?;
        for outcome in outcomes.iter().filter(|outcome| !outcome.out_of_order) {
            self.metrics.probe(ProbeStep::Reinstated);
            tracing::info!(callee = callee.as_str(), "callee answers a probe");
            set_off(callee, outcome).for_each(|wake| self.schedule(now, wake));
        }
        Ok(())
    }
}
