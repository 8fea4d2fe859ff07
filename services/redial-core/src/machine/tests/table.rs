//! Every state against every input.

use super::*;
use crate::policy::{EndOn, OnDecline};

const CLAIMED: State = State::Claimed { rung: 1, lease_until: UnixMillis(NOW.0 + 22_000) };
const RECALLING: State = State::Recalling { rung: 1, until: UnixMillis(NOW.0 + 20_000) };
const CALLING: State = State::Calling { rung: 1, until: UnixMillis(NOW.0 + 200_000) };
const FENCE: Fence = Fence(900_010);

/// With a ladder of two rungs.
fn policy() -> Policy {
    Policy { ladder: vec![1, 2], ..Policy::default() }
}

fn decide(state: State, input: Input) -> Decision {
    on(NOW, &policy(), &watch(state), &input)
}

/// The essence of a decision: state after, attempts, due and turn.
fn stepped(decision: Decision) -> (State, u32, UnixMillis, Turn, Option<u8>) {
    match decision {
        Decision::Step { step, order, .. } => {
            assert!(step.next.fence > step.expect);
            (step.next.state, step.next.attempts, step.due, step.turn, order)
        }
        other => panic!("no step: {other:?}"),
    }
}

fn ended(decision: Decision) -> EndReason {
    match decision {
        Decision::End { reason, .. } => reason,
        other => panic!("no end: {other:?}"),
    }
}

fn recall(result: RecallResult) -> Input {
    Input::Recall { fence: FENCE, rung: 1, result }
}

fn call(result: CallResult) -> Input {
    Input::Call { fence: FENCE, result }
}

fn failed_attempt() -> (State, u32, UnixMillis, Turn, Option<u8>) {
    (State::Armed, 1, at(30_000), Turn::Release, None)
}

const EVERY_STATE: [State; 4] = [State::Armed, CLAIMED, RECALLING, CALLING];

#[test]
fn armed_and_both_there_is_claimed_on_the_first_rung() {
    let lease = at(22_000);
    assert_eq!(
        stepped(decide(State::Armed, Input::Look(HERE))),
        (State::Claimed { rung: 1, lease_until: lease }, 0, lease, Turn::Take { until: at(24_000) }, Some(1))
    );
    let all = Policy { fanout: Fanout::All, ladder: vec![2, 1], ..policy() };
    let (state, _, _, turn, order) = stepped(on(NOW, &all, &watch(State::Armed), &Input::Look(HERE)));
    assert_eq!((state, turn, order), (State::Claimed { rung: 2, lease_until: lease }, Turn::Leave, Some(2)));
}

#[test]
fn what_was_learned_of_the_phone_comes_first_on_the_first_attempt_only() {
    let ladder = Policy { ladder: vec![1, 3], ..policy() };
    let order = |watch: &Watch, learned| stepped(on(NOW, &ladder, watch, &Input::Look(Situation { learned, ..HERE }))).4;
    let armed = watch(State::Armed);
    assert_eq!((order(&armed, Some(3)), order(&armed, Some(2)), order(&armed, None)), (Some(3), Some(1), Some(1)));
    assert_eq!(order(&Watch { attempts: 1, ..armed }, Some(3)), Some(1), "the phone may have changed its ways");
}

#[test]
fn a_call_to_the_caller_has_time_for_its_transfer() {
    let call = Policy { ladder: vec![3], ..policy() };
    let (state, ..) = stepped(on(NOW, &call, &watch(State::Armed), &Input::Look(HERE)));
    assert_eq!(state, State::Claimed { rung: 3, lease_until: at(27_000) });
}

#[test]
fn a_caller_who_does_not_answer_is_tried_again_and_one_who_declines_as_the_policy_says() {
    assert_eq!(stepped(decide(CLAIMED, recall(RecallResult::Unanswered))), failed_attempt());
    let declined = recall(RecallResult::Declined(486));
    assert_eq!(decide(CLAIMED, declined), Decision::End { reason: EndReason::Cancelled, turn: Turn::Release });
    let retry = Policy { on_decline: OnDecline::Retry, ..policy() };
    assert_eq!(stepped(on(NOW, &retry, &watch(CLAIMED), &declined)), failed_attempt());
    assert_eq!(decide(RECALLING, declined), Decision::Nothing);
}

