//! The embedded store against the conformance suite.

use crate::conformance::{self, Subject, conformance};
use redial_coordinator::store::MemoryStore;
use redial_core::{Pair, UnixMillis, WatchStore};

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
