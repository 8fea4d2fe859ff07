//! Contacts that outlive their registration, and who probes them. Only for callees whose policy has `probe`.

use redial_core::store::{LastContacts, StoreError};
use redial_core::{Aor, Binding, UnixMillis};

use super::reply::{Replies, bindings};
use super::{RedisStore, ttl, unavailable};
use crate::store::{codec, keys};

impl RedisStore {
    pub(super) async fn remember_all(&self, now: UnixMillis, all: &[LastContacts]) -> Result<(), StoreError> {
        let mut pipeline = redis::pipe();
        for last in all {
            let key = keys::last(&last.aor);
            pipeline.cmd("DEL").arg(&key).ignore();
            for contact in &last.contacts {
                pipeline.cmd("HSET").arg(&key).arg(&contact.id.0).arg(codec::encode_binding(contact)).ignore();
            }
            if !last.contacts.is_empty() {
                pipeline.cmd("PEXPIRE").arg(&key).arg(ttl(now, last.until)).ignore();
            }
        }
        self.run(&pipeline).await.map(drop)
    }

    pub(super) async fn remembered_of(&self, aor: &Aor) -> Result<Vec<Binding>, StoreError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGETALL").arg(keys::last(aor));
        let mut fields = Replies::new(self.run(&pipeline).await?).fields()?;
        // The claim.
        fields.retain(|field| !field.id.is_empty());
        Ok(bindings(&fields))
    }

    pub(super) async fn claim_probe_of(&self, now: UnixMillis, aor: &Aor, until: UnixMillis) -> Result<bool, StoreError> {
        let mut call = self.scripts.claim_probe.key(keys::last(aor));
        call.arg(now.0).arg(until.0);
        call.invoke_async::<i64>(&mut self.connection.clone()).await.map(|claimed| claimed == 1).map_err(unavailable)
    }
}