#[test]
fn a_message_that_was_taken_is_the_end_where_the_ladder_has_no_more() {
    let told = Input::Recall { fence: FENCE, rung: 4, result: RecallResult::Accepted };
    let messaged = watch(State::Claimed { rung: 4, lease_until: at(22_000) });
    let last = Policy { ladder: vec![1, 4], ..policy() };
    assert_eq!(on(NOW, &last, &messaged, &told), Decision::End { reason: EndReason::Notified, turn: Turn::Keep { until: at(20_000) } });
    let more = Policy { ladder: vec![4, 1], ..policy() };
    let (state, ..) = stepped(on(NOW, &more, &messaged, &told));
    assert_eq!(state, State::Recalling { rung: 4, until: at(20_000) });
    let (state, .., order) = stepped(on(at(20_000), &more, &watch(state), &Input::Look(HERE)));
    assert_eq!((state, order), (State::Claimed { rung: 1, lease_until: at(42_000) }, Some(1)), "the caller did not call");
}

#[test]
fn with_probes_an_absent_callee_is_looked_for_again_and_again_until_the_deadline() {
    let probing = Policy { probe: Some(Duration::from_secs(60)), ..policy() };
    let armed = watch(State::Armed);
    let look = |now| on(now, &probing, &armed, &Input::Look(Situation::default()));
    assert_eq!(look(NOW), Decision::Wait { due: at(60_000), recheck: true });
    let last = UnixMillis(DEADLINE.0 - 1);
    assert_eq!(look(last), Decision::Wait { due: DEADLINE, recheck: true });
}

#[test]
fn armed_waits_for_the_callee() {
    let nobody = Situation { callee_online: false, ..HERE };
    assert_eq!(decide(State::Armed, Input::Look(nobody)), Decision::Wait { due: DEADLINE, recheck: true });
}

#[test]
fn armed_waits_for_not_before() {
    let backing_off = Watch { not_before: at(5000), ..watch(State::Armed) };
    assert_eq!(on(NOW, &policy(), &backing_off, &Input::Look(HERE)), Decision::Wait { due: at(5000), recheck: false });
}

#[test]
fn armed_without_its_caller_is_parked_and_frees_the_turn() {
    let gone = Situation { caller_online: false, ..HERE };
    let Decision::Step { step, order: None, recheck: false } = decide(State::Armed, Input::Look(gone)) else { panic!() };
    assert_eq!((step.next.parked, step.next.state, step.due, step.turn), (true, State::Armed, DEADLINE, Turn::Release));
}

#[test]
fn parked_waits_for_its_caller_to_register() {
    let policy = policy();
    let parked = Watch { parked: true, not_before: at(30_000), ..watch(State::Armed) };
    assert_eq!(on(NOW, &policy, &parked, &Input::Look(HERE)), Decision::Wait { due: at(30_000), recheck: false });
    let gone = Situation { caller_online: false, ..HERE };
    assert_eq!(on(at(40_000), &policy, &parked, &Input::Look(gone)), Decision::Wait { due: DEADLINE, recheck: false });
    let back = Situation { caller_returned: true, ..HERE };
    assert_eq!(stepped(on(NOW, &policy, &parked, &Input::Look(back))).4, Some(1), "at once, backoff or not");
    let early = Situation { callee_online: false, ..back };
    let Decision::Step { step, recheck: true, .. } = on(NOW, &policy, &parked, &Input::Look(early)) else { panic!() };
    assert_eq!((step.next.parked, step.due), (false, DEADLINE));
}

#[test]
fn an_order_that_reached_no_edge_gives_its_claim_back_without_an_attempt() {
    let undelivered = Input::Undelivered { fence: FENCE };
    assert_eq!(stepped(decide(CLAIMED, undelivered)), (State::Armed, 0, at(1000), Turn::Release, None));
    for state in [State::Armed, RECALLING, CALLING] {
        assert_eq!(decide(state, undelivered), Decision::Nothing);
    }
    assert_eq!(decide(CLAIMED, Input::Undelivered { fence: Fence(1) }), Decision::Nothing);
}

