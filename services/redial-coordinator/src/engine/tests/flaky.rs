//! A store that can be taken away.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use redial_core::link::Register;
use redial_core::store::{ArmOutcome, Due, LastContacts, Lesson, Lookup, LookupOp, RegisterOutcome, Step, StepOutcome, StoreError, Turn};
use redial_core::{Aor, Binding, Fence, Pair, Shard, UnixMillis, Watch, WatchStore};

use crate::store::MemoryStore;

#[derive(Debug, Default)]
pub struct Flaky {
    pub inner: Arc<MemoryStore>,
    pub down: AtomicBool,
    /// Reads are answered, writes are not: a full store, or a replica that was a primary.
    pub read_only: AtomicBool,
    /// Nothing can be ended.
    pub endless: AtomicBool,
    /// The due index of this shard cannot be read; `None` is a number that no shard has.
    pub bad_shard: BadShard,
    /// Something due was handed out.
    pub found_due: AtomicBool,
    /// Records are there and cannot be read.
    pub unreadable: AtomicBool,
    /// Shards whose due index was read.
    pub looked: Mutex<Vec<u16>>,
}

#[derive(Debug)]
pub struct BadShard(AtomicU64);

impl Default for BadShard {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl std::ops::Deref for BadShard {
    type Target = AtomicU64;
    fn deref(&self) -> &AtomicU64 {
        &self.0
    }
}

impl Flaky {
    fn up(&self) -> Result<&MemoryStore, StoreError> {
        if self.down.load(Relaxed) { Err(StoreError::Unavailable("connection refused".into())) } else { Ok(&self.inner) }
    }

    fn writable(&self) -> Result<&MemoryStore, StoreError> {
        if self.read_only.load(Relaxed) { Err(StoreError::Unavailable("OOM command not allowed".into())) } else { self.up() }
    }

    fn readable<T>(&self, record: Option<T>) -> Option<T> {
        record.filter(|_| !self.unreadable.load(Relaxed))
    }
}

impl WatchStore for Flaky {
    async fn register(&self, now: UnixMillis, ops: &[Register]) -> Result<Vec<RegisterOutcome>, StoreError> {
        self.writable()?.register(now, ops).await
    }
    async fn lookup(&self, now: UnixMillis, ops: &[LookupOp]) -> Result<Vec<Lookup>, StoreError> {
        let mut found = self.up()?.lookup(now, ops).await?;
        found.iter_mut().for_each(|lookup| lookup.watch = self.readable(lookup.watch.take()));
        Ok(found)
    }
    async fn bindings(&self, now: UnixMillis, aors: &[Aor]) -> Result<Vec<Vec<Binding>>, StoreError> {
        self.up()?.bindings(now, aors).await
    }
    async fn arm(&self, now: UnixMillis, watches: &[Watch]) -> Result<Vec<ArmOutcome>, StoreError> {
        self.writable()?.arm(now, watches).await
    }
    async fn load(&self, pairs: &[Pair]) -> Result<Vec<Option<Watch>>, StoreError> {
        Ok(self.up()?.load(pairs).await?.into_iter().map(|record| self.readable(record)).collect())
    }
    async fn step(&self, now: UnixMillis, step: &Step) -> Result<StepOutcome, StoreError> {
        self.writable()?.step(now, step).await
    }
    async fn end(&self, now: UnixMillis, pair: &Pair, expect: Option<Fence>, turn: Turn) -> Result<bool, StoreError> {
        if self.endless.load(Relaxed) {
            return Err(StoreError::Unavailable("timed out".into()));
        }
        self.writable()?.end(now, pair, expect, turn).await
    }
    async fn postpone(&self, pair: &Pair, expect: Fence, due: UnixMillis) -> Result<bool, StoreError> {
        self.writable()?.postpone(pair, expect, due).await
    }
    async fn hasten(&self, pairs: &[Pair], at: UnixMillis) -> Result<(), StoreError> {
        self.writable()?.hasten(pairs, at).await
    }
    async fn release_turn(&self, pair: &Pair) -> Result<(), StoreError> {
        self.writable()?.release_turn(pair).await
    }
    async fn queue(&self, callee: &Aor, limit: usize) -> Result<Vec<Aor>, StoreError> {
        self.up()?.queue(callee, limit).await
    }
    async fn parked(&self, caller: &Aor) -> Result<Vec<Pair>, StoreError> {
        self.up()?.parked(caller).await
    }
    async fn due(&self, shards: &[Shard], now: UnixMillis, limit: usize) -> Result<Due, StoreError> {
        if shards.iter().any(|shard| u64::from(shard.0) == self.bad_shard.load(Relaxed)) {
            return Err(StoreError::Unavailable("WRONGTYPE".into()));
        }
        self.looked.lock().unwrap().extend(shards.iter().map(|shard| shard.0));
        let due = self.up()?.due(shards, now, limit).await?;
        self.found_due.fetch_or(!due.pairs.is_empty(), Relaxed);
        Ok(due)
    }
    async fn list(&self, shard: Shard, limit: usize) -> Result<Vec<Watch>, StoreError> {
        self.up()?.list(shard, limit).await
    }
    async fn remember(&self, now: UnixMillis, contacts: &[LastContacts]) -> Result<(), StoreError> {
        self.writable()?.remember(now, contacts).await
    }
    async fn remembered(&self, now: UnixMillis, aor: &Aor) -> Result<Vec<Binding>, StoreError> {
        self.up()?.remembered(now, aor).await
    }
    async fn claim_probe(&self, now: UnixMillis, aor: &Aor, until: UnixMillis) -> Result<bool, StoreError> {
        self.writable()?.claim_probe(now, aor, until).await
    }
    async fn learned(&self, now: UnixMillis, agent: &str) -> Result<Option<u8>, StoreError> {
        self.up()?.learned(now, agent).await
    }
    async fn learn(&self, now: UnixMillis, lesson: &Lesson) -> Result<(), StoreError> {
        self.writable()?.learn(now, lesson).await
    }
    async fn lessons(&self, now: UnixMillis) -> Result<Vec<Lesson>, StoreError> {
        self.up()?.lessons(now).await
    }
    async fn ping(&self) -> Result<(), StoreError> {
        self.up()?.ping().await
    }
}
