//! What goes wrong at three in the morning: full queues, a store that takes no changes, records that cannot be read, reloads.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use redial_core::EndReason::{Cancelled, Connected, Expired, Recalled};
use redial_core::link::*;
use redial_core::policy::{EndOn, Fanout};
use redial_core::store::StoreError;

use crate::metrics::Unsure;

use super::bench::{Bench, aor, pair};

/// Both wait for bob, in this order.
async fn alice_and_carol(b: &mut Bench) {
    for caller in ["alice", "carol"] {
        b.register(caller).await;
        b.miss(caller, "bob").await;
        b.advance(1).await;
    }
}

#[tokio::test]
async fn an_order_that_no_edge_takes_is_given_again_soon_and_costs_no_attempt() {
    let mut b = Bench::new(|p| p.max_attempts = 1);
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.edges.full.store(true, Relaxed);
    b.register("bob").await;
    b.advance(5).await;
    assert!(b.recalled().is_empty());
    b.edges.full.store(false, Relaxed);
    b.advance(2).await;
    let order = b.order();
    assert_eq!(b.watch("alice", "bob").await.unwrap().attempts, 0);
    b.connect(&order).await;
    assert_eq!((b.ended(Connected), b.all_ended()), (1, 1));
}

#[tokio::test]
async fn p6_a_store_that_takes_no_changes_does_not_stop_calls_of_watched_pairs() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.register("bob").await;
    b.advance(1).await;
    let order = b.order();
    b.report(&order, RecallResult::Accepted).await;
    b.store.read_only.store(true, Relaxed);
    let report = b.dial("alice", "bob").await;
    assert_eq!(report.len(), 1);
    // The answer cannot be stored now either, but it is not forgotten.
    let answered = CallReport { pair: pair("alice", "bob"), fence: report[0].fence, result: CallResult::Established };
    assert_eq!(b.one(Event::CallReport(answered)).await, Reply::Failed(Failure::StoreUnavailable));
    b.advance(5).await;
    b.store.read_only.store(false, Relaxed);
    b.advance(5).await;
    assert_eq!((b.ended(Connected), b.all_ended()), (1, 1));
    b.advance(600).await;
    b.sweep().await;
    assert!(b.recalled().is_empty() && b.nothing_left(), "who was connected is not recalled");
}

#[tokio::test]
async fn p6_a_callee_who_came_back_just_before_the_outage_is_served_after_it() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    let event = b.registration("bob");
    assert!(matches!(b.one(event).await, Reply::Registered(Registered::Bindings(_))));
    // The 200 is out; nothing is in the due index yet.
    b.store.down.store(true, Relaxed);
    b.advance(30).await;
    b.store.down.store(false, Relaxed);
    b.advance(5).await;
    assert_eq!(b.recalled(), ["alice"]);
}

#[tokio::test]
async fn p6_a_parked_caller_who_came_back_just_before_the_outage_is_recalled_after_it() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.unregister("alice").await;
    b.register("bob").await;
    b.advance(2).await;
    assert!(b.watch("alice", "bob").await.unwrap().parked);
    let event = b.registration("alice");
    b.one(event).await;
    b.store.down.store(true, Relaxed);
    b.advance(30).await;
    b.store.down.store(false, Relaxed);
    b.advance(5).await;
    assert_eq!(b.recalled(), ["alice"]);
}

#[tokio::test]
async fn p1_what_cannot_be_read_is_not_granted() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.store.unreadable.store(true, Relaxed);
    let reply = b.one(Event::Route(Bench::invitation("alice", "bob"))).await;
    assert_eq!(reply, Reply::Failed(Failure::StoreUnavailable));
    assert_eq!(b.engine.cancel(b.now, &pair("alice", "bob")).await, Ok(true), "an operator gets rid of it");
    assert_eq!((b.ended(Cancelled), b.all_ended(), b.metrics.armed_count()), (1, 1, 1));
    assert!(b.nothing_left());
}

#[tokio::test]
async fn p2_a_watch_over_the_caps_that_cannot_be_taken_back_is_counted_as_armed() {
    let mut b = Bench::new(|p| p.max_per_caller = 1);
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.store.endless.store(true, Relaxed);
    assert_eq!(b.one(Event::Route(Bench::invitation("alice", "dave"))).await, Reply::Failed(Failure::StoreUnavailable));
    b.store.endless.store(false, Relaxed);
    b.advance(3601).await;
    b.sweep().await;
    assert_eq!((b.metrics.armed_count(), b.all_ended()), (2, 2));
    assert!(b.nothing_left());
}

#[tokio::test]
async fn a_caller_who_has_armed_again_does_not_hold_the_turn_of_the_last_call() {
    let mut b = Bench::new(|_| ());
    alice_and_carol(&mut b).await;
    b.register("bob").await;
    b.advance(1).await;
    let first = b.order();
    let report = b.connect(&first).await;
    // Bob's phone loses its network in the call; alice misses him again before the call is over for her.
    b.unregister("bob").await;
    b.advance(1).await;
    b.miss("alice", "bob").await;
    b.call(&report, CallResult::Ended).await;
    b.advance(10).await;
    b.register("bob").await;
    b.advance(2).await;
    assert_eq!(b.recalled(), ["carol"]);
}

