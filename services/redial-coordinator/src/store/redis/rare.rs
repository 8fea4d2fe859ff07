//! What runs when a callee comes back, a watch changes or somebody looks: scripts that compare the fence, and reads.

use redial_core::store::{Due, Step, StepOutcome, StoreError, Turn};
use redial_core::{Aor, Fence, Pair, Shard, UnixMillis, Watch};

use super::reply::Replies;
use super::{RedisStore, ttl, unavailable};
use crate::store::{codec, keys};

/// Parked watches of one caller that are looked at in one go; the caps per caller are far below.
const PARKED: usize = 1024;

impl RedisStore {
    pub(super) async fn load_all(&self, pairs: &[Pair]) -> Result<Vec<Option<Watch>>, StoreError> {
        let mut pipeline = redis::Pipeline::with_capacity(pairs.len());
        for pair in pairs {
            pipeline.cmd("GET").arg(keys::watch(pair));
        }
        let mut replies = Replies::new(self.run(&pipeline).await?);
        pairs.iter().map(|pair| replies.watch(pair)).collect()
    }

    pub(super) async fn step_one(&self, now: UnixMillis, step: &Step) -> Result<StepOutcome, StoreError> {
        let pair = &step.next.pair;
        let (turn, turn_ttl) = match step.turn {
            Turn::Leave => ("leave", 0),
            Turn::Take { until } => ("take", ttl(now, until)),
            Turn::Keep { until } => ("keep", ttl(now, until)),
            Turn::Release => ("release", 0),
        };
        let mut call = self.scripts.step.key(keys::watch(pair));
        call.key(keys::wait(&pair.callee)).key(keys::due(pair.callee.shard())).key(keys::turn(&pair.callee));
        call.arg(&codec::fence(step.expect)[..]).arg(codec::encode_watch(&step.next)).arg(ttl(now, step.next.deadline));
        call.arg(step.due.0).arg(keys::member(pair)).arg(pair.caller.as_str()).arg(turn).arg(turn_ttl);
        call.arg(step.next.armed_at.0.saturating_mul(1000));
        match call.invoke_async::<i64>(&mut self.connection.clone()).await.map_err(unavailable)? {
            1 => self.stepped(now, &step.next).await.map(|()| StepOutcome::Applied),
            0 => Ok(StepOutcome::Stale),
            left => Ok(StepOutcome::TurnTaken { until: UnixMillis(now.0.saturating_add(left.unsigned_abs())) }),
        }
    }

    /// What the caller's shard knows of the watch follows the record. Lost with a crash, it is put right by the next step.
    pub(super) async fn stepped(&self, now: UnixMillis, watch: &Watch) -> Result<(), StoreError> {
        let pair = &watch.pair;
        let (mine, parked) = (keys::mine(&pair.caller), keys::parked(&pair.caller));
        let (callee, px) = (pair.callee.as_str(), ttl(now, watch.deadline));
        let mut pipeline = redis::pipe();
        pipeline.cmd("ZADD").arg(&mine).arg(watch.deadline.0).arg(callee).ignore();
        pipeline.cmd("PEXPIRE").arg(&mine).arg(px).arg("NX").ignore();
        pipeline.cmd("PEXPIRE").arg(&mine).arg(px).arg("GT").ignore();
        if watch.parked {
            pipeline.cmd("SADD").arg(&parked).arg(callee).ignore();
            pipeline.cmd("PEXPIRE").arg(&parked).arg(px).arg("NX").ignore();
            pipeline.cmd("PEXPIRE").arg(&parked).arg(px).arg("GT").ignore();
        } else {
            pipeline.cmd("SREM").arg(&parked).arg(callee).ignore();
        }
        pipeline.cmd("EXISTS").arg(keys::watch(pair));
        if watch.parked {
            pipeline.cmd("HGETALL").arg(keys::bind(&pair.caller));
        }
        let mut replies = Replies::new(self.run(&pipeline).await?);
        if replies.int()? == 0 {
            // Ended meanwhile, and who ended it may have cleaned up before this was written.
            return self.forget(pair).await;
        }
        let caller_back = watch.parked && !replies.live(now)?.is_empty();
        // Write first, look second: the caller may have registered before it could see that it is parked.
        if caller_back { self.hasten_all(std::slice::from_ref(pair), now).await } else { Ok(()) }
    }

