//! Writes statuses and events, on the replica that leads.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::runtime::events::Recorder;
use kube::{Resource as _, ResourceExt as _};
use opentelemetry::metrics::Counter;
use redial_crd::{RedialPolicy, RedialPolicyStatus};
use redial_runtime::clock;
use redial_runtime::discovery::chain;
use serde_json::json;
use tokio::sync::watch;

use super::census::Counts;
use super::follow::Judged;
use super::set::Object;
use super::status;

/// Owner of the fields that are written. The same for all replicas: whoever leads next goes on with them.
pub const FIELD_MANAGER: &str = "redial-coordinator";

/// No object is written more often.
const PACE: Duration = Duration::from_secs(10);

/// Wait after a write that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// What the writer goes by, and what it writes to.
pub struct Writer {
    pub api: Api<DynamicObject>,
    pub namespace: String,
    pub recorder: Recorder,
    pub judged: watch::Receiver<Judged>,
    pub counts: watch::Receiver<Counts>,
    pub leading: watch::Receiver<bool>,
    pub failures: Counter<u64>,
}

/// What this replica wrote last to each object, by uid.
#[derive(Debug, Default)]
struct Written(HashMap<String, Write>);

#[derive(Debug)]
struct Write {
    /// What the watch said before.
    before: RedialPolicyStatus,
    after: RedialPolicyStatus,
    at: Instant,
}

impl Writer {
    /// Writes until the caller stops polling.
    pub async fn run(mut self) {
        let mut written = Written::default();
        let mut said = false;
        loop {
            if self.leading.wait_for(|leads| *leads).await.is_err() {
                return;
            }
            let wait = self.write_all(&mut written, &mut said).await;
            let sleep = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            let over = tokio::select! {
                () = sleep => false,
                changed = self.judged.changed() => changed.is_err(),
                changed = self.counts.changed() => changed.is_err(),
                changed = self.leading.changed() => changed.is_err(),
            };
            if over {
                return;
            }
        }
    }

    /// Writes what differs and may be written now. Returns when to come again for the rest.
    async fn write_all(&mut self, written: &mut Written, said: &mut bool) -> Option<Duration> {
        let judged = self.judged.borrow_and_update().clone();
        let counts = self.counts.borrow_and_update().clone();
        written.0.retain(|uid, _| judged.objects.iter().any(|object| object.uid == *uid));
        let mut wait: Option<Duration> = None;
        for (object, verdict) in judged.objects.iter().zip(&judged.compiled.verdicts) {
            if !*self.leading.borrow() {
                return wait;
            }
            let seen = object;
            let object = written.overlay(seen);
            let next = status::next(&object, verdict, counts.get(&object.uid).copied(), now());
            if next == object.status {
                continue;
            }
            let soonest = written.may_write(&object.uid, clock::instant());
            if !soonest.is_zero() {
                wait = Some(wait.map_or(soonest, |wait| wait.min(soonest)));
                continue;
            }
            match self.write(&object, &next).await {
                Ok(()) => {
                    *said = false;
                    written.0.insert(object.uid.clone(), Write { before: seen.status.clone(), after: next, at: clock::instant() });
                }
                Err(error) => {
                    self.failures.add(1, &[]);
                    if !std::mem::replace(said, true) {
                        tracing::warn!(policy = object.name, error = chain(&error), "status not written");
                    }
                    return Some(AGAIN);
                }
            }
        }
        wait
    }

    async fn write(&self, object: &Object, next: &RedialPolicyStatus) -> Result<(), kube::Error> {
        let patch = json!({
            "apiVersion": RedialPolicy::api_version(&()),
            "kind": RedialPolicy::kind(&()),
            // Not that of another object of the same name.
            "metadata": { "name": object.name, "uid": object.uid },
            "status": next,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        match self.api.patch_status(&object.name, &params, &Patch::Apply(&patch)).await {
            Ok(done) => tracing::debug!(policy = done.name_any(), "status written"),
            // Deleted meanwhile, and perhaps made anew: the watch will tell.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return Ok(()),
            Err(error) => return Err(error),
        }
        if let Some(event) = status::news(&object.status, next)
            && let Err(error) = self.recorder.publish(&event, &self.reference(object)).await
        {
            // The status says the same, and is what counts.
            self.failures.add(1, &[]);
            tracing::debug!(policy = object.name, error = chain(&error), "event not written");
        }
        Ok(())
    }

    fn reference(&self, object: &Object) -> ObjectReference {
        ObjectReference {
            api_version: Some(RedialPolicy::api_version(&()).into_owned()),
            kind: Some(RedialPolicy::kind(&()).into_owned()),
            name: Some(object.name.clone()),
            namespace: Some(self.namespace.clone()),
            uid: Some(object.uid.clone()),
            ..ObjectReference::default()
        }
    }
}

impl Written {
    /// The object with what was written to it, as long as the watch does not show a change.
    fn overlay(&self, object: &Object) -> Object {
        match self.0.get(&object.uid).filter(|write| write.before == object.status) {
            Some(write) => Object { status: write.after.clone(), ..object.clone() },
            None => object.clone(),
        }
    }

    /// Zero: now.
    fn may_write(&self, uid: &str, now: Instant) -> Duration {
        self.0.get(uid).map_or(Duration::ZERO, |write| (write.at + PACE).saturating_duration_since(now))
    }
}

/// Whole seconds, as the API server keeps them.
fn now() -> Timestamp {
    i64::try_from(clock::unix().0 / 1000).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_stands_in_until_the_watch_shows_a_change() {
        let generation = |n| RedialPolicyStatus { observed_generation: Some(n), ..RedialPolicyStatus::default() };
        let object = |n| Object { uid: "u".into(), status: generation(n), ..Object::default() };
        let t = clock::instant();
        let mut written = Written::default();
        assert_eq!((written.overlay(&object(1)), written.may_write("u", t)), (object(1), Duration::ZERO));
        written.0.insert("u".into(), Write { before: generation(1), after: generation(2), at: t });
        assert_eq!(written.overlay(&object(1)), object(2));
        assert_eq!(written.overlay(&object(3)), object(3));
        assert_eq!(written.may_write("u", t + Duration::from_secs(4)), Duration::from_secs(6));
        assert_eq!(written.may_write("u", t + PACE), Duration::ZERO);
    }
}
