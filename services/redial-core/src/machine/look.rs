//! Somebody looks at a watch, and what an INVITE of the caller means for it.

use std::time::Duration;

use super::{Case, Decision, Situation};
use crate::UnixMillis;
use crate::store::Turn;
use crate::watch::{EndReason, State, Watch};

impl Case<'_> {
    /// The deadline has not passed.
    pub(super) fn look(self, at: Situation) -> Decision {
        match self.watch.state {
            State::Armed => self.look_armed(at),
            State::Claimed { lease_until: until, .. } | State::Recalling { until, .. } | State::Calling { until, .. }
                if self.now < until =>
            {
                self.wait(until)
            }
            // The call's outcome was never reported: an edge or the way to it is gone.
            State::Calling { .. } => self.attempt_failed(),
            _ if !at.callee_online => self.rest(false),
            _ if !at.caller_online => self.rest(true),
            State::Claimed { rung, .. } => self.claim_again(rung),
            State::Recalling { rung, .. } => self.next_rung(rung),
        }
    }

    fn look_armed(self, at: Situation) -> Decision {
        let w = self.watch;
        let returned = w.parked && at.caller_returned;
        if !at.callee_online {
            // A parked watch whose caller is back waits for the callee again.
            if returned {
                return self.rest(false);
            }
            // Nobody is asked whether the callee is there for a caller who is not.
            let due = if w.parked { w.deadline } else { self.away_until(w.deadline) };
            return Decision::Wait { due, recheck: true };
        }
        if self.now < w.not_before && !returned {
            return self.wait(if w.parked && !at.caller_online { w.deadline } else { w.not_before });
        }
        if !at.caller_online {
            return if w.parked { self.wait(w.deadline) } else { self.rest(true) };
        }
        // A phone that has changed its ways since is asked from the first rung on when this attempt has failed.
        let ladder = &self.policy.ladder;
        let learned = at.learned.filter(|rung| w.attempts == 0 && ladder.contains(rung));
        match learned.as_ref().or(ladder.first()) {
            Some(&rung) => self.claim(rung, w.attempts),
            None => self.wait(w.deadline),
        }
    }

    /// The lease ran out without a word. The recall may have been made, so it counts as an attempt; otherwise an edge that never
    /// reports would be asked for ever.
    fn claim_again(self, rung: u8) -> Decision {
        let attempts = self.watch.attempts.saturating_add(1);
        if attempts >= self.policy.max_attempts {
            return self.end(EndReason::Failed, Turn::Release);
        }
        self.claim(rung, attempts)
    }

    /// The caller dials and the callee is there: by our recall or by itself (rung 0). The outcome is awaited for so long.
    pub(super) fn calling(self, time: Duration) -> Decision {
        let rung = match self.watch.state {
            State::Armed => 0,
            State::Claimed { rung, .. } | State::Recalling { rung, .. } | State::Calling { rung, .. } => rung,
        };
        let until = self.now.after(time);
        self.step(self.next(State::Calling { rung, until }), until, self.keep_turn(until))
    }

    /// The caller dials and the callee is gone (again). An armed watch gets the new period; one in recall keeps the remaining time of
    /// its own, unless that has passed. The place in the queue stays.
    pub(super) fn callee_offline(self, granted: UnixMillis) -> Decision {
        let w = self.watch;
        let renewed = w.state == State::Armed || self.now >= w.deadline;
        let (deadline, attempts) = if renewed { (granted, 0) } else { (w.deadline, w.attempts) };
        if self.now >= deadline {
            return self.end(EndReason::Expired, Turn::Release);
        }
        // Backing off is over: the callee will have come back when the next recall is made.
        let mut next = Watch { deadline, attempts, not_before: self.now, ..self.next(State::Armed) };
        if matches!(w.state, State::Calling { .. }) {
            next.past = next.fence;
        }
        Decision::Step { step: self.change(next, self.away_until(deadline), Turn::Release), order: None, recheck: true }
    }
}
