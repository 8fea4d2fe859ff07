//! What this worker has learned about bindings, for the time the coordinator or its store is away (P6).

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use redial_core::link::Target;
use redial_core::{Aor, UnixMillis};
use sip_core::uri::Uri;

use super::target::{addr_of, resolve};
use super::{EndpointConfig, Peer};

#[derive(Debug)]
struct Entry {
    targets: Vec<(UnixMillis, Target)>,
    /// Key in `order`.
    used: u64,
}

/// Live bindings of the AoRs that were asked about last: at most `max_known`, the longest unused goes first.
#[derive(Debug)]
pub(crate) struct Known {
    entries: HashMap<Aor, Entry>,
    order: BTreeMap<u64, Aor>,
    /// Contacts that are reached at the address that they name: requests inside dialogs without a Route may go there.
    contacts: HashMap<SocketAddr, Peer>,
    config: Arc<EndpointConfig>,
    clock: u64,
}

/// A routed contact's expiry is not told; it is trusted this long.
const ROUTED_TRUST: std::time::Duration = std::time::Duration::from_secs(3600);

impl Known {
    pub(crate) fn new(config: Arc<EndpointConfig>) -> Self {
        Self { entries: HashMap::new(), order: BTreeMap::new(), contacts: HashMap::new(), config, clock: 0 }
    }

    /// Everything that is bound to `aor` now.
    pub(crate) fn learn(&mut self, aor: &Aor, targets: Vec<(UnixMillis, Target)>) {
        if self.refresh(aor, &targets) {
            return;
        }
        self.forget(aor);
        if targets.is_empty() || self.config.max_known == 0 {
            return;
        }
        while self.entries.len() >= self.config.max_known {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.forget(&oldest);
        }
        self.clock += 1;
        for (_, target) in &targets {
            // Contacts behind a NAT may have the same private address: they are reached by the token of their call only.
            if let Some(peer) = resolve(&self.config, target).filter(|peer| contact_addr(target) == Some(peer.addr)) {
                self.contacts.insert(peer.addr, peer);
            }
        }
        self.order.insert(self.clock, aor.clone());
        self.entries.insert(aor.clone(), Entry { targets, used: self.clock });
    }

    /// A REGISTER that only prolongs, as most do, moves times and nothing else.
    fn refresh(&mut self, aor: &Aor, targets: &[(UnixMillis, Target)]) -> bool {
        let Some(entry) = self.entries.get_mut(aor) else { return false };
        if entry.targets.len() != targets.len() || entry.targets.iter().zip(targets).any(|(old, new)| old.1 != new.1) {
            return false;
        }
        for (old, new) in entry.targets.iter_mut().zip(targets) {
            old.0 = new.0;
        }
        self.clock += 1;
        if let Some(aor) = self.order.remove(&std::mem::replace(&mut entry.used, self.clock)) {
            self.order.insert(self.clock, aor);
        }
        true
    }

    /// As [`Self::learn`], from an answer that does not tell when the bindings end.
    pub(crate) fn learn_routed(&mut self, now: UnixMillis, aor: &Aor, targets: &[Target]) {
        let until = now.after(ROUTED_TRUST);
        let expiry = |t: &Target| {
            let known = self.entries.get(aor)?.targets.iter().find(|(_, k)| k.uri == t.uri && k.flow == t.flow)?;
            Some(known.0)
        };
        let targets = targets.iter().map(|t| (expiry(t).unwrap_or(until), t.clone())).collect();
        self.learn(aor, targets);
    }

    /// Contacts that should still be live.
    pub(crate) fn targets(&self, now: UnixMillis, aor: &Aor) -> Vec<Target> {
        let Some(entry) = self.entries.get(aor) else { return Vec::new() };
        entry.targets.iter().filter(|(until, _)| *until > now).map(|(_, t)| t.clone()).collect()
    }

    /// The contact of an AoR that has but one.
    pub(crate) fn only_target(&self, aor: &Aor) -> Option<&Target> {
        match self.entries.get(aor)?.targets.as_slice() {
            [(_, target)] => Some(target),
            _ => None,
        }
    }

    /// The way to a live contact with this address.
    pub(crate) fn flow_of(&self, contact: SocketAddr) -> Option<Peer> {
        self.contacts.get(&contact).copied()
    }

    fn forget(&mut self, aor: &Aor) {
        let Some(entry) = self.entries.remove(aor) else { return };
        self.order.remove(&entry.used);
        for (_, target) in &entry.targets {
            if let Some(contact) = contact_addr(target) {
                self.contacts.remove(&contact);
            }
        }
    }
}

/// Address of a contact whose host is one.
fn contact_addr(target: &Target) -> Option<SocketAddr> {
    Uri::parse(target.uri.as_bytes()).and_then(|uri| addr_of(&uri))
}
