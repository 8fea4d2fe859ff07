//! The INVITE server machine.

use std::time::{Duration, Instant};

use super::timers::{Retransmit, earlier};
use super::{Action, Actions, Timers};

/// RFC 3261 section 17.2.1: a 100 goes out unless another response is there within this time.
const TRYING: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Proceeding,
    Completed,
    Confirmed,
    Accepted,
    Terminated,
}

/// RFC 3261 section 17.2.1 with RFC 6026: Proceeding, Completed, Confirmed, Accepted.
///
/// It makes no 100 of its own but says when one is due: 200 ms after the INVITE, so that a request that is answered at once costs one response
/// and not two. Proceeding ends only by the user's final response. A failed transport changes nothing (RFC 6026): the timers end the machine.
#[derive(Debug)]
pub struct InviteServer {
    state: State,
    timers: Timers,
    /// When a 100 is due; None once the user has given a response, which answers retransmissions too.
    trying: Option<Instant>,
    /// Timer G.
    retransmit: Option<Retransmit>,
    /// Timer H, I or L.
    end: Option<Instant>,
}

impl InviteServer {
    #[must_use]
    pub fn new(now: Instant, timers: Timers) -> Self {
        Self { state: State::Proceeding, timers, trying: Some(now + TRYING), retransmit: None, end: None }
    }

    /// When the user should send a 100 unless it has given another response by then; None when it has.
    #[must_use]
    pub fn trying_due(&self) -> Option<Instant> {
        self.trying
    }

    /// The INVITE again.
    pub fn on_retransmission(&mut self, _now: Instant, actions: &mut Actions) {
        let repeat = match self.state {
            State::Proceeding => self.trying.is_none(),
            State::Completed => true,
            // A 2xx is repeated by whoever made it, end to end.
            State::Accepted | State::Confirmed | State::Terminated => false,
        };
        if repeat {
            actions.push(Action::Transmit);
        }
    }

    /// An ACK with the INVITE's branch: for a non-2xx it is absorbed. With a 2xx's branch only broken clients send it; the user gets it
    /// (RFC 6026).
    pub fn on_ack(&mut self, now: Instant, actions: &mut Actions) {
        match self.state {
            State::Completed => {
                let i = self.timers.i_or_k();
                self.state = State::Confirmed;
                self.retransmit = None;
                self.end = Some(now + i);
                if i.is_zero() {
                    self.terminate(actions);
                }
            }
            State::Accepted => actions.push(Action::Deliver),
            State::Proceeding | State::Confirmed | State::Terminated => {}
        }
    }

    /// The user answers; the new response is the stored message from now on. False: too late, it must not be sent.
    #[must_use]
    pub fn respond(&mut self, now: Instant, code: u16, actions: &mut Actions) -> bool {
        match (self.state, code) {
            (State::Proceeding, 100..=199) => {}
            (State::Proceeding, 200..=299) => {
                self.state = State::Accepted;
                self.end = Some(now + self.timers.give_up());
            }
            (State::Proceeding, 300..=699) => {
                self.state = State::Completed;
                self.retransmit = self.timers.retransmit(now);
                self.end = Some(now + self.timers.give_up());
            }
            (State::Accepted, 200..=299) => {}
            _ => return false,
        }
        self.trying = None;
        actions.push(Action::Transmit);
        true
    }

    /// Fires what is due at `now`.
    pub fn on_timer(&mut self, now: Instant, actions: &mut Actions) {
        if self.end.is_some_and(|end| end <= now) {
            if self.state == State::Completed {
                actions.push(Action::Timeout);
            }
            self.terminate(actions);
        } else if self.retransmit.as_mut().is_some_and(|g| g.fire(now, self.timers.t2)) {
            actions.push(Action::Transmit);
        }
    }

    /// But for [`Self::trying_due`].
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
