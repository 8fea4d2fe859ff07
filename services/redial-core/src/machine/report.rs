//! What edges report about recalls and calls.

use super::{Case, Decision, Input, UNDELIVERED_WAIT};
use crate::link::{CallResult, RecallResult};
use crate::policy::{EndOn, Fanout, OnDecline};
use crate::store::Turn;
use crate::watch::{EndReason, State, Watch};
use crate::{Fence, backoff};

impl Case<'_> {
    /// Reports that end the watch whatever the time is: the call was made, given up or declined, and saying `expired` would be wrong.
    pub(super) fn conclusive(self, input: &Input) -> Option<Decision> {
        match *input {
            Input::Cancel => Some(self.end(EndReason::Cancelled, Turn::Release)),
            // Nothing more can be done after a message; what the policy says of accepted recalls is about calls.
            Input::Recall { fence, rung: 4, result: RecallResult::Accepted }
                if self.policy.ladder.last() == Some(&4) && self.is_claim(fence, 4) =>
            {
                let until = self.now.after(self.policy.recall_timeout);
                Some(self.end(EndReason::Notified, self.turn_until(until)))
            }
            // A NOTIFY may overtake its 202; one of success says that the recall was taken as well.
            Input::Recall { fence, rung, result: RecallResult::Accepted | RecallResult::Notified(..300) }
                if self.policy.end_on == EndOn::ReferSent && self.is_claim(fence, rung) =>
            {
                let until = self.now.after(self.policy.recall_timeout);
                Some(self.end(EndReason::Recalled, self.turn_until(until)))
            }
            Input::Call { fence, result } => self.conclusive_call(fence, result),
            _ => None,
        }
    }

    fn conclusive_call(self, fence: Fence, result: CallResult) -> Option<Decision> {
        match result {
            // An answered call between the pair connects it, whichever of its calls that was: any fence that this record has had.
            CallResult::Established if self.has_had(fence) => {
                let until = self.now.after(self.policy.turn_max);
                Some(self.end(EndReason::Connected, self.turn_until(until)))
            }
            CallResult::Ended if self.has_had(fence) && matches!(self.watch.state, State::Calling { .. }) => {
                Some(self.end(EndReason::Connected, Turn::Release))
            }
            CallResult::Cancelled if self.is_call(fence) => Some(self.end(EndReason::Cancelled, Turn::Release)),
            // 6xx: the callee does not want to be called (RFC 3261 section 21.6).
            CallResult::Failed(600..) if self.is_call(fence) => Some(self.end(EndReason::Failed, Turn::Release)),
            _ => None,
        }
    }

    pub(super) fn call_report(self, fence: Fence, result: CallResult) -> Decision {
        match result {
            CallResult::Failed(_) if self.is_call(fence) => self.attempt_failed(),
            // The call with the password is awaited like the one that the phone was asked to make.
            CallResult::Challenged(_) if self.is_call(fence) => self.calling(self.policy.recall_timeout),
            _ => Decision::Nothing,
        }
    }

    pub(super) fn recall_report(self, fence: Fence, rung: u8, result: RecallResult) -> Decision {
        if self.is_claim(fence, rung) {
            return match result {
                RecallResult::Accepted => {
                    let until = self.now.after(self.policy.recall_timeout);
                    self.step(self.next(State::Recalling { rung, until }), until, self.keep_turn(until))
                }
                RecallResult::Refused(_) => self.next_rung(rung),
                RecallResult::Unreachable => self.caller_gone(),
                RecallResult::Silent => self.ask_otherwise(rung),
                RecallResult::Unanswered => self.attempt_failed(),
                RecallResult::Declined(_) => match self.policy.on_decline {
                    OnDecline::Cancel => self.end(EndReason::Cancelled, Turn::Release),
                    OnDecline::Retry => self.attempt_failed(),
                },
                // A NOTIFY may overtake its 202: a failed call is as good as the answer, a success says only that the recall was taken.
                RecallResult::Notified(300..) => self.attempt_failed(),
                RecallResult::Notified(_) => self.recall_report(fence, rung, RecallResult::Accepted),
            };
        }
        match result {
            RecallResult::Notified(300..) if self.is_recall(fence, rung) => self.attempt_failed(),
            _ => Decision::Nothing,
        }
    }

    /// Nobody has heard of the order, so the claim is given back at once instead of lasting for its lease, and no attempt is counted.
    pub(super) fn undelivered(self, fence: Fence) -> Decision {
        if self.watch.fence != fence || !matches!(self.watch.state, State::Claimed { .. }) {
            return Decision::Nothing;
        }
        let not_before = self.now.after(UNDELIVERED_WAIT);
        self.step(Watch { not_before, ..self.next(State::Armed) }, not_before, Turn::Release)
    }

    /// The phone said nothing. It may be off, or what it was asked by may be dropped, as some do with every REFER: the next rung that asks by
    /// another request tells the one from the other. Nothing of the silent order is sent any more, so the caller is not asked twice at a time (P3).
    fn ask_otherwise(self, rung: u8) -> Decision {
        let is_refer = |rung: u8| rung <= 2;
        let above = self.policy.ladder.iter().skip_while(|r| **r != rung).skip(1);
        match above.copied().find(|r| !(is_refer(*r) && is_refer(rung))) {
            Some(other) => self.claim(other, self.watch.attempts),
            None => self.caller_gone(),
        }
    }

    /// The caller could not be reached. No attempt is counted, and no further one is made before the caller registers, or, should the
    /// same binding still be all there is, after a wait that grows with every try: each was a claim and its end, two steps of the fence, and one
    /// that went on to further rungs counts for more.
    fn caller_gone(self) -> Decision {
        let steps = self.watch.fence.0.saturating_sub(self.watch.armed_at.0);
        let tries = u32::try_from(steps.div_ceil(2)).unwrap_or(u32::MAX);
        let wait = backoff::delay(self.policy.retry_initial, self.policy.retry_max, tries).max(UNDELIVERED_WAIT);
        let not_before = self.now.after(wait);
        self.step(Watch { parked: true, not_before, ..self.next(State::Armed) }, not_before, Turn::Release)
    }

    /// `fence` belongs to the order that is out now.
    fn is_claim(self, fence: Fence, rung: u8) -> bool {
        self.watch.fence == fence && matches!(self.watch.state, State::Claimed { rung: now, .. } if now == rung)
    }

    /// `fence` belongs to the order that the caller's phone accepted: accepting it was the one step since.
    fn is_recall(self, fence: Fence, rung: u8) -> bool {
        fence.0.checked_add(1) == Some(self.watch.fence.0) && matches!(self.watch.state, State::Recalling { rung: now, .. } if now == rung)
    }

    fn is_call(self, fence: Fence) -> bool {
        self.watch.fence == fence && matches!(self.watch.state, State::Calling { .. })
    }

    /// This record, not an earlier one of the pair, has had this fence, and not for a call before the latest miss: the first is its arming time.
    fn has_had(self, fence: Fence) -> bool {
        (self.watch.armed_at.0.max(self.watch.past.0)..=self.watch.fence.0).contains(&fence.0)
    }

    fn turn_until(self, until: crate::UnixMillis) -> Turn {
        match self.policy.fanout {
            // One that is held since the policy was fifo.
            Fanout::All => Turn::Release,
            Fanout::Fifo => Turn::Keep { until },
        }
    }
}