#[tokio::test]
async fn p3_a_lease_that_ran_out_long_ago_does_not_break_into_the_turn_of_another() {
    let mut b = Bench::new(|_| ());
    alice_and_carol(&mut b).await;
    b.register("bob").await;
    b.advance(1).await;
    assert_eq!(b.recalled(), ["alice"]);
    // The replica dies, and nobody sweeps until the lease and the turn have run out.
    b.crash();
    b.now = b.now.after(Duration::from_secs(25));
    b.engine.wake(b.now, crate::timers::Wake::Serve(aor("bob"))).await;
    assert_eq!(b.recalled(), ["carol"]);
    b.sweep().await;
    assert!(b.recalled().is_empty(), "carol has the turn");
}

#[tokio::test]
async fn a_reload_from_all_to_fifo_lets_one_caller_at_a_time_go_on() {
    let mut b = Bench::new(|p| p.fanout = Fanout::All);
    alice_and_carol(&mut b).await;
    b.register("bob").await;
    b.advance(1).await;
    let orders = b.orders();
    assert_eq!(orders.len(), 2);
    b.reload(|p| p.fanout = Fanout::Fifo);
    for (_, order) in &orders {
        b.report(order, RecallResult::Refused(501)).await;
    }
    assert_eq!(b.recalled(), ["alice"], "the second rung is asked of one only");
}

#[tokio::test]
async fn a_reload_from_fifo_to_all_leaves_no_turn_behind() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.register("bob").await;
    b.advance(1).await;
    let order = b.order();
    b.reload(|p| p.fanout = Fanout::All);
    b.connect(&order).await;
    assert!(b.nothing_left());
}

#[tokio::test]
async fn a_policy_that_is_switched_off_gives_plain_480_and_that_means_no_watch() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.reload(|p| p.enabled = false);
    assert_eq!(b.invite("alice", "bob").await, Routed::Offline(Offline::NotWatched(NotWatched::PolicyOff)));
    assert_eq!((b.ended(Cancelled), b.all_ended()), (1, 1));
    assert!(b.nothing_left());
}

#[tokio::test]
async fn with_end_on_refer_sent_a_notify_that_overtakes_its_202_is_the_end_too() {
    let mut b = Bench::new(|p| p.end_on = EndOn::ReferSent);
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.register("bob").await;
    b.advance(1).await;
    let order = b.order();
    b.report(&order, RecallResult::Notified(200)).await;
    b.report(&order, RecallResult::Accepted).await;
    b.advance(60).await;
    assert_eq!((b.ended(Recalled), b.all_ended()), (1, 1));
    assert!(b.recalled().is_empty() && b.nothing_left());
}

#[tokio::test]
async fn p4_a_sweep_that_takes_long_looks_by_the_time_it_is_and_not_when_it_began() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.register("bob").await;
    b.crash();
    // Due since long; the sweep begins before the deadline and comes to it afterwards.
    let began = b.now.after(Duration::from_secs(3599));
    let late = began.after(Duration::from_secs(2));
    let looked = || b.store.found_due.load(Relaxed);
    let shards = [aor("bob").shard()];
    let swept = b.engine.sweep_by(|| if looked() { late } else { began }, &shards).await.unwrap();
    assert_eq!(swept.due, 1);
    assert!(b.recalled().is_empty());
    assert_eq!((b.ended(Expired), b.all_ended()), (1, 1));
}

#[tokio::test]
async fn one_bad_shard_does_not_hide_the_others_from_the_sweep() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    // Behind the bad shard, in another pipeline.
    let callee = (0..99).map(|n| format!("callee{n}")).find(|name| aor(name).shard().0 >= 512).unwrap();
    b.miss("alice", &callee).await;
    b.store.bad_shard.store(0, Relaxed);
    b.advance(3601).await;
    assert!(matches!(b.engine.sweep(b.now).await, Err(StoreError::Unavailable(_))), "said");
    assert_eq!(b.all_ended(), 1, "and done for the others");
}

#[tokio::test]
async fn a_crash_right_after_the_200_to_a_register_is_made_good_by_the_audit() {
    let mut b = Bench::new(|_| ());
    alice_and_carol(&mut b).await;
    b.unregister("carol").await;
    let event = b.registration("bob");
    b.one(event).await;
    b.crash();
    b.sweep().await;
    assert!(b.recalled().is_empty(), "nothing was due yet when it died");
    b.audit().await;
    assert_eq!(b.recalled(), ["alice"]);
    // The same for the caller of a parked watch.
    assert!(!b.watch("carol", "bob").await.unwrap().parked);
    b.advance(700).await;
    assert!(b.watch("carol", "bob").await.unwrap().parked);
    let event = b.registration("carol");
    b.one(event).await;
    b.crash();
    b.orders();
    b.audit().await;
    assert_eq!(b.recalled(), ["carol"]);
    b.audit().await;
    assert!(b.recalled().is_empty(), "nothing was overlooked");
}

#[tokio::test]
async fn a_cap_that_was_lowered_does_not_hide_those_who_wait_already() {
    let mut b = Bench::new(|_| ());
    alice_and_carol(&mut b).await;
    b.unregister("alice").await;
    b.reload(|p| p.max_per_callee = 1);
    b.register("bob").await;
    b.advance(2).await;
    assert_eq!(b.recalled(), ["carol"], "alice is parked");
}

#[tokio::test]
async fn p2_what_the_store_did_not_confirm_is_told_in_the_books() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.store.read_only.store(true, Relaxed);
    assert_eq!(b.one(Event::Route(Bench::invitation("alice", "carol"))).await, Reply::Failed(Failure::StoreUnavailable));
    assert!(b.engine.cancel(b.now, &pair("alice", "bob")).await.is_err());
    assert_eq!((b.metrics.unsure_count(Unsure::Armed), b.metrics.unsure_count(Unsure::Ended)), (1, 1));
}
