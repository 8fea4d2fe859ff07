//! Server machines.

use std::time::Instant;

use super::{Actions, Timers};

/// RFC 3261 section 17.2.1 with RFC 6026: Proceeding, Completed, Confirmed, Accepted.
#[derive(Debug)]
pub struct InviteServer {}

impl InviteServer {
    pub fn new(_now: Instant, _timers: Timers) -> Self {
        todo!()
    }
    /// The INVITE again.
    pub fn on_retransmission(&mut self, _now: Instant, _actions: &mut Actions) {
        todo!()
    }
    /// An ACK with the INVITE's branch (for a non-2xx).
    pub fn on_ack(&mut self, _now: Instant, _actions: &mut Actions) {
        todo!()
    }
    /// The user answers; the new response is the stored message from now on. False: too late, it must not be sent.
    pub fn respond(&mut self, _now: Instant, _code: u16, _actions: &mut Actions) -> bool {
        todo!()
    }
    pub fn on_timer(&mut self, _now: Instant, _actions: &mut Actions) {
        todo!()
    }
    pub fn next_timer(&self) -> Option<Instant> {
        todo!()
    }
}

/// RFC 3261 section 17.2.2 with RFC 4320: no 1xx but 100 over a reliable transport, no 408.
#[derive(Debug)]
pub struct NonInviteServer {}

impl NonInviteServer {
    pub fn new(_now: Instant, _timers: Timers) -> Self {
        todo!()
    }
    pub fn on_retransmission(&mut self, _now: Instant, _actions: &mut Actions) {
        todo!()
    }
    pub fn respond(&mut self, _now: Instant, _code: u16, _actions: &mut Actions) -> bool {
        todo!()
    }
    pub fn on_timer(&mut self, _now: Instant, _actions: &mut Actions) {
        todo!()
    }
    pub fn next_timer(&self) -> Option<Instant> {
        todo!()
    }
}
