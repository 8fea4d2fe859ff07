//! The rungs above REFER, and which of them is tried first.

use redial_core::EndReason::{Cancelled, Connected, Notified};
use redial_core::WatchStore;
use redial_core::link::{CallResult, RecallResult, StopOrder};
use redial_core::policy::{OnDecline, Policy};

use super::bench::*;

/// Alice has missed Bob, and he is back.
async fn recalled(change: impl FnOnce(&mut Policy)) -> Bench {
    let mut b = Bench::new(change);
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.register("bob").await;
    b.advance(1).await;
    b
}

#[tokio::test]
async fn the_rung_that_connected_a_kind_of_phone_is_tried_first_next_time() {
    let mut b = recalled(|p| p.ladder = vec![1, 3]).await;
    let first = b.order();
    assert_eq!(first.rung, 1);
    b.report(&first, RecallResult::Refused(501)).await;
    let call = b.order();
    assert_eq!((call.rung, call.timeout.as_secs()), (3, 25), "with time for the transfer");
    let report = b.connect(&call).await;
    b.call(&report, CallResult::Ended).await;
    assert_eq!(b.ended(Connected), 1);
    b.unregister("bob").await;
    b.miss("alice", "bob").await;
    b.register("bob").await;
    b.advance(1).await;
    assert_eq!(b.order().rung, 3);
    assert_eq!(b.store.lessons(b.now).await.map(|all| all.len()), Ok(1));
}

#[tokio::test]
async fn a_phone_that_does_not_hear_refers_is_called_and_next_time_at_once() {
    let mut b = recalled(|p| p.ladder = vec![1, 2, 3]).await;
    let refer = b.order();
    b.advance(20).await;
    b.report(&refer, RecallResult::Silent).await;
    let call = b.order();
    assert_eq!((refer.rung, call.rung), (1, 3), "another REFER would not be heard either");
    b.report(&call, RecallResult::Accepted).await;
    let report = b.dial("alice", "bob").await;
    b.call(&report, CallResult::Established).await;
    b.call(&report, CallResult::Ended).await;
    b.unregister("bob").await;
    b.miss("alice", "bob").await;
    b.register("bob").await;
    b.advance(1).await;
    assert_eq!((b.order().rung, b.ended(Connected)), (3, 1));
}

#[tokio::test]
async fn a_phone_that_is_off_is_asked_once_on_each_rung_that_differs_and_then_waited_for() {
    let mut b = recalled(|p| p.ladder = vec![1, 2, 3]).await;
    for rung in [1, 3] {
        let order = b.order();
        assert_eq!(order.rung, rung);
        b.advance(20).await;
        b.report(&order, RecallResult::Silent).await;
    }
    b.advance(20).await;
    b.sweep().await;
    assert!(b.recalled().is_empty());
    let watch = b.watch("alice", "bob").await.expect("a watch");
    assert_eq!((watch.parked, watch.attempts), (true, 0));
    b.register("alice").await;
    assert_eq!(b.order().rung, 1, "it is on again");
}

/// The REFER was heard after all, when its order was over and the phone was being called.
#[tokio::test]
async fn p3_a_silent_phone_that_calls_late_is_not_rung_any_longer() {
    let mut b = recalled(|p| p.ladder = vec![1, 3]).await;
    let refer = b.order();
    b.report(&refer, RecallResult::Silent).await;
    let call = b.order();
    let report = b.dial("alice", "bob").await;
    let stop = StopOrder { pair: pair("alice", "bob"), fence: call.fence };
    assert_eq!(*b.edges.stops.lock().unwrap(), [stop]);
    b.report(&call, RecallResult::Silent).await;
    b.call(&report, CallResult::Established).await;
    b.advance(60).await;
    assert!(b.recalled().is_empty());
    assert_eq!((b.ended(Connected), b.all_ended()), (1, 1));
}

#[tokio::test]
async fn a_call_that_nobody_asked_for_teaches_nothing() {
    let mut b = recalled(|p| p.settle = std::time::Duration::from_secs(30)).await;
    let report = b.dial("alice", "bob").await;
    b.call(&report, CallResult::Established).await;
    assert_eq!((b.ended(Connected), b.store.lessons(b.now).await), (1, Ok(vec![])));
}

#[tokio::test]
async fn a_phone_that_rings_is_told_when_the_caller_dials_or_forgets() {
    let mut b = recalled(|p| p.ladder = vec![3]).await;
    let order = b.order();
    b.dial("alice", "bob").await;
    let stop = StopOrder { pair: pair("alice", "bob"), fence: order.fence };
    assert_eq!(*b.edges.stops.lock().unwrap(), [stop]);
    let mut cancelled = recalled(|p| p.ladder = vec![3]).await;
    let order = cancelled.order();
    assert_eq!(cancelled.engine.cancel(cancelled.now, &pair("alice", "bob")).await, Ok(true));
    assert_eq!(cancelled.edges.stops.lock().unwrap().first().map(|stop| stop.fence), Some(order.fence));
    cancelled.report(&order, RecallResult::Accepted).await;
    assert_eq!((cancelled.ended(Cancelled), cancelled.all_ended()), (1, 1));
}

#[tokio::test]
async fn a_caller_who_declines_is_left_alone_unless_the_policy_says_later() {
    let mut b = recalled(|p| p.ladder = vec![3]).await;
    let order = b.order();
    b.report(&order, RecallResult::Declined(486)).await;
    assert_eq!((b.ended(Cancelled), b.all_ended()), (1, 1));
    let mut b = recalled(|p| (p.ladder, p.on_decline) = (vec![3], OnDecline::Retry)).await;
    let order = b.order();
    b.report(&order, RecallResult::Declined(603)).await;
    b.advance(31).await;
    assert_eq!((b.order().rung, b.all_ended()), (3, 0));
}

#[tokio::test]
async fn p2_a_message_that_was_taken_ends_the_watch_once_as_notified() {
    let mut b = recalled(|p| p.ladder = vec![1, 4]).await;
    let order = b.order();
    b.report(&order, RecallResult::Refused(405)).await;
    let message = b.order();
    assert_eq!(message.rung, 4);
    b.report(&message, RecallResult::Accepted).await;
    b.report(&message, RecallResult::Accepted).await;
    assert_eq!((b.ended(Notified), b.all_ended()), (1, 1));
    b.advance(60).await;
    assert!(b.nothing_left());
}
