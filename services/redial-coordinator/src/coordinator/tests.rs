use std::collections::BTreeMap;

use redial_core::gateway::EdgeGateway as _;
use redial_core::link::{Order, RecallOrder};
use redial_core::store::{Step, Turn};
use redial_core::watch::State;
use redial_core::{Aor, Fence, Flow, Shard, Watch, rendezvous};
use redial_runtime::discovery::Member;

use super::*;
use crate::engine::tests::flaky::Flaky;
use crate::grpc::Downlinks;
use crate::store::MemoryStore;

const INTERVAL: Duration = Duration::from_secs(5);

fn start(name: &str, store: &Arc<Flaky>, peers: Option<Found>) -> Coordinator<Flaky> {
    let setup = Setup { replica: name.into(), store_kind: "memory", sweep_interval: INTERVAL, peers, ..Setup::default() };
    let policies = watch::channel(Arc::default()).1;
    Coordinator::start(store.clone(), policies, None, setup, &opentelemetry::global::meter("test"), CancellationToken::new())
}

/// How often each shard was looked at since the last call.
fn looked(store: &Flaky) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for shard in std::mem::take(&mut *store.looked.lock().unwrap()) {
        *counts.entry(shard).or_default() += 1;
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn two_replicas_share_the_sweep_and_one_takes_over() {
    let member = |name: &str| Member { name: name.into(), addr: "127.0.0.1:7070".parse().unwrap() };
    let (list, members) = watch::channel(Arc::<[Member]>::from([member("a"), member("b")]));
    let (_known, known) = watch::channel(true);
    let found = Found { members, known };
    let shared = Arc::<MemoryStore>::default();
    let stores = [(); 2].map(|()| Arc::new(Flaky { inner: shared.clone(), ..Flaky::default() }));
    let [a, b] = ["a", "b"]
        .into_iter()
        .zip(&stores)
        .map(|(name, store)| start(name, store, Some(found.clone())))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    let all = usize::from(redial_core::ids::SHARDS);
    tokio::time::sleep(INTERVAL / 2).await;
    assert_eq!(stores.each_ref().map(|store| looked(store).len()), [all, all], "at first everybody counts everything");

    tokio::time::sleep(INTERVAL * 4).await;
    let [mut by_a, by_b] = stores.each_ref().map(|store| looked(store));
    for shard in 0..redial_core::ids::SHARDS {
        let owner = rendezvous::pick(&shard.to_string(), &["a", "b"], |_| true).unwrap();
        let expected = if owner == 0 { (4, 1) } else { (1, 4) };
        assert_eq!((by_a[&shard], by_b[&shard]), expected, "shard {shard} in four intervals, by its owner and by the other");
    }

    b.stop().await;
    list.send_replace(Arc::from([member("a")]));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let taken_over = looked(&stores[0]);
    assert!(taken_over.keys().all(|shard| by_b[shard] == 4) && taken_over.len() > all / 3, "at once, what the other had");
    tokio::time::sleep(INTERVAL * 2).await;
    by_a = looked(&stores[0]);
    assert!(by_a.len() == all && by_a.values().all(|times| *times == 2), "everything in every interval");
    assert!(looked(&stores[1]).is_empty());
    a.stop().await;
}

/// A watch in `state`, stored, due at its deadline.
async fn stored(store: &Flaky, state: State) -> Watch {
    let now = clock::unix();
    let pair = Pair { callee: Aor::new("bob@example.com"), caller: Aor::new("alice@example.com") };
    let mut watch = Watch {
        pair,
        fence: Fence(now.0),
        state: State::Armed,
        armed_at: now,
        deadline: now.after(Duration::from_secs(3600)),
        not_before: now,
        attempts: 0,
        parked: false,
        caller_flow: Flow::default(),
        caller_seen: 0,
        past: Fence(0),
        trace: None,
    };
    store.arm(now, std::slice::from_ref(&watch)).await.unwrap();
    if state != State::Armed {
        let next = Watch { fence: Fence(watch.fence.0 + 1), state, ..watch.clone() };
        let step = Step { expect: watch.fence, next: next.clone(), due: watch.deadline, turn: Turn::Leave };
        store.step(now, &step).await.unwrap();
        watch = next;
    }
    watch
}

/// The callee's REGISTER was answered, and its queue is not due yet: only this replica knows.
#[tokio::test]
async fn a_stop_leaves_to_the_others_what_the_store_does_not_know() {
    let store = Arc::<Flaky>::default();
    let replica = start("a", &store, None);
    let watch = stored(&store, State::Armed).await;
    replica.inner.timers.schedule(watch.deadline, Wake::CalleeBack(watch.pair.callee.clone()));
    replica.stop().await;
    let soon = clock::unix().after(Duration::from_secs(2));
    let shards: Vec<Shard> = vec![watch.pair.callee.shard()];
    assert_eq!(store.due(&shards, soon, 10).await.unwrap().pairs, [watch.pair]);
}

/// P3: an order that an edge's link has taken and that never left for the edge is nobody's recall.
#[tokio::test]
async fn p3_an_order_that_never_left_is_given_back_and_one_that_left_is_not() {
    for left in [false, true] {
        let store = Arc::<Flaky>::default();
        let replica = start("a", &store, None);
        let claim = State::Claimed { rung: 1, lease_until: clock::unix().after(Duration::from_secs(22)) };
        let watch = stored(&store, claim).await;
        let mut link = replica.attach(EdgeId::new("e1"), "test");
        let recall = RecallOrder {
            pair: watch.pair.clone(),
            fence: watch.fence,
            rung: 1,
            targets: vec![],
            timeout: Duration::from_secs(20),
            credentials: None,
            trace: None,
        };
        replica.hub().order(&EdgeId::new("e1"), Order::Recall(recall)).unwrap();
        while left && link.downlinks.recv().await.is_some_and(|frame| frame.orders.is_empty()) {}
        drop(Downlinks::new(link, tokio::spawn(async {}), replica.clone()));
        replica.stop().await;
        replica.settled().await;
        let record = store.load(std::slice::from_ref(&watch.pair)).await.unwrap().remove(0).unwrap();
        let expected = if left { claim } else { State::Armed };
        assert_eq!((record.state, record.attempts), (expected, 0), "left: {left}");
    }
}
