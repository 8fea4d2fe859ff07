//! A store that can be taken away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use redial_core::link::Register;
use redial_core::store::{ArmOutcome, Due, Lookup, LookupOp, RegisterOutcome, Step, StepOutcome, StoreError, Turn};
use redial_core::{Aor, Binding, Fence, Pair, Shard, UnixMillis, Watch, WatchStore};

use crate::store::MemoryStore;

#[derive(Debug, Default)]
pub struct Flaky {
    pub inner: Arc<MemoryStore>,
    pub down: AtomicBool,
}

impl Flaky {
    fn up(&self) -> Result<&MemoryStore, StoreError> {
        if self.down.load(Relaxed) { Err(StoreError::Unavailable("connection refused".into())) } else { Ok(&self.inner) }
    }
}

impl WatchStore for Flaky {
    async fn register(&self, now: UnixMillis, ops: &[Register]) -> Result<Vec<RegisterOutcome>, StoreError> {
        self.up()?.register(now, ops).await
    }
    async fn lookup(&self, now: UnixMillis, ops: &[LookupOp]) -> Result<Vec<Lookup>, StoreError> {
        self.up()?.lookup(now, ops).await
    }
    async fn bindings(&self, now: UnixMillis, aors: &[Aor]) -> Result<Vec<Vec<Binding>>, StoreError> {
        self.up()?.bindings(now, aors).await
    }
    async fn arm(&self, now: UnixMillis, watches: &[Watch]) -> Result<Vec<ArmOutcome>, StoreError> {
        self.up()?.arm(now, watches).await
    }
    async fn load(&self, pairs: &[Pair]) -> Result<Vec<Option<Watch>>, StoreError> {
        self.up()?.load(pairs).await
    }
    async fn step(&self, now: UnixMillis, step: &Step) -> Result<StepOutcome, StoreError> {
        self.up()?.step(now, step).await
    }
    async fn end(&self, now: UnixMillis, pair: &Pair, expect: Option<Fence>, turn: Turn) -> Result<bool, StoreError> {
        self.up()?.end(now, pair, expect, turn).await
    }
    async fn postpone(&self, pair: &Pair, expect: Fence, due: UnixMillis) -> Result<bool, StoreError> {
        self.up()?.postpone(pair, expect, due).await
    }
    async fn hasten(&self, pairs: &[Pair], at: UnixMillis) -> Result<(), StoreError> {
        self.up()?.hasten(pairs, at).await
    }
    async fn release_turn(&self, pair: &Pair) -> Result<(), StoreError> {
        self.up()?.release_turn(pair).await
    }
    async fn queue(&self, callee: &Aor, limit: usize) -> Result<Vec<Aor>, StoreError> {
        self.up()?.queue(callee, limit).await
    }
    async fn parked(&self, caller: &Aor) -> Result<Vec<Pair>, StoreError> {
        self.up()?.parked(caller).await
    }
    async fn due(&self, shards: &[Shard], now: UnixMillis, limit: usize) -> Result<Due, StoreError> {
        self.up()?.due(shards, now, limit).await
    }
    async fn list(&self, shard: Shard, limit: usize) -> Result<Vec<Watch>, StoreError> {
        self.up()?.list(shard, limit).await
    }
    async fn ping(&self) -> Result<(), StoreError> {
        self.up()?.ping().await
    }
}