#[test]
fn in_progress_is_left_alone_until_its_time_is_up() {
    for (state, due) in [(CLAIMED, at(22_000)), (RECALLING, at(20_000)), (CALLING, at(200_000))] {
        for situation in [HERE, Situation::default()] {
            assert_eq!(decide(state, Input::Look(situation)), Decision::Wait { due, recheck: false });
        }
    }
}

#[test]
fn p3_expired_lease_is_claimed_again_and_counts() {
    let late = on(at(22_000), &policy(), &watch(CLAIMED), &Input::Look(HERE));
    let (state, attempts, _, turn, order) = stepped(late);
    assert_eq!((state, attempts, order), (State::Claimed { rung: 1, lease_until: at(44_000) }, 1, Some(1)));
    assert_eq!(turn, Turn::Take { until: at(46_000) }, "somebody else may have had the turn meanwhile");
    let last = Watch { attempts: 4, ..watch(CLAIMED) };
    assert_eq!(ended(on(at(22_000), &policy(), &last, &Input::Look(HERE))), EndReason::Failed);
}

#[test]
fn expired_lease_or_recall_without_the_callee_or_the_caller_rests() {
    for state in [CLAIMED, RECALLING] {
        let rest = |situation| match on(at(22_000), &policy(), &watch(state), &Input::Look(situation)) {
            Decision::Step { step, order: None, recheck } => (step.next.state, step.next.parked, step.due, step.turn, recheck),
            other => panic!("{other:?}"),
        };
        assert_eq!(rest(Situation { callee_online: false, ..HERE }), (State::Armed, false, DEADLINE, Turn::Release, true));
        assert_eq!(rest(Situation { caller_online: false, ..HERE }), (State::Armed, true, DEADLINE, Turn::Release, false));
    }
}

#[test]
fn recall_that_nobody_follows_climbs_the_ladder_then_fails() {
    let policy = policy();
    let (state, attempts, _, _, order) = stepped(on(at(20_000), &policy, &watch(RECALLING), &Input::Look(HERE)));
    assert_eq!((state, attempts, order), (State::Claimed { rung: 2, lease_until: at(42_000) }, 0, Some(2)));
    let top = State::Recalling { rung: 2, until: at(20_000) };
    assert_eq!(stepped(on(at(20_000), &policy, &watch(top), &Input::Look(HERE))), (State::Armed, 1, at(50_000), Turn::Release, None));
}

#[test]
fn call_that_is_never_reported_is_a_failed_attempt() {
    let late = on(at(200_000), &policy(), &watch(CALLING), &Input::Look(HERE));
    assert_eq!(stepped(late), (State::Armed, 1, at(230_000), Turn::Release, None));
}

#[test]
fn accepted_recall_waits_for_the_new_invite() {
    assert_eq!(
        stepped(decide(CLAIMED, recall(RecallResult::Accepted))),
        (State::Recalling { rung: 1, until: at(20_000) }, 0, at(20_000), Turn::Keep { until: at(22_000) }, None)
    );
    let refer_sent = Policy { end_on: EndOn::ReferSent, ..policy() };
    for taken in [RecallResult::Accepted, RecallResult::Notified(200)] {
        assert_eq!(
            on(NOW, &refer_sent, &watch(CLAIMED), &recall(taken)),
            Decision::End { reason: EndReason::Recalled, turn: Turn::Keep { until: at(20_000) } },
            "a NOTIFY may overtake its 202"
        );
    }
}

#[test]
fn refused_recall_climbs_the_ladder_then_fails() {
    let (state, _, _, _, order) = stepped(decide(CLAIMED, recall(RecallResult::Refused(501))));
    assert_eq!((state, order), (State::Claimed { rung: 2, lease_until: at(22_000) }, Some(2)));
    let top = watch(State::Claimed { rung: 2, lease_until: at(22_000) });
    let refused = Input::Recall { fence: FENCE, rung: 2, result: RecallResult::Refused(405) };
    assert_eq!(stepped(on(NOW, &policy(), &top, &refused)), failed_attempt());
}

