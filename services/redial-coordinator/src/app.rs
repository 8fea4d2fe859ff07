//! The coordinator as a process: `Config -> build() -> App -> run(stop)`. Addresses are bound in build, so port 0 works and a start that
//! cannot succeed fails before anything runs.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redial_core::{PolicySet, WatchStore};
use redial_proto::v1::link_server::LinkServer;
use redial_proto::v1::operator_server::OperatorServer;
use redial_runtime::admin::{Latch, Readiness};
use redial_runtime::discovery::Kubernetes;
use redial_runtime::shutdown;
use redial_runtime::telemetry::Metrics;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::controller::PolicyObjects;
use crate::coordinator::{Coordinator, Hints, Setup};
use crate::credentials::{BadCredentials, CredentialFile};
use crate::grpc::{LinkService, OperatorService};
use crate::policies::{BadPolicies, PolicyFile, settled};

/// Default of [`Config::grace`].
pub const GRACE: Duration = Duration::from_secs(10);

/// An edge that is gone without a word is noticed after one interval and one timeout.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// How often the store is asked at the start until it answers for the first time.
const FIRST_PING: Duration = Duration::from_millis(500);

/// Pings that fail per log line: one line in about ten seconds.
const SAID_EVERY: u32 = 20;

/// Everything but the store.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where edges and operators attach.
    pub listen: SocketAddr,
    pub policy: PolicySource,
    /// Credentials for phones that challenge a recall. None: such phones count as refusing.
    pub credentials: Option<PathBuf>,
    /// Overrides `settle` of every policy.
    pub settle: Option<Duration>,
    pub setup: Setup,
    /// How long to go on after the signal, not ready, before the drain.
    pub drain_delay: Duration,
    /// How long a drain may take.
    pub grace: Duration,
}

/// Where policies come from.
#[derive(Clone, Debug, Default)]
pub enum PolicySource {
    /// The default policies.
    #[default]
    BuiltIn,
    /// TOML, followed.
    File(PathBuf),
    /// The RedialPolicy objects of a namespace, followed.
    Objects { kubernetes: Kubernetes, namespace: String },
}

impl From<Option<PathBuf>> for PolicySource {
    fn from(file: Option<PathBuf>) -> Self {
        file.map_or(Self::BuiltIn, Self::File)
    }
}

/// The policies that change while we run.
#[derive(Debug)]
enum Followed {
    Nothing,
    File(PolicyFile),
    Objects(PolicyObjects),
}

