//! Recalls that do not go well.

use std::time::Duration;

use redial_core::EndReason::{Cancelled, Connected, Failed};
use redial_core::link::*;
use redial_core::{EdgeId, Policy};

use super::bench::{Bench, aor, contact, flow};

/// Alice was recalled; the order is out.
async fn recalled(change: impl FnOnce(&mut Policy)) -> (Bench, RecallOrder) {
    let mut b = Bench::new(change);
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.register("bob").await;
    b.advance(1).await;
    let order = b.order();
    (b, order)
}

#[tokio::test]
async fn a_refused_rung_is_followed_by_the_next_and_then_by_a_wait() {
    let (mut b, first) = recalled(|_| ()).await;
    assert_eq!(first.rung, 1);
    b.report(&first, RecallResult::Refused(501)).await;
    let second = b.order();
    assert_eq!(second.rung, 2);
    assert!(second.fence > first.fence);
    b.report(&second, RecallResult::Refused(405)).await;
    b.advance(29).await;
    assert!(b.recalled().is_empty());
    b.advance(2).await;
    let again = b.order();
    assert_eq!(again.rung, 1);
    b.connect(&again).await;
    assert_eq!((b.ended(Connected), b.all_ended()), (1, 1));
}

#[tokio::test]
async fn p4_a_recall_does_not_outlast_the_deadline() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.route(Route { period: RequestedPeriod::Seconds(60), ..Bench::invitation("alice", "bob") }).await;
    b.advance(50).await;
    b.register("bob").await;
    b.advance(1).await;
    assert_eq!(b.order().timeout, Duration::from_secs(9));
}

#[tokio::test]
async fn a_phone_that_refuses_for_ever_ends_as_failed() {
    let (mut b, mut order) = recalled(|p| p.max_attempts = 2).await;
    for _ in 0..2 {
        b.report(&order, RecallResult::Refused(501)).await;
        let next = b.order();
        b.report(&next, RecallResult::Refused(501)).await;
        b.advance(31).await;
        match b.orders().pop() {
            Some((_, again)) => order = again,
            None => break,
        }
    }
    assert_eq!((b.ended(Failed), b.all_ended()), (1, 1));
    assert!(b.nothing_left());
}

#[tokio::test]
async fn a_caller_who_left_is_recalled_when_back() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.unregister("alice").await;
    b.register("bob").await;
    b.advance(10).await;
    assert!(b.recalled().is_empty());
    assert!(b.watch("alice", "bob").await.unwrap().parked);
    b.register("alice").await;
    assert_eq!(b.recalled(), ["alice"]);
}

#[tokio::test]
async fn an_unreachable_caller_is_recalled_after_the_next_register() {
    let (mut b, order) = recalled(|_| ()).await;
    b.report(&order, RecallResult::Unreachable).await;
    b.advance(20).await;
    assert!(b.recalled().is_empty());
    b.register("alice").await;
    let again = b.order();
    b.connect(&again).await;
    assert_eq!((b.ended(Connected), b.all_ended()), (1, 1));
}

#[tokio::test]
async fn a_caller_who_registers_while_the_recall_fails_is_recalled_again_at_once() {
    let (mut b, order) = recalled(|_| ()).await;
    // The REFER goes to where alice was; her phone has moved and registers before the edge gives up.
    b.advance(5).await;
    b.register("alice").await;
    b.advance(10).await;
    assert!(b.recalled().is_empty(), "the first order is still out");
    b.report(&order, RecallResult::Unreachable).await;
    let again = b.order();
    // Unreachable once more, and no REGISTER since: now it waits for one, for a while.
    b.report(&again, RecallResult::Unreachable).await;
    b.advance(50).await;
    b.sweep().await;
    assert!(b.recalled().is_empty());
    b.register("alice").await;
    let last = b.order();
    b.connect(&last).await;
    assert_eq!((b.ended(Connected), b.all_ended()), (1, 1));
}

#[tokio::test]
async fn a_caller_who_stays_silent_and_registered_is_asked_again_more_and_more_rarely() {
    let (mut b, mut order) = recalled(|_| ()).await;
    for wait in [30, 60, 120, 240, 480, 600, 600] {
        b.report(&order, RecallResult::Unreachable).await;
        b.advance(wait - 1).await;
        b.sweep().await;
        assert!(b.recalled().is_empty(), "{wait}");
        b.advance(1).await;
        b.sweep().await;
        order = b.order();
    }
    assert_eq!(b.watch("alice", "bob").await.unwrap().attempts, 0);
}

#[tokio::test]
async fn a_crash_between_the_failed_recall_and_the_next_does_not_lose_the_register_in_between() {
    let (mut b, order) = recalled(|_| ()).await;
    b.advance(5).await;
    b.register("alice").await;
    let failed = RecallReport { pair: order.pair.clone(), fence: order.fence, rung: order.rung, result: RecallResult::Unreachable };
    assert_eq!(b.one(Event::RecallReport(failed)).await, Reply::Noted);
    b.crash();
    b.sweep().await;
    assert_eq!(b.recalled(), ["alice"]);
}

