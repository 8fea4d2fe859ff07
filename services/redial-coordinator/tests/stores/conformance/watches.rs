//! Arming, stepping and looking.

use super::*;
use redial_core::store::{Lookup, LookupOp};

pub async fn arming_stores_once_and_counts_both_sides(subject: &impl Subject) {
    let store = subject.store();
    let first = watch(pair("bob", "alice"), NOW);
    let outcome = armed(store, &first).await;
    let expected = ArmOutcome { stored: true, expired_before: false, callee_bindings: vec![], callee_watches: 1, caller_watches: 1 };
    assert_eq!(outcome, expected);
    let again = armed(store, &Watch { attempts: 7, ..watch(pair("bob", "alice"), at(10)) }).await;
    assert_eq!(again, ArmOutcome { stored: false, ..expected });
    assert_eq!(loaded(store, &first.pair).await, Some(first), "the first record stays");
    let batch = [watch(pair("bob", "carol"), at(20)), watch(pair("dave", "alice"), at(20))];
    let outcomes = store.arm(at(20), &batch).await.expect("arm");
    assert_eq!(outcomes.iter().map(|o| (o.callee_watches, o.caller_watches)).collect::<Vec<_>>(), [(2, 1), (1, 2)]);
}

pub async fn arming_sees_the_binding_and_registering_sees_the_waiter(subject: &impl Subject) {
    let store = subject.store();
    registered(store, put("bob", "a", 1)).await;
    let late = armed(store, &watch(pair("bob", "alice"), NOW)).await;
    assert_eq!((late.stored, ids(&late.callee_bindings)), (true, vec!["a"]));
    armed(store, &watch(pair("dave", "alice"), NOW)).await;
    let back = registered(store, put("dave", "d", 1)).await;
    assert!(back.waited_for && !back.parked);
    assert!(!registered(store, put("alice", "x", 1)).await.waited_for);
}

pub async fn racing_arm_and_register_never_miss_each_other(subject: &impl Subject) {
    let store = subject.store();
    for n in 0..100 {
        let callee = format!("bob{n}");
        let racing = watch(pair(&callee, "alice"), NOW);
        let (armed, registered) = tokio::join!(armed(store, &racing), registered(store, put(&callee, "a", 1)));
        assert!(registered.waited_for || !armed.callee_bindings.is_empty(), "lost in round {n}");
    }
}

pub async fn the_queue_is_in_the_order_of_arrival(subject: &impl Subject) {
    let store = subject.store();
    // Names that sort the other way round, all within the same millisecond.
    let callers: Vec<String> = (0..20).map(|n| format!("caller{:02}", 99 - n)).collect();
    let watches: Vec<Watch> = callers.iter().map(|caller| watch(pair("bob", caller), NOW)).collect();
    for half in watches.chunks(10) {
        store.arm(NOW, half).await.expect("arm");
    }
    let expected: Vec<Aor> = callers.iter().map(|caller| aor(caller)).collect();
    assert_eq!(store.queue(&aor("bob"), 100).await, Ok(expected.clone()));
    assert_eq!(store.queue(&aor("bob"), 3).await, Ok(expected[..3].to_vec()));
    assert_eq!(store.queue(&aor("bob"), 0).await, Ok(vec![]));
    assert_eq!(store.queue(&aor("nobody"), 9).await, Ok(vec![]));
    // A step keeps the place, arming again after the end does not.
    applied(store, &step(&watches[0], claimed(), Turn::Leave)).await;
    assert_eq!(store.queue(&aor("bob"), 1).await, Ok(vec![expected[0].clone()]));
    assert_eq!(store.end(NOW, &watches[0].pair, None, Turn::Leave).await, Ok(true));
    armed(store, &watch(watches[0].pair.clone(), at(5))).await;
    let queue = store.queue(&aor("bob"), 100).await.expect("queue");
    assert_eq!((queue.first(), queue.last()), (Some(&expected[1]), Some(&expected[0])));
}

pub async fn lookups_find_both_ends_and_both_directions(subject: &impl Subject) {
    let store = subject.store();
    let there = watch(pair("bob", "alice"), NOW);
    let back = watch(pair("alice", "bob"), NOW);
    store.arm(NOW, &[there.clone(), back.clone()]).await.expect("arm");
    registered(store, put("alice", "a", 1)).await;
    let ops = [
        LookupOp { callee: aor("bob"), caller: Some(aor("alice")) },
        LookupOp { callee: aor("alice"), caller: None },
        LookupOp { callee: aor("nobody"), caller: Some(aor("alice")) },
    ];
    let found = store.lookup(NOW, &ops).await.expect("lookup");
    let alice = vec![binding("a", 1, at(HOUR))];
    let full = Lookup { callee_bindings: vec![], caller_bindings: alice.clone(), watch: Some(there), reverse: Some(back) };
    assert_eq!(found[0], full);
    assert_eq!(found[1], Lookup { callee_bindings: alice.clone(), ..Lookup::default() });
    assert_eq!(found[2], Lookup { caller_bindings: alice, ..Lookup::default() });
    let over = store.lookup(at(HOUR), &ops[..1]).await.expect("lookup");
    assert_eq!((over[0].watch.as_ref(), over[0].reverse.as_ref()), (None, None), "a watch at its deadline is none");
}