/// Why there is no coordinator.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("cannot listen on {0}: {1}")]
    Bind(SocketAddr, io::Error),
    #[error("bad policies: {0}")]
    Policies(#[from] BadPolicies),
    #[error("bad credentials: {0}")]
    Credentials(#[from] BadCredentials),
}

/// A coordinator whose address is bound.
#[derive(Debug)]
pub struct App<S> {
    listener: std::net::TcpListener,
    addr: SocketAddr,
    coordinator: Coordinator<S>,
    followed: Followed,
    secrets: Option<CredentialFile>,
    drain_delay: Duration,
    grace: Duration,
    serving: Latch,
    answered: Latch,
}

impl Config {
    /// Binds the address, reads the policies, and starts the coordinator's own tasks on the current runtime.
    ///
    /// # Errors
    /// [`BuildError`] when the address cannot be bound or the policy file is bad.
    pub fn build<S: WatchStore>(
        self,
        store: Arc<S>,
        hints: Option<Hints>,
        metrics: &Metrics,
        readiness: &Readiness,
    ) -> Result<App<S>, BuildError> {
        let meter = metrics.meter("redial_coordinator");
        let (followed, policies) = match self.policy {
            PolicySource::File(path) => {
                let (file, policies) = PolicyFile::open(&path, self.settle)?;
                (Followed::File(file), policies)
            }
            PolicySource::Objects { kubernetes, namespace } => {
                let (objects, policies) = PolicyObjects::new(kubernetes, namespace, self.setup.replica.clone(), meter.clone());
                (Followed::Objects(objects), policies)
            }
            PolicySource::BuiltIn => (Followed::Nothing, watch::channel(Arc::new(settled(PolicySet::default(), self.settle))).1),
        };
        let mut setup = Setup { spans: metrics.spans(), ..self.setup };
        let secrets = match &self.credentials {
            Some(path) => {
                let (file, credentials) = CredentialFile::open(path)?;
                setup.credentials = credentials;
                Some(file)
            }
            None => None,
        };
        let bind = || -> io::Result<_> {
            let listener = std::net::TcpListener::bind(self.listen)?;
            listener.set_nonblocking(true)?;
            let addr = listener.local_addr()?;
            Ok((listener, addr))
        };
        let (listener, addr) = bind().map_err(|error| BuildError::Bind(self.listen, error))?;
        let coordinator = Coordinator::start(store, policies, hints, setup, &meter, CancellationToken::new());
        let (serving, answered) = (readiness.latch("serving"), readiness.latch("store"));
        let (drain_delay, grace) = (self.drain_delay, self.grace);
        Ok(App { listener, addr, coordinator, followed, secrets, drain_delay, grace, serving, answered })
    }
}

impl<S: WatchStore> App<S> {
    /// The address that was really bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    #[must_use]
    pub fn coordinator(&self) -> &Coordinator<S> {
        &self.coordinator
    }

    /// Serves until `stop`, then drains: not ready, after the delay links are closed, so that edges go to other replicas, what is in progress is
    /// finished, and what only this replica knows is left in the store.
    ///
    /// # Errors
    /// When the server fails.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let Self { listener, coordinator, followed, secrets, drain_delay, grace, serving, answered, .. } = self;
        let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?).with_nodelay(Some(true));
        let drained = CancellationToken::new();
        // Until the drain: edges that still ask in the delay are given the policies of then.
        let over = CancellationToken::new();
        let following = follow(followed, &coordinator, &stop, &over).await;
        let server = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE.0))
            .http2_keepalive_timeout(Some(KEEPALIVE.1))
            .add_service(LinkServer::new(LinkService::new(coordinator.clone())))
            .add_service(OperatorServer::new(OperatorService::new(coordinator.clone())))
            .serve_with_incoming_shutdown(incoming, drained.clone().cancelled_owned());
        let mut server = tokio::spawn(server);
        serving.set(true);
        let background = async {
            let credentials = async {
                match secrets {
                    Some(file) => file.follow().await,
                    None => std::future::pending().await,
                }
            };
            tokio::join!(first_answer(&coordinator, &answered), credentials)
        };
        let delayed = async {
            stop.cancelled().await;
            // Edges go on asking until they have noticed; a server that ends meanwhile ends the wait.
            serving.set(false);
            tokio::time::sleep(drain_delay).await;
        };
        let early = tokio::select! {
            () = delayed => None,
            _ = background => None,
            ended = &mut server => Some(ended),
        };
        serving.set(false);
        let failed = matches!(&early, Some(Ok(Err(_)) | Err(_)));
        over.cancel();
        let work = async {
            if let Some(following) = following {
                // Its panic has been reported where it happened.
                _ = following.await;
            }
            coordinator.stop().await;
            drained.cancel();
            match early {
                Some(_) => {}
                None => drop((&mut server).await),
            }
            coordinator.settled().await;
        };
        shutdown::drain("coordinator", grace, work).await;
        server.abort();
        if failed { Err(io::Error::other("the gRPC server ended by itself")) } else { Ok(()) }
    }
}

/// Follows the policies until `over`. Comes back when there are some to give to the edges, or on `stop`.
async fn follow<S: WatchStore>(
    followed: Followed,
    coordinator: &Coordinator<S>,
    stop: &CancellationToken,
    over: &CancellationToken,
) -> Option<JoinHandle<()>> {
    let stopped = over.clone().cancelled_owned();
    match followed {
        Followed::Nothing => None,
        Followed::File(file) => Some(tokio::spawn(async move {
            tokio::select! {
                () = file.follow() => {}
                () = stopped => {}
            }
        })),
        Followed::Objects(objects) => {
            let known = objects.known();
            let following = tokio::spawn(objects.follow(coordinator.engine().store().clone(), stopped));
            stop.run_until_cancelled(known).await;
            Some(following)
        }
    }
}

/// Ready for the first time when the store answers. Later outages do not take the replica out of service: it refuses what needs the
/// store and nothing would be won by refusing connections too (P6).
async fn first_answer<S: WatchStore>(coordinator: &Coordinator<S>, answered: &Latch) {
    let mut tries = 0u32;
    while let Err(error) = coordinator.ping().await {
        if tries.is_multiple_of(SAID_EVERY) {
            tracing::warn!(%error, tries, "waiting for the store");
        }
        tries += 1;
        tokio::time::sleep(FIRST_PING).await;
    }
    answered.set(true);
}
