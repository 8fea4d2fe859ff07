//! The embedded store against the conformance suite.

use crate::conformance::{self, Subject, conformance};
use redial_coordinator::store::MemoryStore;
use redial_core::store::Turn;
use redial_core::watch::State;
use redial_core::{Pair, UnixMillis, Watch, WatchStore};

struct Memory(MemoryStore);

impl Subject for Memory {
    type Store = MemoryStore;
    fn store(&self) -> &MemoryStore {
        &self.0
    }
    async fn traces(&self, now: UnixMillis) -> usize {
        self.0.traces(now)
    }
    async fn run_out(&self, _: &Pair) {}
}

conformance!(Memory(MemoryStore::new()));

#[tokio::test]
async fn a_full_store_refuses_new_aors_and_keeps_serving_the_others() {
    use crate::conformance::{self, NOW, at, fetch, put, registered};
    let store = MemoryStore::with_max_aors(2);
    for user in ["a", "b"] {
        assert!(!registered(&store, put(user, "x", 1)).await.out_of_order);
    }
    let refused = registered(&store, put("c", "x", 1)).await;
    assert!(refused.out_of_order && refused.bindings.is_empty());
    assert!(!registered(&store, put("a", "x", 2)).await.out_of_order);
    assert_eq!(registered(&store, fetch("c")).await.bindings, []);
    // A sweep makes room for what has expired.
    let every: Vec<_> = (0..redial_core::ids::SHARDS).map(redial_core::Shard).collect();
    store.due(&every, at(conformance::HOUR), 10).await.expect("due");
    assert!(!registered(&store, put("c", "x", 1)).await.out_of_order);
    assert_eq!(store.traces(NOW), 0);
}

#[test]
fn p2_a_watch_that_ends_while_it_changes_leaves_no_trace() {
    use crate::conformance::{NOW, pair, step, watch};
    use futures_util::FutureExt as _;
    let store = MemoryStore::new();
    let gate = std::sync::Barrier::new(2);
    // The embedded store never suspends, so every call is done at once.
    let change = |first: &Watch| {
        store.arm(NOW, std::slice::from_ref(first)).now_or_never();
        gate.wait();
        let mut parked = step(first, State::Armed, Turn::Leave);
        parked.next.parked = true;
        store.step(NOW, &parked).now_or_never();
    };
    let end = |first: &Watch| {
        gate.wait();
        while store.end(NOW, &first.pair, None, Turn::Release).now_or_never() != Some(Ok(true)) {}
    };
    let every = |work: &dyn Fn(&Watch)| (0..20_000).for_each(|n| work(&watch(pair("bob", &format!("caller{n}")), NOW)));
    std::thread::scope(|scope| {
        scope.spawn(|| every(&change));
        scope.spawn(|| every(&end));
    });
    assert_eq!(store.traces(NOW), 0);
}
