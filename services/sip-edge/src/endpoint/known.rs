//! What this edge has learned about bindings, for the time the coordinator or its store is away (P6).
//!
//! One memory for all workers: the kernel gives a caller's datagrams to one of them and the callee's to another. Cut into shards with a lock
//! each, held for a few map operations.

use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redial_core::link::Target;
use redial_core::{Aor, Binding, UnixMillis};
use rustc_hash::FxHasher;
use sip_core::uri::Uri;
use smallvec::SmallVec;

use super::target::{addr_of, resolve};
use super::{EndpointConfig, Peer};

/// Enough that workers rarely meet.
const MAX_SHARDS: usize = 64;
/// Fewer entries are not worth a shard of their own.
const MIN_SHARD: usize = 64;

/// A routed contact's expiry is not told; it is trusted this long.
const ROUTED_TRUST: std::time::Duration = std::time::Duration::from_secs(3600);

/// Live bindings of the AoRs that were asked about last. Bounded; the longest unused goes first.
#[derive(Debug)]
pub struct Known {
    aors: Box<[Mutex<Shard>]>,
    contacts: Box<[Mutex<Contacts>]>,
    /// Entries of one shard.
    max: usize,
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<Aor, Entry>,
    order: BTreeMap<u64, Aor>,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    targets: Vec<(UnixMillis, Target)>,
    /// What of this entry stands among the contacts.
    contacts: SmallVec<[SocketAddr; 1]>,
    /// Key in `order`.
    used: u64,
}

/// Contacts that are reached at the address that they name: requests inside dialogs without a Route may go there. One phone may have several
/// AoRs: counted.
type Contacts = HashMap<SocketAddr, (Peer, u32)>;