#[test]
fn unreachable_caller_is_parked_without_an_attempt() {
    for (tries, wait) in [(1, 30_000), (2, 60_000), (3, 120_000), (99, 600_000)] {
        let claimed = Watch { armed_at: UnixMillis(FENCE.0 + 1 - 2 * tries), ..watch(CLAIMED) };
        let decision = on(NOW, &policy(), &claimed, &recall(RecallResult::Unreachable));
        let Decision::Step { step, order: None, .. } = decision else { panic!("{decision:?}") };
        assert_eq!((step.next.state, step.next.parked, step.next.attempts), (State::Armed, true, 0));
        assert_eq!((step.next.not_before, step.due, step.turn), (at(wait), at(wait), Turn::Release), "{tries}");
    }
}

#[test]
fn a_silent_phone_is_asked_by_another_request_once_and_then_parked() {
    let silent = |ladder: &[u8], rung| {
        let claimed = watch(State::Claimed { rung, lease_until: at(22_000) });
        let policy = Policy { ladder: ladder.to_vec(), ..policy() };
        on(NOW, &policy, &claimed, &Input::Recall { fence: FENCE, rung, result: RecallResult::Silent })
    };
    for (ladder, rung, next) in [(&[1, 2, 3][..], 1, 3), (&[1, 2, 3], 2, 3), (&[1, 4], 1, 4), (&[1, 3, 2], 3, 2), (&[3, 4], 3, 4)] {
        let (state, attempts, _, turn, order) = stepped(silent(ladder, rung));
        let lease_until = at(if next == 3 { 27_000 } else { 22_000 });
        assert_eq!((state, attempts, order), (State::Claimed { rung: next, lease_until }, 0, Some(next)), "{ladder:?}");
        assert_eq!(turn, Turn::Take { until: lease_until.after(LEASE_SLACK) }, "whoever has the turn keeps it");
    }
    for (ladder, rung) in [(&[1][..], 1), (&[1, 2], 1), (&[1, 2, 3], 3), (&[3, 1, 2], 1), (&[1, 4], 4), (&[3], 1)] {
        let Decision::Step { step, order: None, .. } = silent(ladder, rung) else { panic!("{ladder:?}") };
        assert_eq!(
            (step.next.state, step.next.parked, step.next.attempts, step.turn),
            (State::Armed, true, 0, Turn::Release),
            "{ladder:?}"
        );
    }
    for state in [State::Armed, RECALLING, CALLING] {
        assert_eq!(decide(state, recall(RecallResult::Silent)), Decision::Nothing, "the caller was quicker");
    }
}

#[test]
fn notified_failure_counts_and_notified_success_waits_for_the_call() {
    // The NOTIFY carries the fence of the order; accepting it was one step.
    let notified = |code| Input::Recall { fence: Fence(FENCE.0 - 1), rung: 1, result: RecallResult::Notified(code) };
    assert_eq!(stepped(decide(RECALLING, notified(486))), failed_attempt());
    assert_eq!(decide(RECALLING, notified(200)), Decision::Nothing);
    assert_eq!(stepped(decide(CLAIMED, recall(RecallResult::Notified(486)))), failed_attempt(), "before its 202");
    assert!(matches!(stepped(decide(CLAIMED, recall(RecallResult::Notified(100)))).0, State::Recalling { .. }));
    assert_eq!(decide(CALLING, notified(486)), Decision::Nothing, "the call reports for itself");
}

