//! The other edges of the installation: which of them are there, who owns what, and how a datagram is passed.
//!
//! A load balancer may give every datagram of a phone to another edge behind the advertised address, and it lets an answer out only by the edge that the
//! phone's datagram came to. Hence two directions. What came in and belongs to another edge is passed to it, once: a response by the edge in its Via
//! branch, a request inside a recall's dialog by the edge in its tag, any other request by [`Share`], because nothing in it names an owner yet. And what is to
//! go out to a phone leaves by the edge that the phone is reached by.
//!
//! Edges with addresses of their own share no transactions: phones do not change between them. They still send to each other's phones for each other.
//! Who is there is known by [`Beat`]s and not by the list of members alone: to share with an edge that is gone would lose its share of all calls.

mod beat;
pub(crate) mod port;
mod service;
pub mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use redial_core::EdgeId;
use redial_runtime::discovery::Member;
use sip_core::Message;
use sip_core::routing::{EdgeTag, Share};
use tokio::sync::Notify;

pub use beat::Beat;
pub(crate) use beat::keep_beating;

use crate::endpoint::config::Listener;

/// An edge that was silent for so long is gone: four beats.
const SILENCE: Duration = Duration::from_secs(2);

/// What all workers know of the other edges.
#[derive(Debug)]
pub struct Peers {
    pub(crate) own: EdgeTag,
    name: EdgeId,
    pub(crate) key: wire::Key,
    /// Of [`Share`].
    seed: u64,
    /// Hash of what phones are told to send to.
    address: u64,
    workers: u8,
    start: Instant,
    draining: AtomicBool,
    view: ArcSwap<View>,
    reviewing: Mutex<()>,
    /// A beat is due before its time.
    nudge: Notify,
}

/// The other edges at one time.
#[derive(Debug, Default)]
struct View {
    members: Vec<Arc<Other>>,
    /// Those of the members that were heard lately.
    live: Vec<Arc<Other>>,
    /// Who shares the transactions at our address, this edge included. Empty: nobody but us.
    sharing: Vec<EdgeTag>,
}

#[derive(Debug)]
struct Other {
    tag: EdgeTag,
    edge: EdgeId,
    addr: SocketAddr,
    /// Milliseconds from the start; 0: never.
    heard: AtomicU64,
    address: AtomicU64,
    draining: AtomicBool,
}

/// Who handles a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) edge: EdgeTag,
    pub(crate) worker: u8,
}

impl Peers {
    /// Knows nobody yet.
    #[must_use]
    pub fn new(secret: &[u8; 32], name: &EdgeId, listeners: &[Listener], workers: u8, now: Instant) -> Self {
        let seed = u64::from(EdgeTag::of(secret, "shares a").0) << 32 | u64::from(EdgeTag::of(secret, "shares b").0);
        let text: String = listeners.iter().map(|l| format!("{l} ")).collect();
        let address = u64::from(EdgeTag::of(secret, &text).0);
        Self {
            own: EdgeTag::of(secret, name.as_str()),
            name: name.clone(),
            key: wire::Key::new(secret),
            seed,
            address,
            workers,
            start: now,
            draining: AtomicBool::new(false),
            view: ArcSwap::default(),
            reviewing: Mutex::default(),
            nudge: Notify::new(),
        }
    }

    /// Where a live edge takes datagrams from us.
    pub(crate) fn addr(&self, edge: EdgeTag) -> Option<SocketAddr> {
        self.view.load().live.iter().find(|other| other.tag == edge).map(|other| other.addr)
    }

    pub(crate) fn is_live(&self, edge: EdgeTag) -> bool {
        self.view.load().live.iter().any(|other| other.tag == edge)
    }

    /// The name of an edge that is listed. It may be silent, or not have been heard yet: who sends to its phones looks again each time.
    pub(crate) fn name_of(&self, edge: EdgeTag) -> Option<EdgeId> {
        self.view.load().members.iter().find(|other| other.tag == edge).map(|other| other.edge.clone())
    }

    /// Its tag.
    pub(crate) fn tag_of(&self, edge: &EdgeId) -> Option<EdgeTag> {
        self.view.load().members.iter().find(|other| other.edge == *edge).map(|other| other.tag)
    }

    /// Another edge answers at the address that our phones send to.
    pub(crate) fn is_shared(&self) -> bool {
        !self.view.load().sharing.is_empty()
    }

    /// Who handles a request that came to our address and that no table knows. None: whoever it came to.
    pub(crate) fn owner(&self, request: Message<'_>) -> Option<Owner> {
        let view = self.view.load();
        if view.sharing.is_empty() {
            return None;
        }
        let share = Share::of(request, self.seed)?;
        Some(Owner { edge: share.pick(&view.sharing)?, worker: share.worker(self.workers) })
    }

