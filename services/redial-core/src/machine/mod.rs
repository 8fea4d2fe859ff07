//! The life of a watch as a pure function: `(now, policy, watch, input) -> decision`.
//!
//! `armed -> claimed -> recalling -> calling -> ended`, back to `armed` when a recall or the call fails while time and attempts
//! remain. The caller of [`on`] loads the record, asks, and carries the decision out with the store's compare-and-set; a decision
//! that lost the race is thrown away. Three rules make that safe:
//!
//! - Every step raises the fence by one. A report names the fence of the order or call it belongs to, so a late one is recognised.
//! - A recall is ordered only by a step into `Claimed`, and only while no other order of this watch can still be under way: the old
//!   one was answered, overtaken by the caller, or its time is up (P3).
//! - `due` is never later than the deadline, and nothing is ordered at or after the deadline (P4).

mod look;
mod report;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use crate::link::{CallResult, RecallResult, TRANSFER};
use crate::policy::{Fanout, Policy};
use crate::store::{Step, Turn};
use crate::watch::{EndReason, State, Watch};
use crate::{Fence, UnixMillis, backoff};

/// How much longer a claim lives than the recall it stands for: the edge gives up after `recallTimeout`, its report needs a moment.
pub const LEASE_SLACK: Duration = Duration::from_secs(2);

/// How long to wait after an order that no edge could be given.
pub const UNDELIVERED_WAIT: Duration = Duration::from_secs(1);

/// How long the outcome of the caller's new call is awaited: longer than Timer C, which must exceed 3 minutes (RFC 3261 section 16.6 step 11).
pub const CALL_TIMEOUT: Duration = Duration::from_secs(200);

/// Something that happened to a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Somebody looks: it is due, or the callee or the caller registered.
    Look(Situation),
    /// The order with this fence was given to no edge: its link was full or gone.
    Undelivered { fence: Fence },
    /// An edge reports what became of the order with this fence.
    Recall { fence: Fence, rung: u8, result: RecallResult },
    /// The caller's INVITE is being routed to the callee's live bindings.
    CallSeen,
    /// The caller's INVITE found the callee offline; without the record it would be granted a watch until `granted`.
    CalleeOffline { granted: UnixMillis },
    /// An edge reports what became of the call whose fence is this.
    Call { fence: Fence, result: CallResult },
    /// The caller opted out or an operator cancelled it.
    Cancel,
}

/// Who is there at the time of the look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Situation {
    /// The callee has a live binding.
    pub callee_online: bool,
    /// The caller has a live binding.
    pub caller_online: bool,
    /// The caller registered just now: a parked watch may be tried again at once.
    pub caller_returned: bool,
    /// The rung by which the caller's kind of phone was connected before: a first attempt starts with it if the ladder has it.
    pub learned: Option<u8>,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "made and taken apart at once: a box would be an allocation for every step")]
pub enum Decision {
    /// The input does not concern this watch (any more).
    Nothing,
    /// The record stays as it is: [`crate::WatchStore::postpone`] it to `due`.
    ///
    /// `recheck`: it waits because the callee was offline. A callee that registers between that look and the write would be
    /// overlooked, so read its bindings once more **after** the write, and hasten the watch if there are any.
    Wait { due: UnixMillis, recheck: bool },
    /// Apply the step; when the store says `Applied` and `order` is set, order a recall on that rung with the new fence.
    /// Where `step.turn` is [`Turn::Release`], the next in the queue may have a go. `recheck` as above.
    Step { step: Step, order: Option<u8>, recheck: bool },
    /// End the watch with the fence that was loaded. Only the one whom the store tells `true` counts it.
    End { reason: EndReason, turn: Turn },
}

/// Decides what `input` means for `watch`. Total: every state takes every input.
///
/// A BYE of a recalled call ([`CallResult::Ended`]) usually finds no record any more, because the answer ended it; then
/// [`crate::WatchStore::release_turn`] is all there is to do.
#[must_use]
pub fn on(now: UnixMillis, policy: &Policy, watch: &Watch, input: &Input) -> Decision {
    let case = Case { now, policy, watch };
    if let Some(end) = case.conclusive(input) {
        return end;
    }
    if let Input::CalleeOffline { granted } = *input {
        return case.callee_offline(granted);
    }
    if now >= watch.deadline {
        return case.end(EndReason::Expired, Turn::Release);
    }
    match *input {
        Input::Look(situation) => case.look(situation),
        Input::Undelivered { fence } => case.undelivered(fence),
        Input::Recall { fence, rung, result } => case.recall_report(fence, rung, result),
        Input::CallSeen => case.calling(CALL_TIMEOUT),
        Input::Call { fence, result } => case.call_report(fence, result),
        Input::CalleeOffline { .. } | Input::Cancel => Decision::Nothing,
    }
}

