//! The server machine of every method but INVITE and ACK.

use std::time::Instant;

use super::{Action, Actions, Timers};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

/// RFC 3261 section 17.2.2 with RFC 4320: no 1xx but 100, that over an unreliable transport not before the client's Timer E has reached T2, no 408,
/// and nothing after the client's Timer F has fired. At that moment a machine without a final response ends silently.
#[derive(Debug)]
pub struct NonInviteServer {
    state: State,
    timers: Timers,
    created: Instant,
    /// The client's Timer F while there is no final response, then Timer J.
    end: Option<Instant>,
}

impl NonInviteServer {
    #[must_use]
    pub fn new(now: Instant, timers: Timers) -> Self {
        Self { state: State::Trying, timers, created: now, end: Some(now + timers.give_up()) }
    }

    /// The request again.
    pub fn on_retransmission(&mut self, _now: Instant, actions: &mut Actions) {
        if matches!(self.state, State::Proceeding | State::Completed) {
            actions.push(Action::Transmit);
        }
    }

    /// The user answers; the new response is the stored message from now on. False: it must not be sent, drop it.
    #[must_use]
    pub fn respond(&mut self, now: Instant, code: u16, actions: &mut Actions) -> bool {
        let open = matches!(self.state, State::Trying | State::Proceeding) && self.end.is_some_and(|f| now < f);
        match code {
            100 if open && (self.timers.reliable || now >= self.created + self.timers.until_t2()) => {
                self.state = State::Proceeding;
                actions.push(Action::Transmit);
            }
            408 => return false,
            200..=699 if open => {
                self.state = State::Completed;
                actions.push(Action::Transmit);
                let j = self.timers.j();
                self.end = Some(now + j);
                if j.is_zero() {
                    self.terminate(actions);
                }
            }
            _ => return false,
        }
        true
    }

    /// When the user should send a 100 if it still has no final response (RFC 4320 section 4.1). None: a response was sent.
    #[must_use]
    pub fn trying_due(&self) -> Option<Instant> {
        (self.state == State::Trying).then(|| self.created + self.timers.until_t2())
    }

    /// Fires what is due at `now`.
    pub fn on_timer(&mut self, now: Instant, actions: &mut Actions) {
        if self.end.is_some_and(|end| end <= now) {
            self.terminate(actions);
        }
    }

    #[must_use]
    pub fn next_timer(&self) -> Option<Instant> {
        self.end
    }

    fn terminate(&mut self, actions: &mut Actions) {
        self.state = State::Terminated;
        self.end = None;
        actions.push(Action::Terminate);
    }
}
