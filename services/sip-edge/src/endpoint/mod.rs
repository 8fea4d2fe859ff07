//! The SIP behaviour of one worker, without I/O and without a clock.
//!
//! - [`dispatch`]: what a datagram is, and which part handles it
//! - [`local`]: requests that we answer ourselves, REGISTER among them; [`auth`] and [`registrar`] are its rules
//! - [`call`]: new requests for an AoR of ours: ask the coordinator, then fork or answer 480
//! - [`proxy`]: the branches of a request and the way of its answers back
//! - [`front`]: what is different where existing SIP servers are registrar and proxy
//! - [`relay`]: requests inside dialogs, by the signed token in our Record-Route
//! - [`recall`], [`recalls`]: REFERs of our own
//! - [`passing`]: what belongs to another edge behind the same address, or to another worker
//! - [`transactions`], [`timers`], [`table`], [`pending`], [`known`]: what is kept, all of it bounded

pub mod auth;
mod call;
pub mod config;
mod core;
mod dispatch;
mod front;
mod identity;
mod known;
mod local;
pub mod outbox;
mod passing;
mod pending;
mod probes;
mod proxy;
pub mod recall;
mod recalls;
pub mod registrar;
mod relay;
mod reply;
mod table;
mod target;
mod timers;
mod transactions;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use config::EndpointConfig;
pub(crate) use identity::DEFAULT_PORT;
pub use known::Known;
pub use outbox::{Outbox, Passed, Peer, Transmit};

use std::sync::Arc;
use std::time::{Duration, Instant};

use redial_core::UnixMillis;
use redial_core::link::{Failure, Order, Reply};
use sip_core::Index;

use crate::metrics::DropReason;
use core::Core;
use pending::Continuation;
use recall::Recalls;
use timers::Owner;
use transactions::client::Heard;

/// Both clocks, read once per batch by the worker.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub instant: Instant,
    pub unix: UnixMillis,
}

impl Now {
    /// How long ago that was.
    #[must_use]
    pub fn since(&self, then: Instant) -> Duration {
        self.instant.saturating_duration_since(then)
    }

    /// The wall clock's time of that moment in the past.
    #[must_use]
    pub fn unix_at(&self, then: Instant) -> UnixMillis {
        UnixMillis(self.unix.0.saturating_sub(u64::try_from(self.since(then).as_millis()).unwrap_or(u64::MAX)))
    }
}

/// Registrar, proxy and recalls of one worker. Owns its transactions; shared with other workers are only the config, counters and what [`known::Known`]
/// remembers.
#[derive(Debug)]
pub struct Endpoint {
    core: Core,
    recalls: Recalls,
    /// Scratch space for the message at hand.
    index: Index,
}

impl Endpoint {
    #[must_use]
    pub fn new(config: Arc<EndpointConfig>, worker: u8) -> Self {
        Self { recalls: Recalls::new(Arc::clone(&config), worker), core: Core::new(config, worker), index: Index::default() }
    }

    /// One received datagram.
    pub fn on_datagram(&mut self, now: Now, from: Peer, bytes: &[u8], out: &mut Outbox) {
        self.receive(now, from, bytes, out);
    }

    /// What was to go to `to` found no connection there. Whoever sent the request hears a 430 (RFC 5626 section 11.5) as if the phone had given it,
    /// this edge's client transaction or, by its branch, another edge's; else it would wait 32 s for nobody (RFC 3261 section 16.9).
    pub fn on_unreachable(&mut self, now: Now, to: Peer, bytes: &[u8], out: &mut Outbox) {
        self.flow_failed(now, to, bytes, out);
    }

    /// The coordinator answered request `id` (or the worker gave it up: `Reply::Failed`).
    pub fn on_reply(&mut self, now: Now, id: u64, reply: Reply, out: &mut Outbox) {
        let core = &mut self.core;
        let Some(continuation) = core.pending.take(id) else {
            // Nobody waits for the answer to a report.
            if reply != Reply::Noted {
                core.config.metrics.dropped(DropReason::LateReply);
            }
            return;
        };
        match continuation {
            Continuation::Register { server, aor } => core.on_registered(now, server, &aor, reply, out),
            Continuation::Route { server, route, since } => core.on_routed(now, server, since, *route, reply, out),
            Continuation::Locate { server, aor } => core.on_located(now, server, &aor, reply, out),
            Continuation::Upward { server, route, order, since } => core.on_upward(now, server, since, *route, order, reply, out),
            Continuation::Told => {}
            Continuation::Ringing { server } => core.on_ringing(server, reply),
            Continuation::Held { server, fork } => core.on_held(now, server, fork, reply, out),
            Continuation::Settled { result, since } => core.on_settled(now, since, result, reply, out),
            Continuation::Learned { server, register, code, bytes } => core.on_learned(now, server, *register, code, bytes, reply, out),
        }
    }

    pub fn on_order(&mut self, now: Now, order: Order, out: &mut Outbox) {
        self.order(now, order, out);
    }

    pub fn on_timer(&mut self, now: Now, out: &mut Outbox) {
        while let Some((at, owner)) = self.core.timers.pop(now.instant) {
            match owner {
                Owner::Server(id) => self.core.server_timer(now, at, id, out),
                Owner::Client(id) => {
                    if let Some(owner) = self.core.client_timer(now, at, id, out) {
                        self.heard(now, id, owner, Heard::Timeout, out);
                    }
                }
            }
        }
        while let Some(id) = self.core.pending.overdue(now.instant) {
            self.on_reply(now, id, Reply::Failed(Failure::Timeout), out);
        }
        self.core.check_upstreams(now, out);
        self.recall_timer(now, out);
    }

    /// Called once, before anything else.
    pub fn start(&mut self, now: Now) {
        if self.core.config.front.is_some() && self.core.worker == 0 {
            self.core.next_check = Some(now.instant);
        }
    }

    /// When `on_timer` wants to be called.
    #[must_use]
    pub fn next_timer(&self) -> Option<Instant> {
        [self.core.timers.next(), self.core.pending.next_timer(), self.recalls.next_timer(), self.core.next_check]
            .into_iter()
            .flatten()
            .min()
    }

    /// No transaction is open: a drain may end.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.core.is_idle() && self.recalls.is_idle()
    }

    /// Draining: new transactions that may be refused get 503 with Retry-After.
    pub fn drain(&mut self) {
        self.core.draining = true;
    }
}
