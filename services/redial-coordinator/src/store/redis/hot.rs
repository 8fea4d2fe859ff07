//! What runs for every REGISTER and INVITE: plain commands, a whole batch in one pipeline. Each side writes first and looks second,
//! so of an arming and a registration that race at least one sees the other.

use redial_core::link::{BindingChange, ContactChange, Register};
use redial_core::store::{ArmOutcome, Lookup, LookupOp, RegisterOutcome, StoreError};
use redial_core::{Aor, Binding, Pair, UnixMillis, Watch};
use redis::{Cmd, Pipeline};

use super::reply::{Field, Replies, bindings};
use super::{RedisStore, ttl, unavailable};
use crate::store::{codec, keys, registration};

/// A field that a REGISTER wrote too early or that has no right to stay: `seen` is what must still be there for it to be replaced by
/// `wanted`; empty means absent.
struct Amend {
    id: Vec<u8>,
    seen: Vec<u8>,
    wanted: Vec<u8>,
}

/// A REGISTER whose writes must be put right.
struct Correction<'a> {
    aor: &'a Aor,
    /// For a hash that it emptied: how long the bindings that come back live.
    ttl: u64,
    fields: Vec<Amend>,
}

impl RedisStore {
    pub(super) async fn register_all(&self, now: UnixMillis, ops: &[Register]) -> Result<Vec<RegisterOutcome>, StoreError> {
        let mut pipeline = Pipeline::with_capacity(ops.len() * 5);
        let mut sent = Vec::with_capacity(ops.len());
        for op in ops {
            let before = pipeline.len();
            push_register(&mut pipeline, now, op);
            sent.push(pipeline.len() - before);
        }
        let mut replies = Replies::new(self.run(&pipeline).await?);
        let mut outcomes = Vec::with_capacity(ops.len());
        let mut corrections: Vec<Correction<'_>> = Vec::new();
        for (op, sent) in ops.iter().zip(sent) {
            let mut fields = replies.fields()?;
            replies.skip(sent - 2);
            let waiting = replies.int()?;
            // What an earlier op of this batch must not have written was still there when this one read.
            for earlier in corrections.iter().filter(|c| *c.aor == op.aor) {
                earlier.patch(&mut fields);
            }
            let stored = bindings(&fields);
            let (live, out_of_order, amends) = match registration::apply(now, op, &stored) {
                Some(done) => {
                    let amends = fields.iter().filter(|f| done.drop.iter().any(|id| id.0.as_bytes() == f.id)).map(Amend::drop).collect();
                    (done.live, false, amends)
                }
                None => (live(now, &stored), true, undo(op, &fields)),
            };
            let longest = stored.iter().map(|b| b.expires_at).max().unwrap_or(now);
            if !Vec::is_empty(&amends) {
                corrections.push(Correction { aor: &op.aor, ttl: ttl(now, longest), fields: amends });
            }
            outcomes.push(RegisterOutcome { bindings: live, out_of_order, waited_for: waiting & 1 != 0, parked: waiting & 2 != 0 });
        }
        for correction in &corrections {
            self.correct(correction).await?;
        }
        Ok(outcomes)
    }

    async fn correct(&self, correction: &Correction<'_>) -> Result<(), StoreError> {
        let mut call = self.scripts.amend.key(keys::bind(correction.aor));
        call.arg(correction.ttl);
        for field in &correction.fields {
            call.arg(&field.id[..]).arg(&field.seen[..]).arg(&field.wanted[..]);
        }
        call.invoke_async::<i64>(&mut self.connection.clone()).await.map(drop).map_err(unavailable)
    }

    pub(super) async fn lookup_all(&self, now: UnixMillis, ops: &[LookupOp]) -> Result<Vec<Lookup>, StoreError> {
        let mut pipeline = Pipeline::with_capacity(ops.len() * 4);
        for op in ops {
            command(&mut pipeline, "HGETALL").arg(keys::bind(&op.callee));
            if let Some(caller) = &op.caller {
                let (pair, reverse) = both_ways(&op.callee, caller);
                command(&mut pipeline, "HGETALL").arg(keys::bind(caller));
                command(&mut pipeline, "GET").arg(keys::watch(&pair));
                command(&mut pipeline, "GET").arg(keys::watch(&reverse));
            }
        }
        let mut replies = Replies::new(self.run(&pipeline).await?);
        ops.iter()
            .map(|op| {
                let mut lookup = Lookup { callee_bindings: replies.live(now)?, ..Lookup::default() };
                if let Some(caller) = &op.caller {
                    let (pair, reverse) = both_ways(&op.callee, caller);
                    lookup.caller_bindings = replies.live(now)?;
                    let open = |w: &Watch| w.deadline > now;
                    lookup.watch = replies.watch(&pair)?.filter(open);
                    lookup.reverse = replies.watch(&reverse)?.filter(open);
                }
                Ok(lookup)
            })
            .collect()
    }

