//! The SIP behaviour of one worker, without I/O and without a clock.

pub mod auth;
pub mod config;
#[cfg(test)]
mod fixture;
pub mod outbox;
pub mod recall;
pub mod registrar;

pub use config::EndpointConfig;
pub use outbox::{Outbox, Peer, Transmit};

use std::sync::Arc;
use std::time::Instant;

use redial_core::UnixMillis;
use redial_core::link::{Order, Reply};

/// Both clocks, read once per batch by the worker.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub instant: Instant,
    pub unix: UnixMillis,
}

/// Registrar, proxy and recalls of one worker. Owns its transactions; nothing is shared with other workers but the config and counters.
#[derive(Debug)]
pub struct Endpoint {}

impl Endpoint {
    pub fn new(_config: Arc<EndpointConfig>, _worker: u8) -> Self {
        todo!()
    }
    /// One received datagram.
    pub fn on_datagram(&mut self, _now: Now, _from: Peer, _bytes: &[u8], _out: &mut Outbox) {
        todo!()
    }
    /// The coordinator answered request `id` (or the worker gave it up: `Reply::Failed`).
    pub fn on_reply(&mut self, _now: Now, _id: u64, _reply: Reply, _out: &mut Outbox) {
        todo!()
    }
    pub fn on_order(&mut self, _now: Now, _order: Order, _out: &mut Outbox) {
        todo!()
    }
    pub fn on_timer(&mut self, _now: Now, _out: &mut Outbox) {
        todo!()
    }
    /// When `on_timer` wants to be called.
    pub fn next_timer(&self) -> Option<Instant> {
        todo!()
    }
    /// No transaction is open: a drain may end.
    pub fn is_idle(&self) -> bool {
        todo!()
    }
    /// Draining: new transactions that may be refused get 503 with Retry-After.
    pub fn drain(&mut self) {
        todo!()
    }
}