#[test]
fn p3_stale_reports_are_ignored() {
    let results = [
        RecallResult::Accepted,
        RecallResult::Refused(500),
        RecallResult::Unreachable,
        RecallResult::Silent,
        RecallResult::Notified(486),
        RecallResult::Notified(200),
    ];
    for result in results {
        for state in EVERY_STATE {
            for fence in [Fence(0), Fence(FENCE.0 - 2), Fence(FENCE.0 + 1)] {
                assert_eq!(decide(state, Input::Recall { fence, rung: 1, result }), Decision::Nothing, "{state:?} {result:?}");
            }
            let other_rung = Input::Recall { fence: FENCE, rung: 2, result };
            assert_eq!(decide(state, other_rung), Decision::Nothing);
        }
        for state in [State::Armed, CALLING] {
            assert_eq!(decide(state, recall(result)), Decision::Nothing);
        }
    }
    assert_eq!(decide(RECALLING, Input::Recall { fence: Fence(FENCE.0 - 1), rung: 1, result: RecallResult::Accepted }), Decision::Nothing);
    for result in [CallResult::Failed(486), CallResult::Failed(603), CallResult::Cancelled] {
        assert_eq!(decide(CALLING, Input::Call { fence: Fence(FENCE.0 - 1), result }), Decision::Nothing);
        for state in [State::Armed, CLAIMED, RECALLING] {
            assert_eq!(decide(state, call(result)), Decision::Nothing);
        }
    }
    for fence in [Fence(899_999), Fence(FENCE.0 + 1)] {
        assert_eq!(decide(CALLING, Input::Call { fence, result: CallResult::Established }), Decision::Nothing, "another record's call");
    }
}

#[test]
fn callers_new_invite_is_awaited_as_a_call() {
    for (state, rung) in [(State::Armed, 0), (CLAIMED, 1), (RECALLING, 1), (CALLING, 1)] {
        assert_eq!(
            stepped(decide(state, Input::CallSeen)),
            (State::Calling { rung, until: at(200_000) }, 0, at(200_000), Turn::Keep { until: at(202_000) }, None)
        );
    }
}

#[test]
fn p1_what_is_reported_late_of_an_earlier_call_does_not_end_what_was_granted_since() {
    let called = watch(CALLING);
    let Decision::Step { step, .. } = on(NOW, &policy(), &called, &Input::CalleeOffline { granted: DEADLINE }) else { panic!() };
    let late = Input::Call { fence: called.fence, result: CallResult::Established };
    assert_eq!(on(NOW, &policy(), &step.next, &late), Decision::Nothing);
    // A call that comes after it does.
    let Decision::Step { step, .. } = on(NOW, &policy(), &step.next, &Input::CallSeen) else { panic!() };
    let answered = Input::Call { fence: step.next.fence, result: CallResult::Established };
    assert!(matches!(on(NOW, &policy(), &step.next, &answered), Decision::End { .. }));
}

#[test]
fn callee_gone_again_keeps_the_place_and_the_remaining_time() {
    let granted = UnixMillis(DEADLINE.0 + 50_000);
    for (state, deadline) in [(State::Armed, granted), (CLAIMED, DEADLINE), (RECALLING, DEADLINE), (CALLING, DEADLINE)] {
        let Decision::Step { step, order: None, recheck: true } = decide(state, Input::CalleeOffline { granted }) else { panic!() };
        assert_eq!((step.next.state, step.next.deadline, step.due), (State::Armed, deadline, deadline));
        assert_eq!((step.next.armed_at, step.turn), (UnixMillis(900_000), Turn::Release));
    }
    let late = on(DEADLINE, &policy(), &watch(CALLING), &Input::CalleeOffline { granted });
    assert!(matches!(late, Decision::Step { step, .. } if step.next.deadline == granted), "its own time is up, so it is a new request");
}

#[test]
fn established_call_connects_in_every_state() {
    let keep = Turn::Keep { until: at(900_000) };
    for state in EVERY_STATE {
        for fence in [Fence(900_000), FENCE] {
            let answered = Input::Call { fence, result: CallResult::Established };
            assert_eq!(decide(state, answered), Decision::End { reason: EndReason::Connected, turn: keep });
            assert_eq!(ended(on(DEADLINE, &policy(), &watch(state), &answered)), EndReason::Connected);
        }
    }
    let all = Policy { fanout: Fanout::All, ..policy() };
    let end = on(NOW, &all, &watch(CALLING), &call(CallResult::Established));
    assert_eq!(end, Decision::End { reason: EndReason::Connected, turn: Turn::Release }, "a turn from when the policy was fifo");
}