/// Who of a callee's queue, in the order of arrival, may be looked at now that the callee is there: with `fifo` the first who is
/// eligible, and nobody while another is being served; with `all` everybody who is eligible.
#[must_use]
pub fn pick<'a>(now: UnixMillis, policy: &Policy, queue: &'a [Watch]) -> Vec<&'a Watch> {
    let eligible = |w: &&Watch| w.state == State::Armed && !w.parked && w.not_before <= now && now < w.deadline;
    match policy.fanout {
        Fanout::All => queue.iter().filter(eligible).collect(),
        Fanout::Fifo if queue.iter().any(|w| in_progress_until(&w.state).is_some_and(|until| now < until)) => Vec::new(),
        Fanout::Fifo => queue.iter().find(eligible).into_iter().collect(),
    }
}

/// How long an edge may take over a recall on this rung. A call that is answered at the last moment still has to be transferred.
#[must_use]
pub fn recall_time(policy: &Policy, rung: u8) -> Duration {
    if rung == 3 { policy.recall_timeout.saturating_add(TRANSFER) } else { policy.recall_timeout }
}

/// When the present state gives up by itself; `None` while armed.
#[must_use]
pub fn in_progress_until(state: &State) -> Option<UnixMillis> {
    match *state {
        State::Armed => None,
        State::Claimed { lease_until: until, .. } | State::Recalling { until, .. } | State::Calling { until, .. } => Some(until),
    }
}

/// One watch at one moment; the rules in `look` and `report` are its methods.
#[derive(Clone, Copy)]
struct Case<'a> {
    now: UnixMillis,
    policy: &'a Policy,
    watch: &'a Watch,
}

impl Case<'_> {
    fn end(self, reason: EndReason, turn: Turn) -> Decision {
        Decision::End { reason, turn }
    }

    /// The record that follows the present one, in `state`.
    fn next(self, state: State) -> Watch {
        Watch { fence: Fence(self.watch.fence.0.saturating_add(1)), state, parked: false, ..self.watch.clone() }
    }

    fn change(self, next: Watch, due: UnixMillis, turn: Turn) -> Step {
        let due = due.min(next.deadline);
        Step { expect: self.watch.fence, next, due, turn }
    }

    fn step(self, next: Watch, due: UnixMillis, turn: Turn) -> Decision {
        Decision::Step { step: self.change(next, due, turn), order: None, recheck: false }
    }

    fn wait(self, due: UnixMillis) -> Decision {
        Decision::Wait { due: due.min(self.watch.deadline), recheck: false }
    }

    /// Claims the watch for a recall on `rung`. With fifo every claim asks for the turn, also one that follows another: who has it
    /// keeps it, but a lease that ran out long ago, or a policy that was `all` until now, may have left it to somebody else.
    fn claim(self, rung: u8, attempts: u32) -> Decision {
        let lease_until = self.now.after(recall_time(self.policy, rung)).after(LEASE_SLACK);
        let turn = match self.policy.fanout {
            Fanout::All => Turn::Leave,
            Fanout::Fifo => Turn::Take { until: lease_until.after(LEASE_SLACK) },
        };
        let next = Watch { attempts, ..self.next(State::Claimed { rung, lease_until }) };
        Decision::Step { step: self.change(next, lease_until, turn), order: Some(rung), recheck: false }
    }

    /// The turn for who is in progress until `until`: a little longer, so that it is still there when somebody looks at that time.
    fn keep_turn(self, until: UnixMillis) -> Turn {
        match self.policy.fanout {
            Fanout::All => Turn::Leave,
            Fanout::Fifo => Turn::Keep { until: until.after(LEASE_SLACK) },
        }
    }

    /// When somebody must look again who found the callee away: with probes at the next one.
    fn away_until(self, deadline: UnixMillis) -> UnixMillis {
        self.policy.probe.map_or(deadline, |interval| self.now.after(interval).min(deadline))
    }

    /// Back to armed: nobody to recall. The callee's or the caller's REGISTER brings it back.
    fn rest(self, parked: bool) -> Decision {
        let next = Watch { parked, ..self.next(State::Armed) };
        let due = if parked { self.watch.deadline } else { self.away_until(self.watch.deadline) };
        Decision::Step { step: self.change(next, due, Turn::Release), order: None, recheck: !parked }
    }

    /// The rung after `rung` if the ladder has one, else a failed attempt.
    fn next_rung(self, rung: u8) -> Decision {
        let ladder = &self.policy.ladder;
        match ladder.iter().position(|&r| r == rung).and_then(|at| ladder.get(at + 1)) {
            Some(&higher) => self.claim(higher, self.watch.attempts),
            None => self.attempt_failed(),
        }
    }

    /// One more recall did not connect the pair: armed again after a wait, or ended when attempts or time run out.
    fn attempt_failed(self) -> Decision {
        let attempts = self.watch.attempts.saturating_add(1);
        let not_before = self.now.after(backoff::delay(self.policy.retry_initial, self.policy.retry_max, attempts));
        if attempts >= self.policy.max_attempts || not_before >= self.watch.deadline {
            return self.end(EndReason::Failed, Turn::Release);
        }
        let next = Watch { attempts, not_before, ..self.next(State::Armed) };
        self.step(next, not_before, Turn::Release)
    }
}