    /// Which of our workers handles a request that another edge has passed to us.
    pub(crate) fn worker(&self, request: Message<'_>) -> Option<u8> {
        Some(Share::of(request, self.seed)?.worker(self.workers))
    }

    /// Takes no new transactions from now on: the others hear of it at once.
    pub(crate) fn drain(&self, now: Instant) {
        self.draining.store(true, Relaxed);
        self.review(now);
        self.nudge.notify_one();
    }

    /// Edges that are listed, and those of them that are heard.
    pub(crate) fn count(&self) -> (usize, usize) {
        let view = self.view.load();
        (view.members.len(), view.live.len())
    }

    /// What the next beat says.
    pub(crate) fn says(&self, leaving: bool) -> Beat {
        Beat { address: self.address, draining: self.draining.load(Relaxed), leaving }
    }

    /// A beat of another edge. Edges that are not listed (yet) are not listened to.
    pub(crate) fn heard(&self, now: Instant, from: EdgeTag, beat: Beat) {
        let view = self.view.load();
        let Some(other) = view.members.iter().find(|other| other.tag == from) else { return };
        other.heard.store(if beat.leaving { 0 } else { self.millis(now).max(1) }, Relaxed);
        let moved = other.address.swap(beat.address, Relaxed) != beat.address;
        let changed = other.draining.swap(beat.draining, Relaxed) != beat.draining;
        let is_new = !view.live.iter().any(|live| live.tag == from);
        if moved || changed || is_new || beat.leaving {
            self.review(now);
        }
        if is_new && !beat.leaving {
            // It has just started, perhaps, and wants to know who is there.
            self.nudge.notify_one();
        }
    }

    /// The members as they are now; those that stay keep what is known of them.
    pub(crate) fn enlist(&self, now: Instant, secret: &[u8], members: &[Member]) {
        let reviewing = self.reviewing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.view.load();
        let mut new: Vec<Arc<Other>> = Vec::with_capacity(members.len());
        for member in members.iter().filter(|member| member.name != self.name.as_str()) {
            let tag = EdgeTag::of(secret, &member.name);
            if tag == self.own || new.iter().any(|other| other.tag == tag) {
                tracing::error!(edge = member.name, "has the same tag as another edge and is left out; give it another name");
                continue;
            }
            let known = old.members.iter().find(|other| other.tag == tag && other.addr == member.addr);
            new.push(known.cloned().unwrap_or_else(|| {
                let (edge, addr) = (EdgeId::new(member.name.as_str()), member.addr);
                Arc::new(Other { tag, edge, addr, heard: 0.into(), address: 0.into(), draining: false.into() })
            }));
        }
        let (live, sharing) = (old.live.clone(), old.sharing.clone());
        self.view.store(Arc::new(View { members: new, live, sharing }));
        drop(reviewing);
        self.review(now);
    }

    /// Looks who is there.
    pub(crate) fn review(&self, now: Instant) {
        let _one_at_a_time = self.reviewing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.view.load();
        let now = self.millis(now);
        let is_live = |other: &&Arc<Other>| match other.heard.load(Relaxed) {
            0 => false,
            heard => now.saturating_sub(heard) < SILENCE.as_millis() as u64,
        };
        let live: Vec<Arc<Other>> = old.members.iter().filter(is_live).cloned().collect();
        let shares = |other: &&Arc<Other>| other.address.load(Relaxed) == self.address && !other.draining.load(Relaxed);
        let mut sharing: Vec<EdgeTag> = live.iter().filter(shares).map(|other| other.tag).collect();
        if !sharing.is_empty() && !self.draining.load(Relaxed) {
            sharing.push(self.own);
        }
        let is_same =
            |a: &[Arc<Other>], b: &[Arc<Other>]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.tag == b.tag && a.addr == b.addr);
        if is_same(&live, &old.live) && sharing == old.sharing {
            return;
        }
        for gone in old.live.iter().filter(|old| live.iter().all(|new| new.tag != old.tag)) {
            if gone.heard.load(Relaxed) == 0 {
                tracing::info!(edge = gone.edge.as_str(), addr = %gone.addr, "peer edge has left");
            } else {
                tracing::warn!(edge = gone.edge.as_str(), addr = %gone.addr, "peer edge is silent; its phones are sent to from here");
            }
        }
        for found in live.iter().filter(|new| old.live.iter().all(|old| old.tag != new.tag)) {
            let shared = found.address.load(Relaxed) == self.address;
            tracing::info!(edge = found.edge.as_str(), addr = %found.addr, shared, "peer edge is there");
        }
        self.view.store(Arc::new(View { members: old.members.clone(), live, sharing }));
    }

    fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_millis() as u64
    }
}

#[cfg(test)]
mod tests;
