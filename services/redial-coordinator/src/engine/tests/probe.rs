//! Callees whose registration ran out and who are there nevertheless.

use std::time::Duration;

use redial_core::EndReason::Expired;
use redial_core::link::{Event, Locate, ProbeReport, RecallResult, Reply, Route, RouteStage, Routed};

use super::bench::*;

/// Longer than a registration lasts.
const RUN_OUT: u64 = 90_001;

/// Bob's registration has run out, and Alice waits for him.
async fn waiting() -> Bench {
    let mut b = Bench::new(|p| (p.probe, p.period_default) = (Some(Duration::from_secs(60)), Duration::from_secs(600)));
    b.register("bob").await;
    b.advance(RUN_OUT).await;
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b
}

/// Bob answers the first probe, and Alice is about to be recalled.
async fn answered() -> Bench {
    let mut b = waiting().await;
    b.advance(59).await;
    assert!(b.edges.probes.lock().unwrap().is_empty());
    b.advance(2).await;
    let probe = b.edges.probes.lock().unwrap().pop().expect("asked at the first interval");
    assert_eq!(probe.aor, aor("bob"));
    let report = Event::ProbeReport(ProbeReport { aor: probe.aor, binding: probe.binding });
    assert_eq!(b.one(report).await, Reply::Noted);
    b.advance(1).await;
    b
}

#[tokio::test]
async fn a_phone_that_answers_a_probe_is_back_as_if_it_had_registered() {
    let mut b = answered().await;
    let order = b.order();
    b.connect(&order).await;
    assert_eq!(b.all_ended(), 1);
    b.advance(300).await;
    assert!(b.edges.probes.lock().unwrap().is_empty(), "nobody waits any more");
}

/// A server upstream has forgotten bob, whose phone is there.
#[tokio::test]
async fn a_phone_that_only_a_probe_knows_of_is_a_target_where_servers_have_none() {
    let at = |stage| Route { stage, ..Bench::invitation("alice", "bob") };
    let mut b = answered().await;
    let order = b.order();
    b.report(&order, RecallResult::Accepted).await;
    let found = |routed| match routed {
        Routed::Online { targets, report } => (targets.len(), report.len()),
        Routed::Offline(why) => panic!("{why:?}"),
    };
    assert_eq!(found(b.route(at(RouteStage::Ringing)).await), (0, 1), "the server may find him yet");
    let forged = Route { authenticated: false, flow: flow("mallory"), ..at(RouteStage::Offline) };
    assert_eq!(found(b.route(forged).await), (0, 0));
    assert_eq!(found(b.route(at(RouteStage::Offline)).await), (1, 1));
    // With a REGISTER the server knows him again.
    b.register("bob").await;
    assert_eq!(found(b.route(at(RouteStage::Offline)).await), (0, 1));
}

#[tokio::test]
async fn probes_stop_with_the_watch_and_are_not_sent_to_who_said_goodbye() {
    let mut b = waiting().await;
    b.advance(700).await;
    let asked = b.edges.probes.lock().unwrap().len();
    assert!((9..=10).contains(&asked), "{asked} in 600 s");
    assert_eq!(b.ended(Expired), 1);
    b.advance(700).await;
    assert_eq!(b.edges.probes.lock().unwrap().len(), asked);
    let late = b.edges.probes.lock().unwrap()[0].clone();
    assert_eq!(b.one(Event::ProbeReport(ProbeReport { aor: late.aor, binding: late.binding })).await, Reply::Noted);
    b.advance(1).await;
    assert!(matches!(b.one(Event::Locate(Locate { aor: aor("bob") })).await, Reply::Located(targets) if targets.is_empty()), "too late");
    assert!(b.nothing_left());
    b.register("bob").await;
    b.unregister("bob").await;
    b.miss("alice", "bob").await;
    b.advance(300).await;
    assert_eq!(b.edges.probes.lock().unwrap().len(), asked);
}

#[tokio::test]
async fn without_the_policy_nothing_is_kept_and_nobody_is_asked() {
    let mut b = Bench::new(|_| ());
    b.register("bob").await;
    b.advance(RUN_OUT).await;
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.advance(1000).await;
    assert!(b.edges.probes.lock().unwrap().is_empty());
}
