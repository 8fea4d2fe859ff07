//! The INVITE client machine.

use std::time::{Duration, Instant};

use super::timers::{Retransmit, earlier};
use super::{Action, Actions, Timers};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Calling,
    Proceeding,
    Completed,
    Accepted,
    Terminated,
}

/// RFC 3261 section 17.1.1 with RFC 6026: Calling, Proceeding, Completed, Accepted.
///
/// Proceeding has no timer of its own: a proxy runs Timer C and then cancels, see [`InviteClient::cancelled`].
#[derive(Debug)]
pub struct InviteClient {
    state: State,
    timers: Timers,
    /// Timer A.
    retransmit: Option<Retransmit>,
    /// Timer B, D or M, or the limit of section 9.1 after a CANCEL.
    end: Option<Instant>,
}

impl InviteClient {
    /// The request is sent at once: `actions` gets `Transmit`.
    pub fn new(now: Instant, timers: Timers, actions: &mut Actions) -> Self {
        actions.push(Action::Transmit);
        Self { state: State::Calling, timers, retransmit: timers.retransmit(now), end: Some(now + timers.give_up()) }
    }

    /// A response with this transaction's branch. 2xx retransmissions are delivered: the user acknowledges each of them (RFC 6026).
    pub fn on_response(&mut self, now: Instant, code: u16, actions: &mut Actions) {
        match (self.state, code) {
            (State::Calling, 100..=199) => {
                self.state = State::Proceeding;
                self.retransmit = None;
                self.end = None;
                actions.push(Action::Deliver);
            }
            (State::Proceeding, 100..=199) | (State::Accepted, 200..=299) => actions.push(Action::Deliver),
            (State::Calling | State::Proceeding, 200..=299) => {
                self.finish(State::Accepted, now, self.timers.give_up());
                actions.push(Action::Deliver);
            }
            (State::Calling | State::Proceeding, 300..=699) => {
                actions.extend([Action::Deliver, Action::TransmitAck]);
                let d = self.timers.d();
                self.finish(State::Completed, now, d);
                if d.is_zero() {
                    self.terminate(actions);
                }
            }
            (State::Completed, 300..=699) => actions.push(Action::TransmitAck),
            _ => {}
        }
    }

    /// A CANCEL was sent. If no final response comes within 64*T1 the transaction counts as cancelled (RFC 3261 section 9.1): `Timeout`.
    /// Only after a provisional response; before it, section 9.1 forbids the CANCEL and Timer B runs.
    pub fn cancelled(&mut self, now: Instant) {
        if self.state == State::Proceeding && self.end.is_none() {
            self.end = Some(now + self.timers.give_up());
        }
    }

    /// The transport failed: as Timer B. Once anything was received it is ignored, because the peer was reached and its final response may
    /// come by another connection.
    pub fn on_transport_error(&mut self, _now: Instant, actions: &mut Actions) {
        match self.state {
            State::Calling => {
                actions.push(Action::Timeout);
                self.terminate(actions);
            }
            // Only the ACK can have failed, and the user has its final response already.
            State::Completed => self.terminate(actions),
            State::Proceeding | State::Accepted | State::Terminated => {}
        }
    }

    /// Fires what is due at `now`.
    pub fn on_timer(&mut self, now: Instant, actions: &mut Actions) {
        if self.end.is_some_and(|end| end <= now) {
            if matches!(self.state, State::Calling | State::Proceeding) {
                actions.push(Action::Timeout);
            }
            self.terminate(actions);
        } else if self.retransmit.as_mut().is_some_and(|a| a.fire(now, Duration::MAX)) {
            actions.push(Action::Transmit);
        }
    }

    #[must_use]
    pub fn next_timer(&self) -> Option<Instant> {
        earlier(self.retransmit, self.end)
    }

    fn finish(&mut self, state: State, now: Instant, linger: Duration) {
        self.state = state;
        self.retransmit = None;
        self.end = Some(now + linger);
    }

    fn terminate(&mut self, actions: &mut Actions) {
        self.state = State::Terminated;
        self.retransmit = None;
        self.end = None;
        actions.push(Action::Terminate);
    }
}