    pub(super) async fn end_one(&self, now: UnixMillis, pair: &Pair, expect: Option<Fence>, turn: Turn) -> Result<bool, StoreError> {
        let (turn, turn_ttl) = match turn {
            Turn::Leave => ("leave", 0),
            Turn::Take { until } | Turn::Keep { until } => ("keep", ttl(now, until)),
            Turn::Release => ("release", 0),
        };
        let expect = expect.map(codec::fence);
        let mut call = self.scripts.end.key(keys::watch(pair));
        call.key(keys::wait(&pair.callee)).key(keys::due(pair.callee.shard())).key(keys::turn(&pair.callee));
        call.arg(expect.as_ref().map_or(&[][..], |fence| &fence[..])).arg(keys::member(pair)).arg(pair.caller.as_str());
        call.arg(turn).arg(turn_ttl);
        let first = call.invoke_async::<i64>(&mut self.connection.clone()).await.map_err(unavailable)? == 1;
        if first {
            // The watch has ended whatever becomes of this: both entries expire with their keys.
            if let Err(error) = self.forget(pair).await {
                tracing::debug!(%error, "entries of an ended watch stay until they expire");
            }
        }
        Ok(first)
    }

    /// Takes the pair out of the caller's shard.
    async fn forget(&self, pair: &Pair) -> Result<(), StoreError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("ZREM").arg(keys::mine(&pair.caller)).arg(pair.callee.as_str()).ignore();
        pipeline.cmd("SREM").arg(keys::parked(&pair.caller)).arg(pair.callee.as_str()).ignore();
        self.run(&pipeline).await.map(drop)
    }

    pub(super) async fn postpone_one(&self, pair: &Pair, expect: Fence, due: UnixMillis) -> Result<bool, StoreError> {
        let mut call = self.scripts.postpone.key(keys::watch(pair));
        call.key(keys::due(pair.callee.shard())).arg(&codec::fence(expect)[..]).arg(due.0).arg(keys::member(pair));
        Ok(call.invoke_async::<i64>(&mut self.connection.clone()).await.map_err(unavailable)? == 1)
    }

    pub(super) async fn hasten_all(&self, pairs: &[Pair], at: UnixMillis) -> Result<(), StoreError> {
        let mut pipeline = redis::Pipeline::with_capacity(pairs.len());
        for pair in pairs {
            let due = keys::due(pair.callee.shard());
            pipeline.cmd("ZADD").arg(due).arg("XX").arg("LT").arg(at.0).arg(keys::member(pair)).ignore();
        }
        self.run(&pipeline).await.map(drop)
    }

    pub(super) async fn release_turn_of(&self, pair: &Pair) -> Result<(), StoreError> {
        let mut call = self.scripts.release_turn.key(keys::turn(&pair.callee));
        call.arg(pair.caller.as_str());
        call.invoke_async::<i64>(&mut self.connection.clone()).await.map(drop).map_err(unavailable)
    }

    pub(super) async fn queue_of(&self, callee: &Aor, limit: usize) -> Result<Vec<Aor>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        pipeline.cmd("ZRANGE").arg(keys::wait(callee)).arg(0).arg(limit - 1);
        let callers = Replies::new(self.run(&pipeline).await?).strings()?;
        Ok(aors(callers))
    }

    pub(super) async fn parked_of(&self, caller: &Aor) -> Result<Vec<Pair>, StoreError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("SRANDMEMBER").arg(keys::parked(caller)).arg(PARKED);
        let callees = aors(Replies::new(self.run(&pipeline).await?).strings()?);
        Ok(callees.into_iter().map(|callee| Pair { callee, caller: caller.clone() }).collect())
    }

    pub(super) async fn due_of(&self, shards: &[Shard], now: UnixMillis, limit: usize) -> Result<Due, StoreError> {
        let mut pipeline = redis::Pipeline::with_capacity(shards.len() * 2);
        for &shard in shards {
            let due = keys::due(shard);
            pipeline.cmd("ZRANGEBYSCORE").arg(&due).arg("-inf").arg(now.0).arg("LIMIT").arg(0).arg(limit);
            pipeline.cmd("ZCARD").arg(&due);
        }
        let mut replies = Replies::new(self.run(&pipeline).await?);
        let mut due = Due::default();
        for _ in shards {
            due.pairs.extend(replies.strings()?.iter().filter_map(|member| keys::parse_member(member)));
            due.watches.push(u64::from(replies.count()?));
        }
        Ok(due)
    }

    pub(super) async fn list_of(&self, shard: Shard, limit: usize) -> Result<Vec<Watch>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        pipeline.cmd("ZRANGE").arg(keys::due(shard)).arg(0).arg(limit - 1);
        let members = Replies::new(self.run(&pipeline).await?).strings()?;
        let pairs: Vec<Pair> = members.iter().filter_map(|member| keys::parse_member(member)).collect();
        Ok(self.load_all(&pairs).await?.into_iter().flatten().collect())
    }
}

fn aors(names: Vec<Vec<u8>>) -> Vec<Aor> {
    names.into_iter().filter_map(|name| String::from_utf8(name).ok()).map(Aor::new).collect()
}
