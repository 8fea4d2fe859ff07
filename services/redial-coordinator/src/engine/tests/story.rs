//! One caller, one callee.

use std::time::Duration;

use redial_core::EndReason::{self, Cancelled, Connected, Expired, Recalled};
use redial_core::link::*;
use redial_core::policy::EndOn;

use super::bench::{Bench, aor, pair};

#[tokio::test]
async fn missed_remembered_recalled_connected() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    let routed = b.invite("alice", "bob").await;
    assert_eq!(routed, Routed::Offline(Offline::Granted { period: Duration::from_secs(3600), trace: None }));
    b.advance(600).await;
    b.register("bob").await;
    assert_eq!(b.recalled(), Vec::<String>::new(), "bob's phone settles first");
    b.advance(1).await;
    let order = b.order();
    assert_eq!((order.pair.clone(), order.rung, order.targets[0].uri.as_str()), (pair("alice", "bob"), 1, "sip:alice@phone"));
    b.report(&order, RecallResult::Accepted).await;
    let report = b.dial("alice", "bob").await;
    assert_eq!(report.len(), 1);
    b.call(&report, CallResult::Established).await;
    assert_eq!((b.ended(Connected), b.all_ended()), (1, 1));
    b.call(&report, CallResult::Ended).await;
    assert!(b.nothing_left());
    assert_eq!(b.recalled(), Vec::<String>::new());
}

#[tokio::test]
async fn p1_the_watch_is_stored_before_it_is_granted() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    let reply = b.one(Event::Route(Bench::invitation("alice", "bob"))).await;
    assert!(matches!(reply, Reply::Routed(Routed::Offline(Offline::Granted { .. }))));
    assert!(b.watch("alice", "bob").await.is_some());
    b.store.down.store(true, std::sync::atomic::Ordering::Relaxed);
    let reply = b.one(Event::Route(Bench::invitation("alice", "carol"))).await;
    assert_eq!(reply, Reply::Failed(Failure::StoreUnavailable), "what is not stored is not granted");
}

#[tokio::test]
async fn nobody_comes_back_and_the_watch_expires_without_a_message() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.advance(3601).await;
    b.sweep().await;
    assert_eq!((b.ended(Expired), b.all_ended()), (1, 1));
    assert!(b.nothing_left());
    b.register("bob").await;
    b.advance(60).await;
    assert!(b.recalled().is_empty());
}

#[tokio::test]
async fn p4_no_recall_at_or_after_the_deadline() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.advance(3599).await;
    // Settles exactly at the deadline.
    b.register("bob").await;
    b.advance(5).await;
    b.sweep().await;
    assert!(b.recalled().is_empty());
    assert_eq!((b.ended(Expired), b.all_ended()), (1, 1));
    assert!(b.nothing_left());
}

#[tokio::test]
async fn the_granted_period_is_the_asked_one_within_the_bounds() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    for (user, asked, granted) in [("bob", 600, 600), ("carol", 99_999_999, 86_400)] {
        let route = Route { period: RequestedPeriod::Seconds(asked), ..Bench::invitation("alice", user) };
        let routed = b.route(route).await;
        assert_eq!(routed, Routed::Offline(Offline::Granted { period: Duration::from_secs(granted), trace: None }));
    }
}

#[tokio::test]
async fn opting_out_cancels_the_watch_of_this_pair_only() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.miss("alice", "carol").await;
    let out = Route { period: RequestedPeriod::OptOut, ..Bench::invitation("alice", "bob") };
    assert_eq!(b.route(out.clone()).await, Routed::Offline(Offline::NotWatched(NotWatched::OptedOut)));
    assert_eq!((b.ended(Cancelled), b.all_ended()), (1, 1));
    assert!(b.watch("alice", "bob").await.is_none());
    assert!(b.watch("alice", "carol").await.is_some());
    assert_eq!(b.route(out).await, Routed::Offline(Offline::NotWatched(NotWatched::OptedOut)));
    assert_eq!(b.all_ended(), 1);
}