    pub(super) async fn bindings_of(&self, now: UnixMillis, aors: &[Aor]) -> Result<Vec<Vec<Binding>>, StoreError> {
        let mut pipeline = Pipeline::with_capacity(aors.len());
        for aor in aors {
            command(&mut pipeline, "HGETALL").arg(keys::bind(aor));
        }
        let mut replies = Replies::new(self.run(&pipeline).await?);
        aors.iter().map(|_| replies.live(now)).collect()
    }

    pub(super) async fn arm_all(&self, now: UnixMillis, watches: &[Watch]) -> Result<Vec<ArmOutcome>, StoreError> {
        let mut pipeline = Pipeline::with_capacity(watches.len() * 9);
        let queues: Vec<Queues> = watches.iter().map(|watch| self.push_arm(&mut pipeline, now, watch)).collect();
        let mut replies = Replies::new(self.run(&pipeline).await?);
        let mut longer = Pipeline::new();
        let mut outcomes = Vec::with_capacity(watches.len());
        for (watch, queues) in watches.iter().zip(&queues) {
            let stored = replies.was_set()?;
            let newly_due = replies.int()? == 1;
            let (_, new_wait) = (replies.int()?, replies.int()? == 1);
            let (_, new_mine) = (replies.int()?, replies.int()? == 1);
            queues.prolong(&mut longer, now, watch, (new_wait, new_mine));
            outcomes.push(ArmOutcome {
                stored,
                expired_before: stored && !newly_due,
                callee_bindings: replies.live(now)?,
                callee_watches: replies.count()?,
                caller_watches: replies.count()?,
            });
        }
        // Nothing is granted before the queues are known to live as long (P1).
        self.run(&longer).await?;
        Ok(outcomes)
    }

    /// Replies: SET, ZADD due; ZADD and PEXPIRE of both queues; HGETALL, ZCARD wait and ZCOUNT mine.
    ///
    /// An existing record keeps its due time and its place (NX). A due entry without a record is a watch that ran out and that
    /// nobody has ended yet: it stays as it is, and whoever looks at it then finds the new record.
    /// Most watches are the only one of their callee and of their caller, so that the queues are new and get their TTL here. One that is there
    /// already keeps its own, and [`Queues::prolong`] must follow.
    pub(super) fn push_arm(&self, pipeline: &mut Pipeline, now: UnixMillis, watch: &Watch) -> Queues {
        let pair = &watch.pair;
        let queues = Queues { wait: keys::wait(&pair.callee), mine: keys::mine(&pair.caller), arrival: self.arrival(watch.armed_at) };
        let px = ttl(now, watch.deadline);
        command(pipeline, "SET").arg(keys::watch(pair)).arg(codec::encode_watch(watch)).arg("NX").arg("PX").arg(px);
        command(pipeline, "ZADD").arg(keys::due(pair.callee.shard())).arg("NX").arg(watch.deadline.0).arg(keys::member(pair));
        queues.push_wait(pipeline, watch);
        command(pipeline, "PEXPIRE").arg(&queues.wait).arg(px).arg("NX");
        queues.push_mine(pipeline, watch);
        command(pipeline, "PEXPIRE").arg(&queues.mine).arg(px).arg("NX");
        command(pipeline, "HGETALL").arg(keys::bind(&pair.callee));
        command(pipeline, "ZCARD").arg(&queues.wait);
        command(pipeline, "ZCOUNT").arg(&queues.mine).arg(format!("({}", now.0)).arg("+inf");
        queues
    }
}

/// The callee's queue and the caller's list that a new watch is in.
pub(super) struct Queues {
    wait: String,
    mine: String,
    /// Place in the callee's queue.
    arrival: u64,
}

impl Queues {
    fn push_wait(&self, pipeline: &mut Pipeline, watch: &Watch) {
        command(pipeline, "ZADD").arg(&self.wait).arg("NX").arg(self.arrival).arg(watch.pair.caller.as_str());
    }

    fn push_mine(&self, pipeline: &mut Pipeline, watch: &Watch) {
        command(pipeline, "ZADD").arg(&self.mine).arg("GT").arg(watch.deadline.0).arg(watch.pair.callee.as_str());
    }

    /// Lets queues that were there before live as long as the watch. They are written once more, because their old TTL may have ended meanwhile.
    fn prolong(&self, pipeline: &mut Pipeline, now: UnixMillis, watch: &Watch, (new_wait, new_mine): (bool, bool)) {
        let px = ttl(now, watch.deadline);
        if !new_wait {
            self.push_wait(pipeline, watch);
            push_expire(pipeline, &self.wait, px);
        }
        if !new_mine {
            self.push_mine(pipeline, watch);
            push_expire(pipeline, &self.mine, px);
        }
    }
}

