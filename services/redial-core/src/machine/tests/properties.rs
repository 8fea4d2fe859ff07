//! What holds for every sequence of inputs while time advances.

use super::*;
use crate::policy::EndOn;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Event {
    Look(Situation),
    /// Reports about the newest order, or one before it.
    Recall {
        behind: usize,
        result: RecallResult,
    },
    CallSeen,
    CalleeOffline(u64),
    Call {
        behind: u64,
        result: CallResult,
    },
    Cancel,
}

fn event() -> impl Strategy<Value = Event> {
    let situation = (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(a, b, c)| Situation {
        callee_online: a || c,
        caller_online: b,
        caller_returned: b && c,
        learned: c.then_some(2),
    });
    let recalled = prop_oneof![
        Just(RecallResult::Accepted),
        Just(RecallResult::Refused(501)),
        Just(RecallResult::Unreachable),
        Just(RecallResult::Silent),
        Just(RecallResult::Notified(486)),
        Just(RecallResult::Notified(200)),
        Just(RecallResult::Unanswered),
        Just(RecallResult::Declined(486)),
    ];
    let called = prop_oneof![
        Just(CallResult::Failed(486)),
        Just(CallResult::Failed(486)),
        Just(CallResult::Failed(603)),
        Just(CallResult::Established),
        Just(CallResult::Cancelled),
        Just(CallResult::Ended),
    ];
    prop_oneof![
        6 => situation.prop_map(Event::Look),
        5 => (0usize..2, recalled).prop_map(|(behind, result)| Event::Recall { behind, result }),
        2 => Just(Event::CallSeen),
        2 => (1u64..400_000).prop_map(Event::CalleeOffline),
        2 => (0u64..2, called).prop_map(|(behind, result)| Event::Call { behind, result }),
        1 => Just(Event::Cancel),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    (any::<bool>(), any::<bool>(), 0usize..4, 1u32..5, any::<bool>()).prop_map(|(all, sent, ladder, max_attempts, probe)| Policy {
        fanout: if all { Fanout::All } else { Fanout::Fifo },
        end_on: if sent { EndOn::ReferSent } else { EndOn::Established },
        ladder: [&[1][..], &[1, 2], &[2, 1], &[1, 2, 3]][ladder].to_vec(),
        max_attempts,
        probe: probe.then_some(Duration::from_secs(60)),
        ..Policy::default()
    })
}

/// An order that was given out: no second one may follow while it can still make a phone ring.
struct Order {
    fence: Fence,
    rung: u8,
    over_at: UnixMillis,
    settled: bool,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn p2_p3_p4_hold_for_every_history(policy in policy(), events in proptest::collection::vec((event(), 0u64..40_000), 0..60)) {
        let mut now = NOW;
        let mut watch = Watch { fence: Fence(900_000), deadline: at(600_000), ..watch(State::Armed) };
        let mut orders: Vec<Order> = Vec::new();
        let mut ends = 0;
        for (event, wait) in events {
            now = UnixMillis(now.0 + wait);
            let input = match event {
                Event::Look(situation) => Input::Look(situation),
                Event::Recall { behind, result } => {
                    let Some(at) = orders.len().checked_sub(1 + behind) else { continue };
                    let order = &mut orders[at];
                    order.settled |= !matches!(result, RecallResult::Accepted | RecallResult::Notified(200));
                    Input::Recall { fence: order.fence, rung: order.rung, result }
                }
                Event::CallSeen => Input::CallSeen,
                Event::CalleeOffline(period) => Input::CalleeOffline { granted: now.after(Duration::from_millis(period)) },
                Event::Call { behind, result } => Input::Call { fence: Fence(watch.fence.0.saturating_sub(behind)), result },
                Event::Cancel => Input::Cancel,
            };
            match on(now, &policy, &watch, &input) {
                Decision::Nothing => {}
                Decision::Wait { due, .. } => {
                    prop_assert!(due <= watch.deadline);
                    prop_assert!(due > now, "a wait that is due at once would be looked at for ever");
                }
                Decision::Step { step, order, .. } => {
                    prop_assert_eq!(step.expect, watch.fence);
                    prop_assert!(step.next.fence > watch.fence);
                    prop_assert_eq!((&step.next.pair, step.next.armed_at), (&watch.pair, watch.armed_at));
                    prop_assert!(step.due > now && step.due <= step.next.deadline);
                    if let Some(rung) = order {
                        prop_assert!(now < watch.deadline, "P4");
                        if let Some(last) = orders.last() {
                            prop_assert!(last.settled || last.over_at <= now, "P3: the last order may still be under way");
                        }
                        let State::Claimed { rung: claimed, lease_until } = step.next.state else { panic!("an order is a claim") };
                        prop_assert_eq!(rung, claimed);
                        orders.push(Order { fence: step.next.fence, rung, over_at: lease_until, settled: false });
                    } else if let (State::Recalling { until, .. }, Some(last)) = (step.next.state, orders.last_mut()) {
                        last.over_at = until;
                    } else if matches!(input, Input::CallSeen | Input::CalleeOffline { .. }) && let Some(last) = orders.last_mut() {
                        // The caller has dialled: that is what the order was for.
                        last.settled = true;
                    }
                    prop_assert!(step.next.attempts < policy.max_attempts);
                    watch = step.next;
                }
                Decision::End { reason, .. } => {
                    prop_assert!(reason != EndReason::Expired || now >= watch.deadline, "never early");
                    ends += 1;
                    break;
                }
            }
        }
        prop_assert!(ends <= 1);
    }

    /// Whoever looks whenever a watch is due sees its end, with nobody there or everybody there and silent.
    #[test]
    fn p2_looking_when_due_always_ends(policy in policy(), callee_online: bool, caller_online: bool) {
        let situation = Situation { callee_online, caller_online, caller_returned: false, learned: None };
        let mut watch = watch(State::Armed);
        let mut now = NOW;
        for _ in 0..200 {
            match on(now, &policy, &watch, &Input::Look(situation)) {
                Decision::Wait { due, .. } => now = due,
                Decision::Step { step, .. } => (now, watch) = (step.due, step.next),
                Decision::End { .. } => return Ok(()),
                Decision::Nothing => panic!("a look always has an answer"),
            }
        }
        prop_assert!(false, "no end after 200 looks");
    }
}
