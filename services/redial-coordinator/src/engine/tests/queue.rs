//! Several callers, one callee.

use std::time::Duration;

use redial_core::EndReason::{Cancelled, Connected, Failed};
use redial_core::link::*;
use redial_core::policy::Fanout;

use super::bench::Bench;

async fn waiting(b: &mut Bench, callers: &[&str]) {
    for caller in callers {
        b.register(caller).await;
    }
    for caller in callers {
        b.miss(caller, "bob").await;
        b.advance(1).await;
    }
}

#[tokio::test]
async fn fifo_recalls_the_next_when_the_call_has_ended() {
    let mut b = Bench::new(|_| ());
    waiting(&mut b, &["alice", "carol"]).await;
    b.register("bob").await;
    b.advance(1).await;
    let first = b.order();
    assert_eq!(first.pair.caller.user(), "alice");
    let report = b.connect(&first).await;
    b.advance(120).await;
    assert!(b.recalled().is_empty(), "bob is talking");
    b.call(&report, CallResult::Ended).await;
    let second = b.order();
    assert_eq!(second.pair.caller.user(), "carol");
    let report = b.connect(&second).await;
    b.call(&report, CallResult::Ended).await;
    assert_eq!((b.ended(Connected), b.all_ended()), (2, 2));
    assert!(b.nothing_left());
}

#[tokio::test]
async fn all_recalls_everybody_at_once() {
    let mut b = Bench::new(|p| p.fanout = Fanout::All);
    waiting(&mut b, &["alice", "carol", "dave"]).await;
    b.register("bob").await;
    b.advance(1).await;
    let orders = b.orders();
    let callers: Vec<_> = orders.iter().map(|(_, o)| o.pair.caller.user()).collect();
    assert_eq!(callers, ["alice", "carol", "dave"]);
    for (_, order) in &orders {
        b.connect(order).await;
    }
    assert_eq!((b.ended(Connected), b.all_ended()), (3, 3));
    assert!(b.nothing_left());
}

#[tokio::test]
async fn twenty_wait_and_each_is_connected_once_in_order() {
    let mut b = Bench::new(|_| ());
    let callers: Vec<String> = (0..20).map(|n| format!("caller{n:02}")).collect();
    let names: Vec<&str> = callers.iter().map(String::as_str).collect();
    waiting(&mut b, &names).await;
    b.register("bob").await;
    b.advance(1).await;
    let mut served = Vec::new();
    for _ in 0..20 {
        let order = b.order();
        served.push(order.pair.caller.user().to_owned());
        let report = b.connect(&order).await;
        b.register("bob").await;
        b.advance(30).await;
        b.call(&report, CallResult::Ended).await;
    }
    assert_eq!(served, callers);
    assert!(b.recalled().is_empty());
    assert_eq!((b.ended(Connected), b.all_ended()), (20, 20));
    assert!(b.nothing_left());
}

#[tokio::test]
async fn a_caller_who_is_away_does_not_hold_up_the_next() {
    let mut b = Bench::new(|_| ());
    waiting(&mut b, &["alice", "carol"]).await;
    b.unregister("alice").await;
    b.register("bob").await;
    b.advance(1).await;
    let order = b.order();
    assert_eq!(order.pair.caller.user(), "carol");
    // Alice is back while carol talks: she waits for her turn.
    let report = b.connect(&order).await;
    b.advance(5).await;
    b.register("alice").await;
    b.advance(5).await;
    assert!(b.recalled().is_empty());
    b.call(&report, CallResult::Ended).await;
    assert_eq!(b.recalled(), ["alice"]);
}

#[tokio::test]
async fn a_bye_that_is_never_seen_holds_the_queue_up_for_turn_max_only() {
    let mut b = Bench::new(|p| p.turn_max = Duration::from_secs(300));
    waiting(&mut b, &["alice", "carol"]).await;
    b.register("bob").await;
    b.advance(1).await;
    let first = b.order();
    b.connect(&first).await;
    b.advance(299).await;
    assert!(b.recalled().is_empty());
    b.advance(2).await;
    assert_eq!(b.recalled(), ["carol"]);
}

#[tokio::test]
async fn a_crash_during_the_first_turn_does_not_lose_the_second_caller() {
    let mut b = Bench::new(|p| p.turn_max = Duration::from_secs(300));
    waiting(&mut b, &["alice", "carol"]).await;
    b.register("bob").await;
    b.advance(1).await;
    let first = b.order();
    b.connect(&first).await;
    b.crash();
    b.advance(301).await;
    b.sweep().await;
    assert_eq!(b.recalled(), ["carol"]);
}

#[tokio::test]
async fn a_watch_that_ends_in_its_turn_passes_it_on() {
    let mut b = Bench::new(|p| p.max_attempts = 1);
    waiting(&mut b, &["alice", "carol", "dave"]).await;
    b.register("bob").await;
    b.advance(1).await;
    let first = b.order();
    b.report(&first, RecallResult::Accepted).await;
    let report = b.dial("alice", "bob").await;
    b.call(&report, CallResult::Failed(603)).await;
    assert_eq!(b.ended(Failed), 1);
    let second = b.order();
    assert_eq!(second.pair.caller.user(), "carol");
    b.report(&second, RecallResult::Accepted).await;
    let report = b.dial("carol", "bob").await;
    b.call(&report, CallResult::Cancelled).await;
    assert_eq!(b.ended(Cancelled), 1);
    assert_eq!(b.recalled(), ["dave"]);
}

#[tokio::test]
async fn what_becomes_due_out_of_turn_does_not_stay_due() {
    let mut b = Bench::new(|_| ());
    waiting(&mut b, &["alice", "carol"]).await;
    b.register("bob").await;
    b.advance(1).await;
    assert_eq!(b.recalled(), ["alice"]);
    b.crash();
    b.sweep().await;
    assert!(b.recalled().is_empty());
    let due = b.engine.sweep(b.now).await.unwrap().due;
    assert_eq!(due, 0, "carol is looked at again when alice's turn is over");
}

#[tokio::test]
async fn p5_nothing_is_set_off_before_the_replies_are_handed_over() {
    let mut b = Bench::new(|p| p.settle = Duration::ZERO);
    waiting(&mut b, &["alice"]).await;
    // The end of the watch is all that is waited for.
    let deadline = b.timers.next();
    let request = Request { id: u64::MAX, timeout: Duration::from_secs(3), event: b.registration("bob"), trace: None };
    let mut handed_over = 0;
    b.engine
        .handle_then(b.now, vec![request], |replies| {
            handed_over = replies.len();
            assert_eq!(b.timers.next(), deadline, "the recall could overtake the 200");
        })
        .await;
    assert_eq!((handed_over, b.timers.next()), (1, Some(b.now)));
    b.advance(0).await;
    assert_eq!(b.order().pair.caller.user(), "alice");
}