/// The first reply is the bindings before, the last who waits: 1 for a queue, 2 for parked watches, 3 for both.
pub(super) fn push_register(pipeline: &mut Pipeline, now: UnixMillis, op: &Register) {
    let bind = keys::bind(&op.aor);
    command(pipeline, "HGETALL").arg(&bind);
    match &op.change {
        BindingChange::Fetch => {}
        BindingChange::RemoveAll => {
            command(pipeline, "DEL").arg(&bind);
        }
        BindingChange::Each(changes) => push_changes(pipeline, now, op, &bind, changes),
    }
    // EXISTS counts a key as often as it is named.
    let parked = keys::parked(&op.aor);
    command(pipeline, "EXISTS").arg(keys::wait(&op.aor)).arg(&parked).arg(&parked);
}

fn push_changes(pipeline: &mut Pipeline, now: UnixMillis, op: &Register, bind: &str, changes: &[ContactChange]) {
    let mut longest = None;
    for change in changes {
        if let ContactChange::Put(binding) = change {
            command(pipeline, "HSET").arg(bind).arg(&binding.id.0).arg(codec::encode_binding(binding));
            longest = longest.max(Some(binding.expires_at));
        }
    }
    for change in changes {
        if let ContactChange::Remove(id) = change
            && !registration::puts(op, id)
        {
            command(pipeline, "HDEL").arg(bind).arg(&id.0);
        }
    }
    if let Some(until) = longest {
        push_expire(pipeline, bind, ttl(now, until));
    }
}

/// Adds a command that need not grow while it is built, unless it carries a record.
fn command<'p>(pipeline: &'p mut Pipeline, name: &str) -> &'p mut Pipeline {
    pipeline.add_command(Cmd::with_capacity(6, 128)).arg(name)
}

/// Lets the key live at least `px` ms: NX for a key without a TTL, GT never shortens one.
fn push_expire(pipeline: &mut Pipeline, key: &str, px: u64) {
    command(pipeline, "PEXPIRE").arg(key).arg(px).arg("NX");
    command(pipeline, "PEXPIRE").arg(key).arg(px).arg("GT");
}

fn both_ways(callee: &Aor, caller: &Aor) -> (Pair, Pair) {
    (Pair { callee: callee.clone(), caller: caller.clone() }, Pair { callee: caller.clone(), caller: callee.clone() })
}

fn live(now: UnixMillis, stored: &[Binding]) -> Vec<Binding> {
    let mut live: Vec<Binding> = stored.iter().filter(|b| b.expires_at > now).cloned().collect();
    registration::sort(&mut live);
    live
}

/// What brings back the fields that an out-of-order `op` has changed.
fn undo(op: &Register, before: &[Field]) -> Vec<Amend> {
    let stored = |id: &[u8]| before.iter().find(|f| f.id == id).map(|f| f.record.clone()).unwrap_or_default();
    match &op.change {
        BindingChange::Fetch => Vec::new(),
        BindingChange::RemoveAll => before.iter().map(|f| Amend { id: f.id.clone(), seen: Vec::new(), wanted: f.record.clone() }).collect(),
        BindingChange::Each(changes) => changes
            .iter()
            .map(|change| match change {
                ContactChange::Put(b) => {
                    Amend { id: b.id.0.clone().into_bytes(), seen: codec::encode_binding(b), wanted: stored(b.id.0.as_bytes()) }
                }
                ContactChange::Remove(id) => Amend { id: id.0.clone().into_bytes(), seen: Vec::new(), wanted: stored(id.0.as_bytes()) },
            })
            .collect(),
    }
}

impl Amend {
    fn drop(field: &Field) -> Self {
        Self { id: field.id.clone(), seen: field.record.clone(), wanted: Vec::new() }
    }
}

impl Correction<'_> {
    /// Makes `fields` what a later op of the same batch would have read after the correction.
    fn patch(&self, fields: &mut Vec<Field>) {
        for amend in &self.fields {
            let at = fields.iter().position(|f| f.id == amend.id);
            if at.map_or(&[][..], |at| &fields[at].record) != &amend.seen[..] {
                continue;
            }
            match at {
                Some(at) if amend.wanted.is_empty() => drop(fields.swap_remove(at)),
                Some(at) => fields[at].record.clone_from(&amend.wanted),
                None if amend.wanted.is_empty() => {}
                None => fields.push(Field { id: amend.id.clone(), record: amend.wanted.clone() }),
            }
        }
    }
}
