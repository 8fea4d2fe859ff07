//! Client machines.

use std::time::Instant;

use super::{Actions, Timers};

/// RFC 3261 section 17.1.1 with RFC 6026: Calling, Proceeding, Completed, Accepted.
#[derive(Debug)]
pub struct InviteClient {}

impl InviteClient {
    /// The request is sent at once: `actions` gets `Transmit`.
    pub fn new(_now: Instant, _timers: Timers, _actions: &mut Actions) -> Self {
        todo!()
    }
    pub fn on_response(&mut self, _now: Instant, _code: u16, _actions: &mut Actions) {
        todo!()
    }
    /// The transport failed: as Timer B.
    pub fn on_transport_error(&mut self, _now: Instant, _actions: &mut Actions) {
        todo!()
    }
    pub fn on_timer(&mut self, _now: Instant, _actions: &mut Actions) {
        todo!()
    }
    pub fn next_timer(&self) -> Option<Instant> {
        todo!()
    }
}

/// RFC 3261 section 17.1.2: Trying, Proceeding, Completed.
#[derive(Debug)]
pub struct NonInviteClient {}

impl NonInviteClient {
    pub fn new(_now: Instant, _timers: Timers, _actions: &mut Actions) -> Self {
        todo!()
    }
    pub fn on_response(&mut self, _now: Instant, _code: u16, _actions: &mut Actions) {
        todo!()
    }
    pub fn on_transport_error(&mut self, _now: Instant, _actions: &mut Actions) {
        todo!()
    }
    pub fn on_timer(&mut self, _now: Instant, _actions: &mut Actions) {
        todo!()
    }
    pub fn next_timer(&self) -> Option<Instant> {
        todo!()
    }
}
