//! What the coordinator needs of a store. Two implementations: Redis and memory; one conformance suite runs against both.
//!
//! Hot operations (`register`, `lookup`, `arm`) take a whole batch and are correct by order: each side writes first and looks
//! second. A store runs all commands in one order, so of an `arm` and a `register` that race, at least one sees the other.
//! Rare operations (`step`, `end`) are atomic compare-and-set on the record's fence.

use std::future::Future;

use crate::link::Register;
use crate::{Aor, Binding, Fence, Pair, Shard, UnixMillis, Watch};

pub trait WatchStore: Send + Sync + 'static {
    /// Applies each change, then looks who waits. Results in the order of `ops`. Ops of one AoR in one batch apply in order.
    fn register(&self, now: UnixMillis, ops: &[Register]) -> impl Future<Output = Result<Vec<RegisterOutcome>, StoreError>> + Send;

    fn lookup(&self, now: UnixMillis, ops: &[LookupOp]) -> impl Future<Output = Result<Vec<Lookup>, StoreError>> + Send;

    /// Live bindings of each AoR, best first.
    fn bindings(&self, now: UnixMillis, aors: &[Aor]) -> impl Future<Output = Result<Vec<Vec<Binding>>, StoreError>> + Send;

    /// Stores new watches (never over an existing record), then looks for the callee's bindings and counts for the caps.
    fn arm(&self, now: UnixMillis, watches: &[Watch]) -> impl Future<Output = Result<Vec<ArmOutcome>, StoreError>> + Send;

    /// The records of these pairs. One whose deadline has passed may still be there or not.
    fn load(&self, pairs: &[Pair]) -> impl Future<Output = Result<Vec<Option<Watch>>, StoreError>> + Send;

    /// Replaces the record if its fence is still `expect`. The deadline may move; the record's TTL, the queue's TTL and the due entry follow.
    fn step(&self, now: UnixMillis, step: &Step) -> impl Future<Output = Result<StepOutcome, StoreError>> + Send;

    /// Removes the watch and every trace of it. With `expect`, only if the record's fence is that one or the record is already gone;
    /// so [`Fence::GONE`] ends only what has run out, never a watch that was armed in the meantime.
    /// True exactly once per watch (P2). `turn` says what becomes of the callee's turn: `Release` frees it if the caller has it,
    /// `Keep` and `Take` leave it with the caller until then, provided that somebody else still waits (a turn that nobody waits for
    /// would be a key left behind).
    fn end(&self, now: UnixMillis, pair: &Pair, expect: Option<Fence>, turn: Turn)
    -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Moves the due time of a watch whose fence is still `expect` to `due`, earlier or later, without changing the record.
    /// False when the record is gone or has another fence.
    fn postpone(&self, pair: &Pair, expect: Fence, due: UnixMillis) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Brings the due time of these pairs forward to `at` (never later, never for a pair that has no due entry).
    fn hasten(&self, pairs: &[Pair], at: UnixMillis) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Frees the callee's turn if `caller` still has it (BYE of a recalled call).
    fn release_turn(&self, pair: &Pair) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The first `limit` callers waiting for `callee`, longest waiting first.
    fn queue(&self, callee: &Aor, limit: usize) -> impl Future<Output = Result<Vec<Aor>, StoreError>> + Send;

    /// Pairs whose caller was gone when recalled. Entries may be stale; the record decides.
    fn parked(&self, caller: &Aor) -> impl Future<Output = Result<Vec<Pair>, StoreError>> + Send;

    /// Pairs of these shards whose due time is `now` or earlier, at most `limit` per shard, and how many watches each shard holds.
    fn due(&self, shards: &[Shard], now: UnixMillis, limit: usize) -> impl Future<Output = Result<Due, StoreError>> + Send;

    /// Every watch of a shard, for the operator's list. `limit` bounds the answer.
    fn list(&self, shard: Shard, limit: usize) -> impl Future<Output = Result<Vec<Watch>, StoreError>> + Send;

    /// Remembers contacts also when they have expired, each AoR's in place of those that were remembered of it before. Only for callees that are
    /// probed.
    fn remember(&self, now: UnixMillis, contacts: &[LastContacts]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Nothing when nothing was remembered or its time is over.
    fn remembered(&self, now: UnixMillis, aor: &Aor) -> impl Future<Output = Result<Vec<Binding>, StoreError>> + Send;

    /// True for one caller only until then, and only where contacts are remembered: whoever gets it probes this callee.
    fn claim_probe(&self, now: UnixMillis, aor: &Aor, until: UnixMillis) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// What the last connected recall has taught about phones with this User-Agent, unless that is too long ago.
    fn learned(&self, now: UnixMillis, agent: &str) -> impl Future<Output = Result<Option<u8>, StoreError>> + Send;

    /// Remembers a lesson until its time is over. Of more than [`MAX_LESSONS`] those that end first are forgotten.
    fn learn(&self, now: UnixMillis, lesson: &Lesson) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Everything that is remembered, by User-Agent.
    fn lessons(&self, now: UnixMillis) -> impl Future<Output = Result<Vec<Lesson>, StoreError>> + Send;

    /// The store's own clock, if it has one: all replicas can compare theirs with it.
    fn clock(&self) -> impl Future<Output = Result<Option<UnixMillis>, StoreError>> + Send {
        std::future::ready(Ok(None))
    }

    /// One cheap round trip, for readiness.
    fn ping(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// User-Agents that a store remembers: far more kinds of phones than one installation has, and no more than anybody can fill it with.
pub const MAX_LESSONS: usize = 1000;

/// What an AoR had registered when it was last heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastContacts {
    pub aor: Aor,
    /// None: it said goodbye, and what was remembered is forgotten.
    pub contacts: Vec<Binding>,
    pub until: UnixMillis,
}

/// Phones with this User-Agent were connected by this rung of the ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lesson {
    pub agent: String,
    pub rung: u8,
    pub until: UnixMillis,
}

