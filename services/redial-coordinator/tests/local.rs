//! Edges in the same process: what `redial standalone` is made of.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use redial_coordinator::metrics::Dropped;
use redial_coordinator::store::MemoryStore;
use redial_coordinator::{Coordinator, LocalLink, Setup};
use redial_core::link::*;
use redial_core::{Aor, Binding, BindingId, EdgeId, Flow, PolicySet, UnixMillis};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

struct Replica {
    coordinator: Coordinator<MemoryStore>,
    policies: watch::Sender<Arc<PolicySet>>,
}

fn start() -> Replica {
    let (policies, followed) = watch::channel(Arc::new(PolicySet::default()));
    let meter = opentelemetry::global::meter("test");
    let store = Arc::new(MemoryStore::new());
    let coordinator = Coordinator::start(store, followed, None, Setup::default(), &meter, CancellationToken::new());
    Replica { coordinator, policies }
}

async fn next(link: &mut LocalLink) -> Downlink {
    tokio::time::timeout(PATIENCE, link.downlinks.recv()).await.expect("in time").expect("the link is open")
}

fn register(id: u64, user: &str, cseq: u32) -> Request {
    let binding = Binding {
        id: BindingId(format!("sip:{user}@phone")),
        uri: format!("sip:{user}@phone"),
        params: String::new(),
        q: 1000,
        expires_at: UnixMillis(u64::MAX / 4),
        call_id: user.into(),
        cseq,
        path: vec![],
        edge: EdgeId::new("e1"),
        flow: Flow::new(user),
        user_agent: format!("version {cseq}"),
        probed: false,
    };
    let change = BindingChange::Each(vec![ContactChange::Put(binding)]);
    let register = Register { aor: Aor::new(format!("{user}@example.com")), call_id: user.into(), cseq, change };
    Request { id, timeout: PATIENCE, event: Event::Register(register), trace: None }
}

#[tokio::test]
async fn policies_come_first_and_again_when_they_change() {
    let replica = start();
    let mut link = replica.coordinator.attach(EdgeId::new("e1"), "test");
    assert_eq!(next(&mut link).await.policies.unwrap().max_watches, PolicySet::default().max_watches);
    replica.policies.send_replace(Arc::new(PolicySet { max_watches: 7, ..PolicySet::default() }));
    assert_eq!(next(&mut link).await.policies.unwrap().max_watches, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_one_aor_take_effect_in_order_however_many_are_in_progress() {
    let replica = start();
    let mut link = replica.coordinator.attach(EdgeId::new("e1"), "test");
    next(&mut link).await;
    for cseq in 1..=500 {
        let others = (0..3).map(|n| register(u64::from(cseq) * 10 + n, &format!("user{n}-{cseq}"), 1));
        let batch = std::iter::once(register(u64::from(cseq) * 10 + 9, "alice", cseq)).chain(others).collect();
        link.requests.send(batch).await.unwrap();
    }
    let mut answered = 0;
    while answered < 2000 {
        for (_, reply) in next(&mut link).await.replies {
            assert!(matches!(reply, Reply::Registered(Registered::Bindings(_))), "a later CSeq overtook an earlier one");
            answered += 1;
        }
    }
}

#[tokio::test]
async fn an_edge_that_does_not_read_loses_replies_and_holds_up_nobody() {
    let replica = start();
    let deaf = replica.coordinator.attach(EdgeId::new("deaf"), "test");
    let mut link = replica.coordinator.attach(EdgeId::new("e1"), "test");
    next(&mut link).await;
    let flooded = async {
        for id in 0.. {
            if replica.coordinator.metrics().dropped_count(Dropped::Reply) > 0 {
                break;
            }
            deaf.requests.send(vec![register(id, "alice", 1)]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, flooded).await.expect("dropped replies are counted");
    link.requests.send(vec![register(1, "alice", 1)]).await.unwrap();
    assert_eq!(next(&mut link).await.replies.len(), 1);
}

#[tokio::test]
async fn a_request_that_is_too_old_is_not_handled() {
    let replica = start();
    let mut link = replica.coordinator.attach(EdgeId::new("e1"), "test");
    next(&mut link).await;
    let stale = Request { timeout: Duration::ZERO, ..register(1, "alice", 1) };
    link.requests.send(vec![stale, register(2, "bob", 1)]).await.unwrap();
    let ids: Vec<u64> = next(&mut link).await.replies.into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [2]);
    assert_eq!(replica.coordinator.metrics().dropped_count(Dropped::StaleRequest), 1);
}

#[tokio::test]
async fn stopping_ends_every_link_after_what_is_in_progress() {
    let replica = start();
    let mut link = replica.coordinator.attach(EdgeId::new("e1"), "test");
    link.requests.send(vec![register(1, "alice", 1)]).await.unwrap();
    next(&mut link).await;
    assert_eq!(next(&mut link).await.replies.len(), 1);
    tokio::time::timeout(PATIENCE, replica.coordinator.stop()).await.expect("stops in time");
    assert!(link.downlinks.recv().await.is_none());
    assert_eq!(link.closed(), Some(redial_coordinator::hub::Closed::Stopping));
    let mut late = replica.coordinator.attach(EdgeId::new("e2"), "test");
    next(&mut late).await;
    assert!(late.downlinks.recv().await.is_none());
}
