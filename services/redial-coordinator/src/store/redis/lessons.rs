//! What recalls have taught about kinds of phones: one hash of User-Agent to `<rung> <milliseconds>`, far off every hot path.

use redial_core::UnixMillis;
use redial_core::store::{Lesson, MAX_LESSONS, StoreError, keep_lessons};

use super::reply::Replies;
use super::{RedisStore, ttl};
use crate::store::keys;

impl RedisStore {
    pub(super) async fn learned_of(&self, now: UnixMillis, agent: &str) -> Result<Option<u8>, StoreError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGET").arg(keys::LEARNED).arg(agent);
        let value = Replies::new(self.run(&pipeline).await?).bytes()?;
        let lesson = value.and_then(|value| parse(agent.as_bytes(), &value));
        Ok(lesson.filter(|lesson| lesson.until > now).map(|lesson| lesson.rung))
    }

    pub(super) async fn learn_one(&self, now: UnixMillis, lesson: &Lesson) -> Result<(), StoreError> {
        let value = format!("{} {}", lesson.rung, lesson.until.0);
        let mut pipeline = redis::pipe();
        pipeline.cmd("HSET").arg(keys::LEARNED).arg(&lesson.agent).arg(value).ignore();
        let px = ttl(now, lesson.until);
        pipeline.cmd("PEXPIRE").arg(keys::LEARNED).arg(px).arg("NX").ignore();
        pipeline.cmd("PEXPIRE").arg(keys::LEARNED).arg(px).arg("GT").ignore();
        pipeline.cmd("HLEN").arg(keys::LEARNED);
        let known = Replies::new(self.run(&pipeline).await?).count()?;
        if known as usize <= MAX_LESSONS {
            return Ok(());
        }
        // Write first, look second: replicas that learn at the same time may forget the same, which is no harm.
        let all = self.all_lessons().await?;
        let kept = keep_lessons(now, all.clone());
        let mut pipeline = redis::pipe();
        let forget = pipeline.cmd("HDEL").arg(keys::LEARNED);
        for lesson in all.iter().filter(|lesson| kept.binary_search_by(|k| k.agent.cmp(&lesson.agent)).is_err()) {
            forget.arg(&lesson.agent);
        }
        forget.ignore();
        self.run(&pipeline).await.map(drop)
    }

    pub(super) async fn all_lessons(&self) -> Result<Vec<Lesson>, StoreError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGETALL").arg(keys::LEARNED);
        let fields = Replies::new(self.run(&pipeline).await?).fields()?;
        Ok(fields.iter().filter_map(|field| parse(&field.id, &field.record)).collect())
    }
}

/// None: written by somebody else; its key's TTL removes it.
fn parse(agent: &[u8], value: &[u8]) -> Option<Lesson> {
    let (rung, until) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    let agent = std::str::from_utf8(agent).ok()?.to_owned();
    Some(Lesson { agent, rung: rung.parse().ok()?, until: UnixMillis(until.parse().ok()?) })
}
