//! What this worker has learned about bindings, for the time the coordinator or its store is away (P6).

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use redial_core::link::Target;
use redial_core::{Aor, UnixMillis};

use super::Peer;

#[derive(Debug)]
struct Entry {
    targets: Vec<(UnixMillis, Target)>,
    /// Key in `order`.
    used: u64,
}

/// Live bindings of the AoRs that were asked about last: at most `max`, the longest unused goes first.
#[derive(Debug)]
pub(crate) struct Known {
    entries: HashMap<Aor, Entry>,
    order: BTreeMap<u64, Aor>,
    /// Where a contact's address leads to: requests inside dialogs without a Route name it.
    contacts: HashMap<SocketAddr, Peer>,
    max: usize,
    clock: u64,
}

/// A routed contact's expiry is not told; it is trusted this long.
const ROUTED_TRUST: std::time::Duration = std::time::Duration::from_secs(3600);

impl Known {
    pub(crate) fn new(max: usize) -> Self {
        Self { entries: HashMap::new(), order: BTreeMap::new(), contacts: HashMap::new(), max, clock: 0 }
    }

    /// Everything that is bound to `aor` now.
    pub(crate) fn learn(&mut self, aor: &Aor, targets: Vec<(UnixMillis, Target)>) {
        self.forget(aor);
        if targets.is_empty() || self.max == 0 {
            return;
        }
        while self.entries.len() >= self.max {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.forget(&oldest);
        }
        self.clock += 1;
        for (_, target) in &targets {
            if let (Some(contact), Some(peer)) = (contact_addr(target), Peer::from_flow(&target.flow)) {
                self.contacts.insert(contact, peer);
            }
        }
        self.order.insert(self.clock, aor.clone());
        self.entries.insert(aor.clone(), Entry { targets, used: self.clock });
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

    /// The flow of the binding whose contact has this address.
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

/// Address of a contact whose host is one; port 5060 when it names none.
pub(crate) fn contact_addr(target: &Target) -> Option<SocketAddr> {
    let uri = sip_core::uri::Uri::parse(target.uri.as_bytes())?;
    Some(SocketAddr::new(uri.host_addr()?, uri.port.unwrap_or(5060)))
}
