//! Calls that servers upstream route: the coordinator hears what became of them.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use redial_core::EdgeId;
use redial_core::EndReason::{Cancelled, Connected};
use redial_core::link::NotWatched::*;
use redial_core::link::RouteStage::{Lookup, Offline as Away, Ringing};
use redial_core::link::*;
use redial_core::watch::State;

use super::bench::{Bench, flow};

fn refused(why: NotWatched) -> Routed {
    Routed::Offline(Offline::NotWatched(why))
}

/// Nobody to report on.
fn unwatched() -> Routed {
    Routed::Online { targets: vec![], report: vec![] }
}

fn at(stage: RouteStage, caller: &str, callee: &str) -> Route {
    Route { stage, ..Bench::invitation(caller, callee) }
}

impl Bench {
    /// The watches of a call that an upstream has.
    async fn rings(&mut self, caller: &str, callee: &str) -> Vec<WatchRef> {
        match self.route(at(Ringing, caller, callee)).await {
            Routed::Online { targets, report } if targets.is_empty() => report,
            other => panic!("{other:?}"),
        }
    }
}

/// Alice has missed bob; both are registered or only she.
async fn missed(back: bool) -> Bench {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    let routed = b.route(at(Away, "alice", "bob")).await;
    assert!(matches!(routed, Routed::Offline(Offline::Granted { .. })), "{routed:?}");
    if back {
        b.register("bob").await;
        b.advance(1).await;
    }
    b
}

#[tokio::test]
async fn a_call_that_an_upstream_has_is_called_until_it_is_reported() {
    for back in [true, false] {
        let mut b = missed(back).await;
        let report = b.rings("alice", "bob").await;
        assert_eq!(report.len(), 1, "back: {back}");
        assert!(matches!(b.watch("alice", "bob").await.unwrap().state, State::Calling { .. }));
        b.call(&report, CallResult::Established).await;
        assert_eq!((b.ended(Connected), b.all_ended()), (1, 1));
        assert!(b.nothing_left());
    }
}

#[tokio::test]
async fn a_call_of_the_callee_ends_the_watch_as_well() {
    let mut b = missed(true).await;
    let report = b.rings("bob", "alice").await;
    assert_eq!(report.len(), 1);
    b.call(&report, CallResult::Established).await;
    assert_eq!((b.ended(Connected), b.all_ended()), (1, 1));
    assert!(b.nothing_left());
}

#[tokio::test]
async fn a_ringing_call_arms_nothing() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    assert_eq!(b.rings("alice", "bob").await, []);
    b.register("bob").await;
    assert_eq!(b.rings("alice", "bob").await, []);
    assert!(b.nothing_left());
    assert_eq!(b.metrics.armed_count(), 0);
}

#[tokio::test]
async fn an_answer_that_says_offline_is_granted_and_the_watch_recalled() {
    let mut b = missed(true).await;
    let order = b.order();
    b.report(&order, RecallResult::Accepted).await;
    let report = b.rings("alice", "bob").await;
    b.call(&report, CallResult::Established).await;
    assert_eq!((b.metrics.armed_count(), b.ended(Connected), b.all_ended()), (1, 1, 1));
    assert!(b.nothing_left());
}

#[tokio::test]
async fn a_callee_who_is_gone_again_is_waited_for_with_what_is_left_of_the_period() {
    let mut b = missed(true).await;
    let order = b.order();
    b.report(&order, RecallResult::Accepted).await;
    b.unregister("bob").await;
    let void = b.rings("alice", "bob").await;
    let routed = b.route(at(Away, "alice", "bob")).await;
    assert_eq!(routed, Routed::Offline(Offline::Granted { period: Duration::from_secs(3599), trace: None }));
    // The call that rang is over; the watch has a new fence, and what is said of the old one is not heard.
    b.call(&void, CallResult::Failed(480)).await;
    let watch = b.watch("alice", "bob").await.unwrap();
    assert_eq!((watch.state, watch.attempts), (State::Armed, 0));
    b.register("bob").await;
    b.advance(1).await;
    assert_eq!(b.recalled(), ["alice"]);
}

#[tokio::test]
async fn a_registered_callee_who_is_called_offline_is_a_call_that_failed() {
    let mut b = missed(true).await;
    b.orders();
    b.rings("alice", "bob").await;
    let Routed::Online { report, targets } = b.route(at(Away, "alice", "bob")).await else { panic!("bob is registered") };
    assert_eq!((report.len(), targets.len()), (1, 0), "the server knows where he is");
    b.call(&report, CallResult::Failed(480)).await;
    let watch = b.watch("alice", "bob").await.unwrap();
    assert_eq!((watch.state, watch.attempts, watch.not_before), (State::Armed, 1, b.now.after(Duration::from_secs(30))));
    // Nobody waits, and nobody does afterwards.
    b.register("carol").await;
    let routed = b.route(at(Away, "carol", "bob")).await;
    assert!(matches!(&routed, Routed::Online { report, .. } if report.is_empty()), "{routed:?}");
    assert_eq!(b.metrics.armed_count(), 1);
}

#[tokio::test]
async fn p7_an_answer_arms_only_for_a_registered_and_proven_caller() {
    let mut b = Bench::new(|_| ());
    assert_eq!(b.route(at(Away, "mallory", "bob")).await, refused(CallerNotRegistered));
    b.register("alice").await;
    let forged = Route { authenticated: false, flow: flow("mallory"), ..at(Away, "alice", "bob") };
    assert_eq!(b.route(forged.clone()).await, refused(CallerNotAuthenticated));
    assert_eq!(b.route(Route { edge: EdgeId::new("e2"), flow: flow("alice"), ..forged }).await, refused(CallerNotAuthenticated));
    assert!(b.nothing_left());
    let by_flow = Route { authenticated: false, ..at(Away, "alice", "bob") };
    assert!(matches!(b.route(by_flow).await, Routed::Offline(Offline::Granted { .. })));
}

#[tokio::test]
async fn p7_a_forged_call_that_rings_changes_no_watch() {
    let mut b = missed(true).await;
    let order = b.order();
    let forged = Route { authenticated: false, flow: flow("mallory"), ..at(Ringing, "alice", "bob") };
    assert_eq!(b.route(forged.clone()).await, unwatched());
    assert_eq!(b.route(Route { period: RequestedPeriod::OptOut, ..forged }).await, unwatched());
    assert_eq!(b.watch("alice", "bob").await.map(|watch| watch.fence), Some(order.fence));
}

#[tokio::test]
async fn opting_out_cancels_at_any_stage() {
    for (stage, back) in [(Ringing, false), (Ringing, true), (Away, false), (Away, true)] {
        let mut b = missed(back).await;
        let out = Route { period: RequestedPeriod::OptOut, ..at(stage, "alice", "bob") };
        match b.route(out).await {
            Routed::Offline(said) => assert_eq!(said, Offline::NotWatched(OptedOut)),
            Routed::Online { report, .. } => assert_eq!(report, []),
        }
        assert_eq!((b.ended(Cancelled), b.all_ended()), (1, 1), "{stage:?} {back}");
        assert!(b.nothing_left());
    }
}

#[tokio::test]
async fn p6_a_store_that_is_away_is_said_at_every_stage() {
    let mut b = missed(true).await;
    b.store.down.store(true, Relaxed);
    for stage in [Lookup, Ringing, Away] {
        assert_eq!(b.one(Event::Route(at(stage, "alice", "bob"))).await, Reply::Failed(Failure::StoreUnavailable));
    }
}
