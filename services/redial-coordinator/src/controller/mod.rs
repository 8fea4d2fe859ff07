//! Policies from RedialPolicy objects of one namespace, instead of a file.
//!
//! ```text
//! API server --watch--> follow --objects--> set (judges) --PolicySet--> engine and edges, on every replica
//!                                              |
//!                          census --counts--> writer --status, events--> API server, on the replica that election names
//! ```
//!
//! Every replica follows the objects itself, so policies need neither a leader nor each other. Only what goes back to the API server is
//! written by one. While the API server is away everything stays as it is and the watch is taken up again by itself.
//!
//! What the service account of the coordinator needs, in the namespace of the policies:
//!
//! ```yaml
//! - {apiGroups: [redial.dev], resources: [redialpolicies], verbs: [list, watch]}
//! - {apiGroups: [redial.dev], resources: [redialpolicies/status], verbs: [patch]}
//! - {apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch]}
//! - {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create]}
//! - {apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [redial-policy-status], verbs: [get, update]}
//! ```

mod census;
mod election;
mod follow;
mod lease;
mod set;
mod status;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use kube::runtime::events::{Recorder, Reporter};
use opentelemetry::metrics::Meter;
use redial_core::{PolicySet, WatchStore};
use redial_runtime::discovery::Kubernetes;
use tokio::sync::watch;

use census::{Counts, Register};
use election::Election;
use follow::{Follower, Instruments, Judged};
use lease::Candidate;
use writer::Writer;

/// How long a start waits for the first list before it goes on with the built-in policies.
const FIRST_LIST: Duration = Duration::from_secs(10);

/// The policies of one namespace, not followed yet.
pub struct PolicyObjects {
    kubernetes: Kubernetes,
    namespace: String,
    replica: String,
    meter: Meter,
    policies: watch::Sender<Arc<PolicySet>>,
    known: watch::Sender<bool>,
}

impl fmt::Debug for PolicyObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyObjects").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl PolicyObjects {
    /// Built-in policies until [`Self::follow`] has listed the objects. `replica` names this one in the Lease and in events.
    #[must_use]
    pub fn new(kubernetes: Kubernetes, namespace: String, replica: String, meter: Meter) -> (Self, watch::Receiver<Arc<PolicySet>>) {
        let (policies, receiver) = watch::channel(Arc::default());
        (Self { kubernetes, namespace, replica, meter, policies, known: watch::Sender::new(false) }, receiver)
    }

    /// Comes back when the objects have been listed, or after ten seconds: an edge that attaches is to be given the right policies from the
    /// start, but calls matter more than policies.
    pub fn known(&self) -> impl Future<Output = ()> + use<> {
        let mut known = self.known.subscribe();
        let namespace = self.namespace.clone();
        async move {
            if tokio::time::timeout(FIRST_LIST, known.wait_for(|known| *known)).await.is_err() {
                tracing::error!(namespace, "RedialPolicies not known yet, starting with the built-in policies");
            }
        }
    }

    /// Follows the objects, counts the watches in `store` and writes statuses, until `stopped` is ready; then gives the lead away.
    pub async fn follow<S: WatchStore>(self, store: Arc<S>, stopped: impl Future<Output = ()>) {
        let Self { kubernetes, namespace, replica, meter, policies, known } = self;
        let judged = watch::Sender::new(Judged::default());
        let register = watch::Sender::new(Register::default());
        let counts = watch::Sender::new(Counts::new());
        let mut candidate = Candidate {
            leases: Api::namespaced(kubernetes.client().clone(), &namespace),
            election: Election::new(identity(&replica)),
            leading: watch::Sender::new(false),
            gauge: Candidate::gauge(&meter),
        };
        let api = follow::api(&kubernetes, &namespace);
        let reporter = Reporter { controller: writer::FIELD_MANAGER.to_owned(), instance: Some(replica) };
        let writer = Writer {
            api: api.clone(),
            namespace: namespace.clone(),
            recorder: Recorder::new(kubernetes.client().clone(), reporter),
            judged: judged.subscribe(),
            counts: counts.subscribe(),
            leading: candidate.leading.subscribe(),
            failures: meter
                .u64_counter("redial.policies.write_failures")
                .with_description("Statuses and events of RedialPolicies that could not be written")
                .build(),
        };
        let registering = keep_registered(judged.subscribe(), register.clone());
        let counting = census::keep_counting(store, register.subscribe(), candidate.leading.subscribe(), counts);
        let follower = Follower { api, namespace, policies, judged, known, instruments: Instruments::new(&meter) };
        let work = async { tokio::join!(follower.run(), registering, counting, writer.run(), candidate.run()) };
        tokio::select! {
            _ = work => {}
            () = stopped => {}
        }
        candidate.resign().await;
    }
}

/// What the census counts by: changes only when the policies in force do, not with every status.
async fn keep_registered(mut judged: watch::Receiver<Judged>, register: watch::Sender<Register>) {
    while judged.changed().await.is_ok() {
        let next = {
            let judged = judged.borrow_and_update();
            let uid = |n: &usize| judged.objects[*n].uid.clone();
            let compiled = &judged.compiled;
            Register {
                set: Arc::new(compiled.set.clone()),
                rules: compiled.rules.iter().map(uid).collect(),
                default: compiled.default.as_ref().map(uid),
            }
        };
        register.send_if_modified(|current| {
            let differs = *current != next;
            if differs {
                *current = next;
            }
            differs
        });
    }
}

/// Two replicas may have been given the same name, and a replica that starts again is not its predecessor.
fn identity(replica: &str) -> String {
    format!("{replica}_{:016x}", RandomState::new().build_hasher().finish())
}
