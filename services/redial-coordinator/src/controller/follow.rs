//! Follows the RedialPolicies of one namespace. Every replica does.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::utils::Backoff as _;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Api, ResourceExt as _};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Gauge, Meter};
use redial_core::PolicySet;
use redial_crd::RedialPolicy;
use redial_runtime::discovery::{Kubernetes, chain};
use tokio::sync::watch;

use super::set::{Accepted, Compiled, Known, Object, compile};

/// Seconds that one watch lasts before it is asked for again: a server that vanished without a word is noticed this much later.
const WATCH: u32 = 60;

/// The longest wait before the API server is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// What there is and what it comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    pub objects: Vec<Object>,
    pub compiled: Compiled,
}

/// The untyped API of the objects: one that cannot be read as its type must not hide the others.
#[must_use]
pub fn api(kubernetes: &Kubernetes, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(kubernetes.client().clone(), namespace, &ApiResource::erase::<RedialPolicy>(&()))
}

/// One that follows; the policies in force go to `policies`, the rest to whoever writes statuses.
pub struct Follower {
    pub api: Api<DynamicObject>,
    pub namespace: String,
    pub policies: watch::Sender<Arc<PolicySet>>,
    pub judged: watch::Sender<Judged>,
    /// Whether the objects have been listed yet.
    pub known: watch::Sender<bool>,
    pub instruments: Instruments,
}

/// What is measured.
pub struct Instruments {
    stale: Gauge<u64>,
    objects: Gauge<u64>,
}

impl Instruments {
    #[must_use]
    pub fn new(meter: &Meter) -> Self {
        let gauge = |name: &'static str, description: &'static str| meter.u64_gauge(name).with_description(description).build();
        Self {
            stale: gauge("redial.policies.stale", "1 while RedialPolicies are not followed: the API server does not answer"),
            objects: gauge("redial.policies.objects", "RedialPolicies, by what became of them as they are written now"),
        }
    }

    fn judged(&self, compiled: &Compiled) {
        let mut counts = [("accepted", 0), ("invalid", 0), ("conflict", 0)];
        for verdict in &compiled.verdicts {
            let which = match verdict.accepted {
                Accepted::Yes => 0,
                Accepted::Invalid(_) => 1,
                Accepted::Conflict(_) => 2,
            };
            counts[which].1 += 1;
        }
        for (result, n) in counts {
            self.objects.record(n, &[KeyValue::new("result", result)]);
        }
    }
}

impl Follower {
    /// Follows until the caller stops polling. While the API server is away the last policies stay.
    pub async fn run(self) {
        self.instruments.stale.record(1, &[]);
        let mut backoff = DefaultBackoff::default();
        let mut state = State::default();
        let mut said = false;
        loop {
            let error = self.follow(&mut state, &mut backoff, &mut said).await;
            if !said {
                tracing::error!(
                    namespace = self.namespace,
                    error = chain(&error),
                    "RedialPolicies not followed, the last known policies stay"
                );
                said = true;
            }
            self.instruments.stale.record(1, &[]);
            // Never ends by itself.
            tokio::time::sleep(backoff.next().unwrap_or(AGAIN).min(AGAIN)).await;
        }
    }

    /// Lists and watches until something fails. Afterwards everything is listed anew, which is how the end of an outage is noticed.
    async fn follow(&self, state: &mut State, backoff: &mut DefaultBackoff, said: &mut bool) -> watcher::Error {
        let mut events = pin!(watcher(self.api.clone(), watcher::Config::default().timeout(WATCH)));
        loop {
            match events.next().await {
                Some(Ok(event)) => {
                    if !state.take(event) {
                        continue;
                    }
                    backoff.reset();
                    self.instruments.stale.record(0, &[]);
                    if std::mem::take(said) {
                        tracing::info!(namespace = self.namespace, "RedialPolicies are followed again");
                    }
                    self.publish(state);
                }
                Some(Err(error)) => return error,
                // A watcher does not end.
                None => return watcher::Error::NoResourceVersion,
            }
        }
    }

    fn publish(&self, state: &mut State) {
        let judged = state.judge();
        let set = &judged.compiled.set;
        let changed = self.policies.send_if_modified(|current| {
            let differs = **current != *set;
            if differs {
                *current = Arc::new(set.clone());
            }
            differs
        });
        if changed || !*self.known.borrow() {
            tracing::info!(objects = judged.objects.len(), rules = set.rules.len(), changed, "policies in force");
        }
        self.instruments.judged(&judged.compiled);
        self.judged.send_if_modified(|before| {
            for (object, verdict) in judged.objects.iter().zip(&judged.compiled.verdicts) {
                let known = before.objects.iter().position(|other| other.uid == object.uid);
                if known.and_then(|n| before.compiled.verdicts.get(n)).map(|known| &known.accepted) != Some(&verdict.accepted) {
                    say(object, &verdict.accepted, verdict.in_force.is_some());
                }
            }
            let differs = *before != judged;
            *before = judged;
            differs
        });
        self.known.send_if_modified(|known| !std::mem::replace(known, true));
    }
}

fn say(object: &Object, accepted: &Accepted, in_force: bool) {
    let (policy, generation) = (&object.name, object.generation);
    match accepted {
        Accepted::Yes => tracing::debug!(policy, generation, "policy accepted"),
        Accepted::Conflict(with) => tracing::warn!(policy, generation, with, "policy without effect, another is for the same callees"),
        Accepted::Invalid(errors) => {
            for error in errors {
                tracing::error!(policy, generation, key = error.key, problem = error.problem, last_good_stays = in_force, "bad policy");
            }
        }
    }
}

/// The objects as the watch tells of them.
#[derive(Default)]
struct State {
    objects: BTreeMap<String, Object>,
    /// A list that is not complete yet.
    listing: BTreeMap<String, Object>,
    known: Known,
}

impl State {
    /// True when the objects may have changed and are complete.
    fn take(&mut self, event: Event<DynamicObject>) -> bool {
        match event {
            Event::Init => {
                self.listing.clear();
                return false;
            }
            Event::InitApply(object) => {
                self.listing.insert(object.name_any(), read(object));
                return false;
            }
            Event::InitDone => self.objects = std::mem::take(&mut self.listing),
            Event::Apply(object) => _ = self.objects.insert(object.name_any(), read(object)),
            Event::Delete(object) => _ = self.objects.remove(&object.name_any()),
        }
        true
    }

    fn judge(&mut self) -> Judged {
        let objects: Vec<Object> = self.objects.values().cloned().collect();
        let compiled = compile(&objects, &self.known);
        self.known = compiled.known(&objects);
        Judged { objects, compiled }
    }
}

fn read(mut object: DynamicObject) -> Object {
    let mut part = |key: &str| object.data.get_mut(key).map(serde_json::Value::take).unwrap_or_default();
    let (spec, status) = (part("spec"), part("status"));
    Object {
        name: object.name_any(),
        uid: object.metadata.uid.unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        created: object.metadata.creation_timestamp.map_or(0, |time| time.0.as_second()),
        spec,
        // A status that is none will be written anew.
        status: serde_json::from_value(status).unwrap_or_default(),
    }
}