impl Known {
    /// Room for `max` AoRs.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let shards = (max / MIN_SHARD).clamp(1, MAX_SHARDS);
        Self {
            aors: (0..shards).map(|_| Mutex::default()).collect(),
            contacts: (0..shards).map(|_| Mutex::default()).collect(),
            max: max.div_ceil(shards),
        }
    }

    /// Everything that is bound to `aor` now.
    pub(crate) fn learn(&self, config: &EndpointConfig, aor: &Aor, targets: Vec<(UnixMillis, Target)>) {
        self.learn_in(&mut locked(&self.aors, aor), config, aor, targets);
    }

    /// As [`Self::learn`], from the answer to a REGISTER: most only prolong what is known, for which nothing is copied.
    pub(crate) fn learn_registered(&self, config: &EndpointConfig, aor: &Aor, bindings: &[Binding]) {
        let mut shard = locked(&self.aors, aor);
        let same = |t: &Target, b: &Binding| t.uri == b.uri && t.q == b.q && t.path == b.path && t.edge == b.edge && t.flow == b.flow;
        if !shard.refresh(aor, bindings, same, |binding| binding.expires_at) {
            let targets = bindings.iter().map(|binding| (binding.expires_at, binding.into())).collect();
            self.replace(&mut shard, config, aor, targets);
        }
    }

    /// As [`Self::learn`], from an answer that does not tell when the bindings end.
    pub(crate) fn learn_routed(&self, config: &EndpointConfig, now: UnixMillis, aor: &Aor, targets: &[Target]) {
        let until = now.after(ROUTED_TRUST);
        let mut shard = locked(&self.aors, aor);
        let expiry = |t: &Target| {
            let known = shard.entries.get(aor)?.targets.iter().find(|(_, k)| k.uri == t.uri && k.flow == t.flow)?;
            Some(known.0)
        };
        let targets = targets.iter().map(|t| (expiry(t).unwrap_or(until), t.clone())).collect();
        self.learn_in(&mut shard, config, aor, targets);
    }

    fn learn_in(&self, shard: &mut Shard, config: &EndpointConfig, aor: &Aor, targets: Vec<(UnixMillis, Target)>) {
        if !shard.refresh(aor, &targets, |known, (_, new)| known == new, |(until, _)| *until) {
            self.replace(shard, config, aor, targets);
        }
    }

    fn replace(&self, shard: &mut Shard, config: &EndpointConfig, aor: &Aor, targets: Vec<(UnixMillis, Target)>) {
        self.forget(shard, aor);
        if targets.is_empty() || self.max == 0 {
            return;
        }
        while shard.entries.len() >= self.max {
            let Some((_, oldest)) = shard.order.pop_first() else { break };
            self.forget(shard, &oldest);
        }
        let contacts = targets.iter().filter_map(|(_, target)| self.enter(config, target)).collect();
        shard.clock += 1;
        shard.order.insert(shard.clock, aor.clone());
        shard.entries.insert(aor.clone(), Entry { targets, contacts, used: shard.clock });
    }

    /// Contacts that should still be live.
    pub(crate) fn targets(&self, now: UnixMillis, aor: &Aor) -> Vec<Target> {
        let shard = locked(&self.aors, aor);
        let Some(entry) = shard.entries.get(aor) else { return Vec::new() };
        entry.targets.iter().filter(|(until, _)| *until > now).map(|(_, t)| t.clone()).collect()
    }

    /// The contact of an AoR that has but one.
    pub(crate) fn only_target(&self, aor: &Aor) -> Option<Target> {
        match locked(&self.aors, aor).entries.get(aor)?.targets.as_slice() {
            [(_, target)] => Some(target.clone()),
            _ => None,
        }
    }

    /// The way to a contact with this address.
    pub(crate) fn flow_of(&self, contact: SocketAddr) -> Option<Peer> {
        locked(&self.contacts, &contact).get(&contact).map(|(peer, _)| *peer)
    }

    /// Notes the contact's address. Contacts behind a NAT may have the same private address, and a connection
    /// has no second end: they are reached by the token of their call only.
    fn enter(&self, config: &EndpointConfig, target: &Target) -> Option<SocketAddr> {
        let contact = Uri::parse(target.uri.as_bytes()).and_then(|uri| addr_of(&uri))?;
        let peer = resolve(config, target).filter(|peer| peer.addr == contact && !config.transport(*peer).is_stream())?;
        locked(&self.contacts, &contact)
            .entry(contact)
            .and_modify(|(known, users)| (*known, *users) = (peer, *users + 1))
            .or_insert((peer, 1));
        Some(contact)
    }

    fn forget(&self, shard: &mut Shard, aor: &Aor) {
        let Some(entry) = shard.entries.remove(aor) else { return };
        shard.order.remove(&entry.used);
        for contact in entry.contacts {
            let mut contacts = locked(&self.contacts, &contact);
            match contacts.get_mut(&contact) {
                Some((_, users)) if *users > 1 => *users -= 1,
                _ => drop(contacts.remove(&contact)),
            }
        }
    }
}

impl Shard {
    /// Where the targets are the same, only times move. False: they are not.
    fn refresh<T>(&mut self, aor: &Aor, new: &[T], same: impl Fn(&Target, &T) -> bool, until: impl Fn(&T) -> UnixMillis) -> bool {
        let Some(entry) = self.entries.get_mut(aor) else { return false };
        if entry.targets.len() != new.len() || !entry.targets.iter().zip(new).all(|((_, known), new)| same(known, new)) {
            return false;
        }
        for (known, new) in entry.targets.iter_mut().zip(new) {
            known.0 = until(new);
        }
        self.clock += 1;
        if let Some(aor) = self.order.remove(&std::mem::replace(&mut entry.used, self.clock)) {
            self.order.insert(self.clock, aor);
        }
        true
    }
}

/// The shard of `key`. A panic while it was locked leaves it usable: what is remembered is at most not found.
fn locked<'a, T>(shards: &'a [Mutex<T>], key: &impl Hash) -> MutexGuard<'a, T> {
    let mut hasher = FxHasher::default();
    key.hash(&mut hasher);
    let at = (hasher.finish() >> 32) as usize % shards.len();
    shards[at].lock().unwrap_or_else(PoisonError::into_inner)
}
