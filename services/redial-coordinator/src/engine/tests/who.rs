//! P7: who may, and how many.

use redial_core::EdgeId;
use redial_core::PolicySet;
use redial_core::link::NotWatched::*;
use redial_core::link::*;

use super::bench::{Bench, aor, flow, pair};

fn refused(why: NotWatched) -> Routed {
    Routed::Offline(Offline::NotWatched(why))
}

#[tokio::test]
async fn p7_only_a_registered_and_proven_caller_arms_a_watch() {
    let mut b = Bench::new(|_| ());
    assert_eq!(b.invite("mallory", "bob").await, refused(CallerNotRegistered));
    b.register("alice").await;
    let nobody = Route { caller: None, ..Bench::invitation("alice", "bob") };
    assert_eq!(b.route(nobody).await, refused(CallerNotRegistered));
    let forged = Route { authenticated: false, flow: flow("mallory"), ..Bench::invitation("alice", "bob") };
    assert_eq!(b.route(forged).await, refused(CallerNotAuthenticated));
    let same_flow_elsewhere = Route { authenticated: false, edge: EdgeId::new("e2"), ..Bench::invitation("alice", "bob") };
    assert_eq!(b.route(same_flow_elsewhere).await, refused(CallerNotAuthenticated));
    let by_flow = Route { authenticated: false, ..Bench::invitation("alice", "bob") };
    assert!(matches!(b.route(by_flow).await, Routed::Offline(Offline::Granted { .. })));
    assert_eq!(b.metrics.armed_count(), 1);
    assert_eq!(b.metrics.refused_count(CallerNotAuthenticated), 2);
}

#[tokio::test]
async fn p7_nobody_watches_himself() {
    let mut b = Bench::new(|_| ());
    let routed = b.invite("alice", "alice").await;
    assert!(matches!(routed, Routed::Offline(Offline::NotWatched(_))), "{routed:?}");
    assert!(b.nothing_left());
}

#[tokio::test]
async fn p7_a_forged_caller_can_neither_cancel_nor_end_a_watch() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    let forged = Route { authenticated: false, flow: flow("mallory"), ..Bench::invitation("alice", "bob") };
    b.route(Route { period: RequestedPeriod::OptOut, ..forged.clone() }).await;
    assert!(b.watch("alice", "bob").await.is_some());
    b.register("bob").await;
    let Routed::Online { report, .. } = b.route(forged).await else { panic!("bob is there") };
    assert!(report.is_empty());
}

#[tokio::test]
async fn p7_caps_per_caller_and_per_callee() {
    let mut b = Bench::new(|p| (p.max_per_caller, p.max_per_callee) = (2, 3));
    for caller in ["alice", "carol", "dave", "erin"] {
        b.register(caller).await;
    }
    b.miss("alice", "bob").await;
    b.miss("alice", "frank").await;
    assert_eq!(b.invite("alice", "grace").await, refused(CallerLimit));
    assert!(b.watch("alice", "grace").await.is_none());
    b.miss("alice", "bob").await;
    b.miss("carol", "bob").await;
    b.miss("dave", "bob").await;
    assert_eq!(b.invite("erin", "bob").await, refused(CalleeLimit));
    assert!(b.watch("erin", "bob").await.is_none());
    assert_eq!((b.metrics.armed_count(), b.all_ended()), (4, 0));
    b.engine.cancel(b.now, &pair("alice", "frank")).await.unwrap();
    b.miss("alice", "grace").await;
}

#[tokio::test]
async fn p7_a_cap_on_all_watches_together() {
    let mut b = Bench::with(PolicySet { max_watches: 2, ..PolicySet::default() });
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.miss("alice", "carol").await;
    assert_eq!(b.invite("alice", "dave").await, refused(TotalLimit));
    b.miss("alice", "bob").await;
    b.engine.cancel(b.now, &pair("alice", "bob")).await.unwrap();
    b.sweep().await;
    assert_eq!(b.engine.watches(), 1);
    b.miss("alice", "dave").await;
}

#[tokio::test]
async fn a_policy_that_is_off_arms_nothing() {
    let mut b = Bench::new(|p| p.enabled = false);
    b.register("alice").await;
    assert_eq!(b.invite("alice", "bob").await, refused(PolicyOff));
    assert!(b.nothing_left());
}

#[tokio::test]
async fn a_callee_who_is_there_is_called_best_contact_first_and_nothing_is_stored() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    let expires_at = b.now.after(std::time::Duration::from_secs(3600));
    let contacts = [("desk", 200), ("mobile", 900)].map(|(name, q)| ContactChange::Put(super::bench::contact("bob", name, q, expires_at)));
    let change = BindingChange::Each(contacts.to_vec());
    b.one(Event::Register(Register { aor: aor("bob"), call_id: "x".into(), cseq: 1, change })).await;
    let Routed::Online { targets, report } = b.invite("alice", "bob").await else { panic!("bob is there") };
    assert_eq!(targets.iter().map(|t| t.q).collect::<Vec<_>>(), [900, 200]);
    assert!(report.is_empty() && b.nothing_left());
    assert!(matches!(b.one(Event::Locate(Locate { aor: aor("bob") })).await, Reply::Located(found) if found.len() == 2));
}