pub async fn p3_a_step_applies_to_its_fence_only_and_once(subject: &impl Subject) {
    let store = subject.store();
    let first = watch(pair("bob", "alice"), NOW);
    assert_eq!(store.step(NOW, &step(&first, claimed(), Turn::Leave)).await, Ok(StepOutcome::Stale), "there is no record yet");
    armed(store, &first).await;
    // Two replicas claim at the same time.
    let claim = step(&first, claimed(), Turn::Leave);
    let (one, two) = tokio::join!(store.step(NOW, &claim), store.step(NOW, &claim));
    let mut outcomes = [one.expect("step"), two.expect("step")];
    outcomes.sort_by_key(|o| *o != StepOutcome::Applied);
    assert_eq!(outcomes, [StepOutcome::Applied, StepOutcome::Stale]);
    assert_eq!(loaded(store, &first.pair).await, Some(claim.next.clone()));
    let recalling = step(&claim.next, State::Recalling { rung: 1, until: at(20_000) }, Turn::Leave);
    applied(store, &recalling).await;
    assert_eq!(store.step(NOW, &recalling).await, Ok(StepOutcome::Stale));
    assert_eq!(loaded(store, &first.pair).await, Some(recalling.next));
}

pub async fn a_step_moves_deadline_and_due_time(subject: &impl Subject) {
    let store = subject.store();
    let first = watch(pair("bob", "alice"), NOW);
    armed(store, &first).await;
    let mut longer = step(&first, State::Armed, Turn::Leave);
    longer.next.deadline = at(3 * HOUR);
    longer.due = at(500);
    applied(store, &longer).await;
    assert_eq!(due(store, &first.pair, at(499)).await, []);
    assert_eq!(due(store, &first.pair, at(500)).await, std::slice::from_ref(&first.pair));
    let found = store.lookup(at(2 * HOUR), &[LookupOp { callee: aor("bob"), caller: Some(aor("alice")) }]).await.expect("lookup");
    assert_eq!(found[0].watch, Some(longer.next));
}

pub async fn hastening_and_postponing_move_the_due_time(subject: &impl Subject) {
    let store = subject.store();
    let first = watch(pair("bob", "alice"), NOW);
    armed(store, &first).await;
    assert_eq!(due(store, &first.pair, at(HOUR - 1)).await, []);
    assert_eq!(due(store, &first.pair, at(HOUR)).await, std::slice::from_ref(&first.pair), "due with its deadline");
    store.hasten(&[first.pair.clone(), pair("bob", "stranger")], at(1000)).await.expect("hasten");
    store.hasten(std::slice::from_ref(&first.pair), at(2000)).await.expect("hasten");
    assert_eq!(due(store, &first.pair, at(1000)).await, std::slice::from_ref(&first.pair), "never later, never a stranger");
    assert_eq!(store.postpone(&first.pair, Fence(first.fence.0 + 1), at(3000)).await, Ok(false));
    assert_eq!(store.postpone(&pair("bob", "stranger"), first.fence, at(3000)).await, Ok(false));
    assert_eq!(store.postpone(&first.pair, first.fence, at(3000)).await, Ok(true));
    assert_eq!(due(store, &first.pair, at(2999)).await, []);
    assert_eq!(due(store, &first.pair, at(3000)).await, std::slice::from_ref(&first.pair));
}

pub async fn due_pairs_come_in_order_and_are_bounded(subject: &impl Subject) {
    let store = subject.store();
    let watches: Vec<Watch> = (0..10).map(|n| watch(pair("bob", &format!("c{n}")), at(9 - n))).collect();
    for watch in &watches {
        armed(store, watch).await;
    }
    let shard = aor("bob").shard();
    let found = store.due(&[shard], at(2 * HOUR), 4).await.expect("due");
    assert_eq!(found.watches, [10]);
    assert_eq!(found.pairs, watches.iter().rev().take(4).map(|w| w.pair.clone()).collect::<Vec<_>>());
    let other = redial_core::Shard((shard.0 + 1) % redial_core::ids::SHARDS);
    assert_eq!(store.due(&[other, shard], at(2 * HOUR), 4).await.expect("due").watches, [0, 10]);
    assert_eq!(store.due(&[other, shard], at(2 * HOUR), 100).await.expect("due").pairs.len(), 10);
}

pub async fn parked_watches_are_seen_when_the_caller_registers(subject: &impl Subject) {
    let store = subject.store();
    let first = watch(pair("bob", "alice"), NOW);
    armed(store, &first).await;
    let mut park = step(&first, State::Armed, Turn::Release);
    park.next.parked = true;
    applied(store, &park).await;
    assert_eq!(store.parked(&aor("alice")).await, Ok(vec![first.pair.clone()]));
    assert_eq!(store.parked(&aor("bob")).await, Ok(vec![]));
    let back = registered(store, put("alice", "a", 1)).await;
    assert!(back.parked && !back.waited_for);
    let mut unpark = step(&park.next, claimed(), Turn::Leave);
    unpark.next.parked = false;
    applied(store, &unpark).await;
    assert!(!registered(store, put("alice", "a", 2)).await.parked);
    assert_eq!(store.parked(&aor("alice")).await, Ok(vec![]));
}

pub async fn parking_a_caller_who_has_just_registered_is_due_at_once(subject: &impl Subject) {
    let store = subject.store();
    let first = watch(pair("bob", "alice"), NOW);
    armed(store, &first).await;
    assert!(!registered(store, put("alice", "a", 1)).await.parked, "not parked yet");
    let mut park = step(&first, State::Armed, Turn::Release);
    park.next.parked = true;
    applied(store, &park).await;
    assert_eq!(due(store, &first.pair, NOW).await, [first.pair]);
}

pub async fn watches_are_listed_by_shard(subject: &impl Subject) {
    let store = subject.store();
    let watches = [watch(pair("bob", "alice"), NOW), watch(pair("bob", "carol"), at(1))];
    store.arm(NOW, &watches).await.expect("arm");
    let shard = aor("bob").shard();
    assert_eq!(store.list(shard, 10).await, Ok(watches.to_vec()));
    assert_eq!(store.list(shard, 1).await, Ok(watches[..1].to_vec()));
    assert_eq!(store.list(shard, 0).await, Ok(vec![]));
}
