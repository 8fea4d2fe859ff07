//! Whose turn it is with a callee.

use super::*;

/// Two watches of bob's, both armed.
async fn two(store: &impl WatchStore) -> (Watch, Watch) {
    let watches = (watch(pair("bob", "alice"), NOW), watch(pair("bob", "carol"), at(1)));
    armed(store, &watches.0).await;
    armed(store, &watches.1).await;
    watches
}

pub async fn one_caller_at_a_time_has_the_turn(subject: &impl Subject) {
    let store = subject.store();
    let (alice, carol) = two(store).await;
    let until = at(30_000);
    let first = step(&alice, claimed(), Turn::Take { until });
    applied(store, &first).await;

    let second = step(&carol, claimed(), Turn::Take { until: at(90_000) });
    match store.step(NOW, &second).await {
        // A store with a clock of its own has spent some of it.
        Ok(StepOutcome::TurnTaken { until: told }) => assert!(told <= until && told > at(20_000), "{told:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(loaded(store, &carol.pair).await, Some(carol.clone()), "nothing was changed");
    assert_eq!(due(store, &carol.pair, at(20_000)).await, [], "its due time neither");

    // Keeping takes nothing from the holder, releasing another's turn does nothing.
    let spontaneous = step(&carol, State::Calling { rung: 0, until: at(200_000) }, Turn::Keep { until: at(200_000) });
    applied(store, &spontaneous).await;
    let back = step(&spontaneous.next, State::Armed, Turn::Release);
    applied(store, &back).await;
    store.release_turn(&carol.pair).await.expect("release");
    let third = step(&back.next, claimed(), Turn::Take { until });
    let outcome = store.step(NOW, &third).await;
    assert!(matches!(outcome, Ok(StepOutcome::TurnTaken { .. })), "alice still has it: {outcome:?}");

    // The holder may take it again, and frees it.
    let again = step(&first.next, claimed(), Turn::Take { until });
    applied(store, &again).await;
    applied(store, &step(&again.next, State::Armed, Turn::Release)).await;
    applied(store, &third).await;
    // A stale step does not touch the turn.
    assert_eq!(store.step(NOW, &step(&alice, State::Armed, Turn::Release)).await, Ok(StepOutcome::Stale));
    store.release_turn(&alice.pair).await.expect("release");
    let alice_now = loaded(store, &alice.pair).await.expect("record");
    assert!(matches!(store.step(NOW, &step(&alice_now, claimed(), Turn::Take { until })).await, Ok(StepOutcome::TurnTaken { .. })));
    store.release_turn(&carol.pair).await.expect("release");
    applied(store, &step(&alice_now, claimed(), Turn::Take { until })).await;
}

pub async fn an_ended_call_keeps_the_turn_while_somebody_waits(subject: &impl Subject) {
    let store = subject.store();
    let (alice, carol) = two(store).await;
    applied(store, &step(&alice, claimed(), Turn::Take { until: at(30_000) })).await;
    assert_eq!(store.end(NOW, &alice.pair, None, Turn::Keep { until: at(900_000) }).await, Ok(true));
    let next = step(&carol, claimed(), Turn::Take { until: at(30_000) });
    match store.step(NOW, &next).await {
        Ok(StepOutcome::TurnTaken { until }) => assert!(until > at(800_000), "{until:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.end(NOW, &alice.pair, None, Turn::Release).await, Ok(false));
    assert!(matches!(store.step(NOW, &next).await, Ok(StepOutcome::TurnTaken { .. })), "only the first end speaks about the turn");
    // The BYE.
    store.release_turn(&alice.pair).await.expect("release");
    applied(store, &next).await;
    // Ending another's watch leaves the turn where it is; nobody waits after the last one.
    let dave = watch(pair("bob", "dave"), at(2));
    armed(store, &dave).await;
    assert_eq!(store.end(NOW, &dave.pair, None, Turn::Keep { until: at(900_000) }).await, Ok(true));
    assert_eq!(store.end(NOW, &carol.pair, None, Turn::Keep { until: at(900_000) }).await, Ok(true));
    assert_eq!(subject.traces(NOW).await, 0);
}