#[test]
fn failed_call_keeps_the_place_and_a_decline_ends() {
    for code in [404, 408, 480, 486, 500, 503] {
        assert_eq!(stepped(decide(CALLING, call(CallResult::Failed(code)))), failed_attempt());
    }
    for code in [600, 603, 604] {
        assert_eq!(ended(decide(CALLING, call(CallResult::Failed(code)))), EndReason::Failed);
    }
}

#[test]
fn a_caller_who_is_asked_for_a_password_calls_again_soon_or_has_failed() {
    let timeout = policy().recall_timeout;
    let Decision::Step { step, order: None, .. } = decide(CALLING, call(CallResult::Challenged(407))) else { panic!("no step") };
    let until = NOW.after(timeout);
    assert_eq!((step.next.state, step.due, step.next.attempts), (State::Calling { rung: 1, until }, until, 0));
    let look = Input::Look(super::super::Situation::default());
    let after = on(until, &policy(), &step.next, &look);
    assert!(matches!(after, Decision::Step { step, .. } if step.next.state == State::Armed && step.next.attempts == 1));
    for state in [State::Armed, CLAIMED, RECALLING] {
        assert_eq!(decide(state, call(CallResult::Challenged(401))), Decision::Nothing);
    }
}

#[test]
fn call_given_up_is_cancelled_and_a_bye_releases_the_turn() {
    let end = |reason| Decision::End { reason, turn: Turn::Release };
    assert_eq!(decide(CALLING, call(CallResult::Cancelled)), end(EndReason::Cancelled));
    assert_eq!(decide(CALLING, call(CallResult::Ended)), end(EndReason::Connected), "its answer was never reported");
    for state in [State::Armed, CLAIMED, RECALLING] {
        assert_eq!(decide(state, call(CallResult::Ended)), Decision::Nothing);
    }
}

#[test]
fn cancel_ends_every_state() {
    for state in EVERY_STATE {
        assert_eq!(ended(decide(state, Input::Cancel)), EndReason::Cancelled);
    }
}

#[test]
fn p4_deadline_ends_every_state() {
    let inputs = [
        Input::Look(HERE),
        Input::Look(Situation::default()),
        Input::CallSeen,
        recall(RecallResult::Refused(500)),
        call(CallResult::Failed(486)),
    ];
    for state in EVERY_STATE {
        for input in inputs {
            assert_eq!(ended(on(DEADLINE, &policy(), &watch(state), &input)), EndReason::Expired, "{state:?} {input:?}");
        }
    }
}

#[test]
fn attempts_and_time_run_out() {
    let last = Watch { attempts: 4, ..watch(CALLING) };
    assert_eq!(ended(on(NOW, &policy(), &last, &call(CallResult::Failed(486)))), EndReason::Failed);
    let short = Watch { deadline: at(30_000), ..watch(CALLING) };
    assert_eq!(ended(on(NOW, &policy(), &short, &call(CallResult::Failed(486)))), EndReason::Failed);
}

#[test]
fn fifo_picks_the_first_eligible_and_nobody_while_one_is_served() {
    let queue = |states: &[Watch]| pick(NOW, &policy(), states).into_iter().map(|w| w.attempts).collect::<Vec<_>>();
    let named = |attempts, w: Watch| Watch { attempts, ..w };
    let parked = named(1, Watch { parked: true, ..watch(State::Armed) });
    let waiting = named(2, Watch { not_before: at(1), ..watch(State::Armed) });
    let over = named(3, Watch { deadline: NOW, ..watch(State::Armed) });
    let (first, second) = (named(4, watch(State::Armed)), named(5, watch(State::Armed)));
    let all = [parked, waiting, over, first.clone(), second];
    assert_eq!(queue(&all), [4]);
    assert_eq!(queue(&[first.clone(), named(6, watch(CALLING))]), [0; 0]);
    let lapsed = named(7, watch(State::Claimed { rung: 1, lease_until: NOW }));
    assert_eq!(queue(&[lapsed, first]), [4], "an expired lease holds nobody up");
    let everybody = Policy { fanout: Fanout::All, ..policy() };
    assert_eq!(pick(NOW, &everybody, &all).len(), 2);
}