#[tokio::test]
async fn an_accepted_recall_without_a_call_goes_on_up_the_ladder() {
    let (mut b, order) = recalled(|_| ()).await;
    b.report(&order, RecallResult::Accepted).await;
    b.advance(19).await;
    assert!(b.recalled().is_empty());
    b.advance(2).await;
    assert_eq!(b.order().rung, 2);
}

#[tokio::test]
async fn a_callee_who_is_gone_again_is_waited_for() {
    let (mut b, order) = recalled(|_| ()).await;
    b.report(&order, RecallResult::Accepted).await;
    b.unregister("bob").await;
    b.advance(2).await;
    let routed = b.invite("alice", "bob").await;
    let Routed::Offline(Offline::Granted { period, trace: None }) = routed else { panic!("{routed:?}") };
    assert_eq!(period, Duration::from_secs(3600 - 3), "the remaining time, not a new period");
    b.advance(60).await;
    assert!(b.recalled().is_empty());
    b.register("bob").await;
    b.advance(1).await;
    let again = b.order();
    b.connect(&again).await;
    assert_eq!((b.metrics.armed_count(), b.ended(Connected), b.all_ended()), (1, 1, 1));
}

#[tokio::test]
async fn a_call_that_fails_is_tried_again_later() {
    let (mut b, order) = recalled(|_| ()).await;
    b.report(&order, RecallResult::Accepted).await;
    let report = b.dial("alice", "bob").await;
    b.call(&report, CallResult::Failed(486)).await;
    assert_eq!(b.all_ended(), 0);
    b.advance(31).await;
    let again = b.order();
    b.connect(&again).await;
    assert_eq!((b.ended(Connected), b.all_ended()), (1, 1));
}

#[tokio::test]
async fn a_call_given_up_by_the_caller_is_the_end() {
    let (mut b, order) = recalled(|_| ()).await;
    b.report(&order, RecallResult::Accepted).await;
    let report = b.dial("alice", "bob").await;
    b.call(&report, CallResult::Cancelled).await;
    assert_eq!((b.ended(Cancelled), b.all_ended()), (1, 1));
    b.advance(600).await;
    assert!(b.recalled().is_empty() && b.nothing_left());
}

#[tokio::test]
async fn a_notify_that_overtakes_its_202_is_understood() {
    let (mut b, order) = recalled(|_| ()).await;
    b.report(&order, RecallResult::Notified(503)).await;
    b.report(&order, RecallResult::Accepted).await;
    b.advance(31).await;
    assert_eq!(b.order().rung, 1);
    assert_eq!(b.all_ended(), 0);
}

#[tokio::test]
async fn p3_a_crash_while_recalling_is_taken_over_after_the_lease() {
    let (mut b, order) = recalled(|_| ()).await;
    b.crash();
    b.sweep().await;
    b.advance(21).await;
    b.sweep().await;
    assert!(b.recalled().is_empty(), "the lease of the one that crashed still runs");
    b.advance(2).await;
    b.sweep().await;
    let again = b.order();
    assert!(again.fence > order.fence);
    // The late word of the first recall concerns nobody any more.
    b.report(&order, RecallResult::Refused(501)).await;
    assert!(b.recalled().is_empty());
    b.connect(&again).await;
    assert_eq!((b.ended(Connected), b.all_ended()), (1, 1));
}

#[tokio::test]
async fn a_crash_while_the_callee_settles_is_made_good_by_the_sweep() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.register("bob").await;
    b.crash();
    b.advance(5).await;
    assert!(b.recalled().is_empty());
    b.sweep().await;
    assert_eq!(b.recalled(), ["alice"]);
}

#[tokio::test]
async fn a_recall_that_only_another_replica_can_deliver_is_left_to_it() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.detach("e1");
    b.register("bob").await;
    b.advance(10).await;
    b.sweep().await;
    assert!(b.recalled().is_empty());
    assert_eq!(b.watch("alice", "bob").await.unwrap().attempts, 0);
    // The other replica has the edge; its sweep finds the watch still due.
    b.attach("e1");
    b.sweep().await;
    assert_eq!(b.recalled(), ["alice"]);
}

#[tokio::test]
async fn p7_a_recall_goes_to_the_phone_that_called_and_only_to_registered_contacts() {
    let mut b = Bench::new(|_| ());
    let expires_at = b.now.after(Duration::from_secs(7200));
    let desk = contact("alice", "desk", 1000, expires_at);
    let mobile = redial_core::Binding { flow: flow("alice-mobile"), ..contact("alice", "mobile", 100, expires_at) };
    let elsewhere = redial_core::Binding { edge: EdgeId::new("e2"), ..contact("alice", "home", 500, expires_at) };
    let contacts = [desk, mobile, elsewhere].map(ContactChange::Put).to_vec();
    b.one(Event::Register(Register { aor: aor("alice"), call_id: "x".into(), cseq: 1, change: BindingChange::Each(contacts) })).await;
    let route = Route { flow: flow("alice-mobile"), ..Bench::invitation("alice", "bob") };
    b.route(route).await;
    b.register("bob").await;
    b.advance(1).await;
    let (edge, order) = b.orders().remove(0);
    let uris: Vec<_> = order.targets.iter().map(|t| t.uri.as_str()).collect();
    assert_eq!((edge.as_str(), uris), ("e1", vec!["sip:alice@mobile", "sip:alice@desk"]));
}
