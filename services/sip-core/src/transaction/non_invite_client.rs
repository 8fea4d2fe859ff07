//! The client machine of every method but INVITE and ACK.

use std::time::Instant;

use super::timers::{Retransmit, earlier};
use super::{Action, Actions, Timers};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

/// RFC 3261 section 17.1.2: Trying, Proceeding, Completed. It always ends by itself: Timer F runs through Proceeding too.
#[derive(Debug)]
pub struct NonInviteClient {
    state: State,
    timers: Timers,
    /// Timer E.
    retransmit: Option<Retransmit>,
    /// Timer F or K.
    end: Option<Instant>,
}

impl NonInviteClient {
    /// The request is sent at once: `actions` gets `Transmit`.
    pub fn new(now: Instant, timers: Timers, actions: &mut Actions) -> Self {
        actions.push(Action::Transmit);
        Self { state: State::Trying, timers, retransmit: timers.retransmit(now), end: Some(now + timers.give_up()) }
    }

    /// A response with this transaction's branch and method.
    pub fn on_response(&mut self, now: Instant, code: u16, actions: &mut Actions) {
        match (self.state, code) {
            (State::Trying, 100..=199) => {
                self.state = State::Proceeding;
                actions.push(Action::Deliver);
            }
            (State::Proceeding, 100..=199) => actions.push(Action::Deliver),
            (State::Trying | State::Proceeding, 200..=699) => {
                actions.push(Action::Deliver);
                self.state = State::Completed;
                self.retransmit = None;
                let k = self.timers.i_or_k();
                self.end = Some(now + k);
                if k.is_zero() {
                    self.terminate(actions);
                }
            }
            _ => {}
        }
    }

    /// The transport failed: as Timer F.
    pub fn on_transport_error(&mut self, _now: Instant, actions: &mut Actions) {
        if matches!(self.state, State::Trying | State::Proceeding) {
            actions.push(Action::Timeout);
            self.terminate(actions);
        }
    }

    /// Fires what is due at `now`.
    pub fn on_timer(&mut self, now: Instant, actions: &mut Actions) {
        if self.end.is_some_and(|end| end <= now) {
            if matches!(self.state, State::Trying | State::Proceeding) {
                actions.push(Action::Timeout);
            }
            self.terminate(actions);
            return;
        }
        let (t2, proceeding) = (self.timers.t2, self.state == State::Proceeding);
        if let Some(e) = &mut self.retransmit {
            // In Proceeding every further interval is T2 (section 17.1.2.2); doubling T2 under the cap of T2 gives it.
            if proceeding && e.at <= now {
                e.next_interval(t2);
            }
            if e.fire(now, t2) {
                actions.push(Action::Transmit);
            }
        }
    }

    #[must_use]
    pub fn next_timer(&self) -> Option<Instant> {
        earlier(self.retransmit, self.end)
    }

    fn terminate(&mut self, actions: &mut Actions) {
        self.state = State::Terminated;
        self.retransmit = None;
        self.end = None;
        actions.push(Action::Terminate);
    }
}
