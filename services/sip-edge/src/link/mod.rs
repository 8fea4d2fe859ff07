//! The way from the workers to the coordinators and back.
//!
//! One task owns everything that is under way: workers hand it batches of requests through a [`LinkPort`], it picks the replica by
//! rendezvous hash of the AoR, batches, keeps deadlines, and gives every request exactly one reply. Replies and orders come back to the
//! workers through their [`WorkerInbox`]. A replica is reached by gRPC or, in one process, through a [`LocalLink`]; the task does not care.
//!
//! Replicas come and go. A new one is attached to and takes its share. One that is no longer listed gets nothing new from the moment that
//! another is attached, answers what it has, and is then detached from; what it does not answer goes to the next one, as after a lost stream.

mod batch;
mod grpc;
mod local;
mod pending;
mod port;
mod replicas;
mod router;
mod streams;
mod task;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use redial_core::{EdgeId, PolicySet};
use redial_runtime::admin::Latch;
use redial_runtime::discovery::Members;
use tokio_util::sync::CancellationToken;

pub use batch::BatchRules;
pub use local::LocalLink;
pub use port::{LinkPort, WorkerInbox};

use crate::counters::Counters;
use streams::Streams;
use task::LinkTask;

/// Where coordinators are.
#[derive(Debug)]
pub enum Coordinator {
    /// `http://host:port`. The URL is also the replica's name for rendezvous hashing, so all edges must spell it alike.
    Url(String),
    /// As many as there are at the time, each by its name.
    Members(Members),
    /// In this process.
    Local(LocalLink),
}

/// What the link needs to run.
#[derive(Debug)]
pub struct LinkConfig {
    pub edge: EdgeId,
    pub coordinators: Vec<Coordinator>,
    pub workers: usize,
    pub rules: BatchRules,
    /// Most requests open at once, over all workers; more fail as overloaded.
    pub max_open: usize,
    pub policies: Arc<ArcSwap<PolicySet>>,
    pub counters: Arc<Counters>,
    /// Set while at least one coordinator is attached.
    pub attached: Latch,
    pub round_trip: opentelemetry::metrics::Histogram<f64>,
}

/// First wait before attaching again; doubles up to [`REATTACH_MAX`].
pub(crate) const REATTACH_MIN: Duration = Duration::from_millis(100);
/// Longest wait before attaching again.
pub(crate) const REATTACH_MAX: Duration = Duration::from_secs(5);

/// The link before it runs: ports and inboxes go to the workers, `run` to the runtime.
#[derive(Debug)]
pub struct Link {
    task: LinkTask,
    coordinators: Vec<Coordinator>,
    edge: EdgeId,
}

impl Link {
    /// The link with one port and one inbox per worker.
    ///
    /// # Errors
    /// A coordinator's URL that is none.
    pub fn new(config: LinkConfig) -> Result<(Self, Vec<(LinkPort, WorkerInbox)>), BadUrl> {
        for coordinator in &config.coordinators {
            if let Coordinator::Url(url) = coordinator {
                check_url(url)?;
            }
        }
        let (port, submitted) = port::port(config.max_open, Arc::clone(&config.counters));
        let (router, inboxes) = router::router(config.workers, config.max_open, Arc::clone(&config.counters));
        let task = LinkTask::new(submitted, router, &config);
        let ends = inboxes.into_iter().map(|inbox| (port.clone(), inbox)).collect();
        Ok((Self { task, coordinators: config.coordinators, edge: config.edge }, ends))
    }

    /// Attaches, and carries requests and replies until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let (events, heard) = tokio::sync::mpsc::channel(64);
        let streams = Streams::new(self.edge, events).keep(self.coordinators);
        let carried = async {
            tokio::select! {
                () = self.task.run(heard) => {}
                () = streams => {}
            }
        };
        stop.run_until_cancelled(carried).await;
    }
}

/// Whether a coordinator can be reached by this address.
///
/// # Errors
/// It cannot.
pub fn check_url(url: &str) -> Result<(), BadUrl> {
    grpc::channel(url).map(drop)
}

/// A coordinator's address that gRPC cannot use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no coordinator address such as http://coordinator:7070")]
pub struct BadUrl(pub String);