#[tokio::test]
async fn an_operator_cancels_whatever_it_is_doing() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.register("bob").await;
    b.advance(1).await;
    let order = b.order();
    assert_eq!(b.engine.cancel(b.now, &pair("alice", "bob")).await, Ok(true));
    assert_eq!(b.engine.cancel(b.now, &pair("alice", "bob")).await, Ok(false));
    b.report(&order, RecallResult::Accepted).await;
    b.advance(3600).await;
    assert_eq!((b.ended(Cancelled), b.all_ended()), (1, 1));
    assert!(b.nothing_left());
}

#[tokio::test]
async fn dialling_again_while_waiting_keeps_one_watch_with_a_new_period() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.advance(1800).await;
    assert_eq!(b.invite("alice", "bob").await, Routed::Offline(Offline::Granted { period: Duration::from_secs(3600), trace: None }));
    assert_eq!(b.metrics.armed_count(), 1);
    b.advance(1801).await;
    b.sweep().await;
    assert_eq!(b.all_ended(), 0);
}

#[tokio::test]
async fn the_callee_calling_the_caller_ends_the_watch() {
    let mut b = Bench::new(|p| p.settle = Duration::from_secs(30));
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.register("bob").await;
    let report = b.dial("bob", "alice").await;
    assert_eq!(report.iter().map(|w| w.pair.clone()).collect::<Vec<_>>(), [pair("alice", "bob")]);
    b.call(&report, CallResult::Established).await;
    b.advance(60).await;
    assert_eq!((b.ended(Connected), b.all_ended()), (1, 1));
    assert!(b.recalled().is_empty() && b.nothing_left());
}

#[tokio::test]
async fn with_end_on_refer_sent_an_accepted_recall_is_the_end() {
    let mut b = Bench::new(|p| p.end_on = EndOn::ReferSent);
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.register("bob").await;
    b.advance(1).await;
    let order = b.order();
    b.report(&order, RecallResult::Accepted).await;
    assert_eq!((b.ended(Recalled), b.all_ended()), (1, 1));
    assert!(b.dial("alice", "bob").await.is_empty());
    b.advance(60).await;
    assert!(b.nothing_left());
}

#[tokio::test]
async fn p3_a_repeated_register_makes_one_recall() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    let again = b.registration("bob");
    b.send(vec![again.clone(), again.clone()]).await;
    b.register("bob").await;
    b.advance(2).await;
    b.one(again).await;
    b.register("bob").await;
    b.advance(2).await;
    b.sweep().await;
    assert_eq!(b.recalled(), ["alice"]);
}

#[tokio::test]
async fn p3_two_replicas_that_serve_at_once_make_one_recall() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.register("bob").await;
    let other = Bench::new(|_| ());
    let engine = crate::engine::Engine::new(
        b.store.clone(),
        b.edges.clone(),
        tokio::sync::watch::channel(std::sync::Arc::default()).1,
        other.timers.clone(),
        other.metrics.clone(),
    );
    b.advance(1).await;
    engine.wake(b.now, crate::timers::Wake::Serve(aor("bob"))).await;
    engine.sweep(b.now).await.unwrap();
    assert_eq!(b.recalled(), ["alice"]);
}

#[tokio::test]
async fn a_register_and_an_invite_in_one_batch_keep_their_order() {
    let mut b = Bench::new(|_| ());
    let batch = vec![b.registration("alice"), Event::Route(Bench::invitation("alice", "bob")), b.registration("bob")];
    let replies = b.send(batch).await;
    assert!(matches!(replies[1], Reply::Routed(Routed::Offline(Offline::Granted { .. }))), "{replies:?}");
    b.advance(1).await;
    assert_eq!(b.recalled(), ["alice"], "bob's REGISTER came after the watch");
}

#[tokio::test]
async fn every_end_is_counted_under_one_reason() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.register("bob").await;
    b.advance(1).await;
    let order = b.order();
    let report = b.connect(&order).await;
    for result in [CallResult::Established, CallResult::Failed(486), CallResult::Cancelled, CallResult::Ended, CallResult::Ended] {
        b.call(&report, result).await;
    }
    b.report(&order, RecallResult::Notified(200)).await;
    assert_eq!(b.all_ended(), 1);
    assert_eq!(EndReason::ALL.iter().filter(|r| b.ended(**r) > 0).count(), 1);
    assert!(b.nothing_left());
}