/// Those that are still valid, by User-Agent, and of too many only those that are valid longest.
#[must_use]
pub fn keep_lessons(now: UnixMillis, mut lessons: Vec<Lesson>) -> Vec<Lesson> {
    lessons.retain(|lesson| lesson.until > now);
    lessons.sort_by(|a, b| b.until.cmp(&a.until).then_with(|| a.agent.cmp(&b.agent)));
    lessons.truncate(MAX_LESSONS);
    lessons.sort_by(|a, b| a.agent.cmp(&b.agent));
    lessons
}

#[derive(Clone, Debug, PartialEq)]
pub struct RegisterOutcome {
    /// Live bindings after the change, best first.
    pub bindings: Vec<Binding>,
    /// Nothing was changed: same Call-ID and a CSeq that is not higher than the stored one (and not the identical request again).
    /// The embedded store also says this when it has no room for another AoR. Either way the answer is 500.
    pub out_of_order: bool,
    /// Somebody waits for this AoR.
    pub waited_for: bool,
    /// This AoR is the caller of a parked watch.
    pub parked: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupOp {
    pub callee: Aor,
    pub caller: Option<Aor>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lookup {
    pub callee_bindings: Vec<Binding>,
    pub caller_bindings: Vec<Binding>,
    /// The watch of caller for callee.
    pub watch: Option<Watch>,
    /// The watch of callee for caller.
    pub reverse: Option<Watch>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ArmOutcome {
    /// False: a record for the pair exists already and was left alone.
    pub stored: bool,
    /// An earlier watch of the pair had run out and nobody had ended it yet: it ended here, as expired (P2).
    pub expired_before: bool,
    /// Live bindings of the callee, read after the write.
    pub callee_bindings: Vec<Binding>,
    /// How many watch this callee, and how many this caller has armed, this one included.
    pub callee_watches: u32,
    pub caller_watches: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub expect: Fence,
    /// The new record; its fence must be higher than `expect`.
    pub next: Watch,
    /// When somebody must look at it again.
    pub due: UnixMillis,
    pub turn: Turn,
}

/// The callee's turn: with `fanout = "fifo"` only the caller who has it is recalled. It has a TTL, so a lost holder frees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Leave,
    /// Apply the step only if nobody else has the turn; take it until then.
    Take {
        until: UnixMillis,
    },
    /// Take it until then unless somebody else has it; the step is applied either way.
    Keep {
        until: UnixMillis,
    },
    /// Free it if this caller has it.
    Release,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    Applied,
    /// The record is gone or has another fence.
    Stale,
    /// Somebody else has the turn, at the latest until then. Nothing was changed: postpone the watch to that time.
    TurnTaken {
        until: UnixMillis,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    pub pairs: Vec<Pair>,
    /// In the order of the shards that were asked for.
    pub watches: Vec<u64>,
}

/// The store did not do it, or nobody knows whether it did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("store unavailable: {0}")]
    Unavailable(String),
    #[error("stored record is unreadable: {0}")]
    Corrupt(String),
}
