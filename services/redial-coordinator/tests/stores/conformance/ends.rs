//! P2: every watch ends exactly once and leaves nothing behind.

use super::*;

pub async fn p2_a_watch_ends_once_however_many_try(subject: &impl Subject) {
    let store = subject.store();
    for expect in [None, Some(Fence(NOW.0))] {
        let first = watch(pair("bob", "alice"), NOW);
        armed(store, &first).await;
        let end = || store.end(NOW, &first.pair, expect, Turn::Release);
        let ends = tokio::join!(end(), end(), end(), end());
        let firsts = [ends.0, ends.1, ends.2, ends.3].into_iter().filter(|e| *e == Ok(true)).count();
        assert_eq!(firsts, 1);
        assert_eq!(end().await, Ok(false));
        assert_eq!(loaded(store, &first.pair).await, None);
        assert_eq!(subject.traces(NOW).await, 0);
    }
    assert_eq!(store.end(NOW, &pair("no", "body"), None, Turn::Release).await, Ok(false));
}

pub async fn p2_no_trace_is_left_after_any_way_to_end(subject: &impl Subject) {
    let store = subject.store();
    let take = Turn::Take { until: at(30_000) };
    let recalling = State::Recalling { rung: 1, until: at(20_000) };
    let calling = State::Calling { rung: 1, until: at(200_000) };
    let lives: [&[State]; 5] =
        [&[], &[claimed()], &[claimed(), recalling], &[claimed(), recalling, calling], &[claimed(), recalling, calling, State::Armed]];
    for states in lives {
        for parked in [false, true] {
            for turn in [Turn::Leave, Turn::Release, Turn::Keep { until: at(900_000) }] {
                let mut last = watch(pair("bob", "alice"), NOW);
                armed(store, &last).await;
                for &state in states {
                    let mut next = step(&last, state, if turn == Turn::Leave { Turn::Leave } else { take });
                    next.next.parked = parked && state == State::Armed;
                    applied(store, &next).await;
                    last = next.next;
                }
                assert!(subject.traces(NOW).await > 0);
                assert_eq!(store.end(NOW, &last.pair, Some(last.fence), turn).await, Ok(true));
                assert_eq!(subject.traces(NOW).await, 0, "{states:?} {turn:?}");
                assert!(!registered(store, fetch("bob")).await.waited_for);
                assert!(!registered(store, fetch("alice")).await.parked);
            }
        }
    }
}

/// A watch whose deadline has passed, and a time after it.
async fn run_out(subject: &impl Subject) -> (Watch, UnixMillis) {
    let short = Watch { deadline: at(5), ..watch(pair("bob", "alice"), NOW) };
    armed(subject.store(), &short).await;
    subject.run_out(&short.pair).await;
    (short, at(5))
}

pub async fn p2_a_watch_that_ran_out_ends_once(subject: &impl Subject) {
    let store = subject.store();
    for expect in [None, Some(Fence::GONE), Some(Fence(NOW.0))] {
        let (over, now) = run_out(subject).await;
        assert_eq!(due(store, &over.pair, now).await, std::slice::from_ref(&over.pair));
        let late = step(&over, claimed(), Turn::Take { until: at(30_000) });
        assert_eq!(store.step(now, &late).await, Ok(StepOutcome::Stale), "P4: nothing is claimed after the deadline");
        assert_eq!(store.end(now, &over.pair, expect, Turn::Release).await, Ok(true), "{expect:?}");
        assert_eq!(store.end(now, &over.pair, expect, Turn::Release).await, Ok(false), "{expect:?}");
        assert_eq!(due(store, &over.pair, now).await, []);
        assert_eq!(subject.traces(now).await, 0);
    }
}

pub async fn p2_a_watch_that_ran_out_unnoticed_ends_when_armed_again(subject: &impl Subject) {
    let store = subject.store();
    let (over, now) = run_out(subject).await;
    let again = watch(over.pair.clone(), now);
    let outcome = armed(store, &again).await;
    assert_eq!((outcome.stored, outcome.expired_before), (true, true));
    // The sweep that saw the old one may still come.
    assert_eq!(store.end(now, &over.pair, Some(Fence::GONE), Turn::Release).await, Ok(false));
    assert_eq!(store.end(now, &over.pair, Some(over.fence), Turn::Release).await, Ok(false));
    assert_eq!(loaded(store, &again.pair).await, Some(again.clone()));
    assert_eq!(store.queue(&aor("bob"), 9).await, Ok(vec![aor("alice")]));
    assert_eq!(store.end(now, &again.pair, Some(again.fence), Turn::Release).await, Ok(true));
    assert_eq!(subject.traces(now).await, 0);
}

pub async fn ending_by_an_old_fence_is_refused(subject: &impl Subject) {
    let store = subject.store();
    let first = watch(pair("bob", "alice"), NOW);
    armed(store, &first).await;
    let claim = step(&first, claimed(), Turn::Leave);
    applied(store, &claim).await;
    for old in [Fence::GONE, first.fence, Fence(claim.next.fence.0 + 1)] {
        assert_eq!(store.end(NOW, &first.pair, Some(old), Turn::Release).await, Ok(false));
    }
    assert_eq!(loaded(store, &first.pair).await, Some(claim.next.clone()));
    assert_eq!(store.end(NOW, &first.pair, Some(claim.next.fence), Turn::Release).await, Ok(true));
}
