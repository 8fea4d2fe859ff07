//! The edge as a library: `Config -> build() -> Edge -> run(shutdown)`. Sockets are bound in build, so port 0 works and is known before
//! anything runs.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use arc_swap::ArcSwap;
use redial_core::{EdgeId, PolicySet};
use redial_runtime::admin::{Latch, Readiness};
use redial_runtime::clock;
use redial_runtime::discovery::{Members, in_pod_network};
use redial_runtime::shutdown;
use redial_runtime::telemetry;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::counters::Counters;
use crate::endpoint::config::{Listener, Transport};
use crate::endpoint::{EndpointConfig, Known};
use crate::export;
use crate::link::{BadUrl, BatchRules, Coordinator, Link, LinkConfig};
use crate::metrics::Metrics;
use crate::peers::port::PeerParts;
use crate::peers::{Peers, keep_beating};
use crate::reach::doubt;
use crate::settings::{Advertised, ListenAddr};
use crate::transport::accept::{self, StreamListener, Streams};
use crate::transport::bind_shared;
use crate::transport::connections::Connections;
use crate::transport::descriptors;
use crate::transport::port::{self, StreamPort};
use crate::transport::stream::Patience;
use crate::transport::tls::TlsFiles;
use crate::upstream::{Front, ResolveError, Resolver};
use crate::users_file::UsersFile;
use crate::worker::{self, HANDOVERS, IdleWorkers, WorkerParts};

/// Default of [`Config::grace`]: over Timer B and F, 32 s (RFC 3261 section 17.1), so that every transaction can end by itself.
pub const GRACE: Duration = Duration::from_secs(35);

/// How long connections have for what is still to be sent.
const HANG_UP: Duration = Duration::from_secs(2);

/// One address to listen on.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    pub transport: Transport,
    /// Port 0 takes any free port.
    pub bind: SocketAddr,
    /// None: what was bound.
    pub advertised: Option<Advertised>,
}

/// Connections of phones.
#[derive(Debug)]
pub struct StreamsConfig {
    /// There whenever a listener is for TLS.
    pub tls: Option<TlsFiles>,
    pub max_connections: usize,
    pub connections_per_ip: usize,
    /// Nothing has come by a connection.
    pub idle: Duration,
    /// A message is not complete.
    pub message: Duration,
}

/// Other edges.
#[derive(Clone, Debug)]
pub struct PeersConfig {
    /// Where they send to us; port 0 takes any free port.
    pub listen: SocketAddr,
    /// By edge name and `listen` address; this edge may be among them.
    pub members: Members,
}

/// The servers that this edge stands before.
#[derive(Debug)]
pub struct FrontConfig {
    pub front: Front,
    /// Looks up those that are named. None: the system's DNS servers.
    pub dns: Option<SocketAddr>,
}

/// A checked configuration; [`crate::settings`] makes it.
#[derive(Debug)]
pub struct Config {
    pub listeners: Vec<ListenerConfig>,
    pub streams: StreamsConfig,
    /// Lower case.
    pub domains: Vec<String>,
    pub users: Option<UsersFile>,
    pub secret: [u8; 32],
    /// False: random, so other edges do not know it.
    pub secret_is_shared: bool,
    /// None: one per core.
    pub workers: Option<u8>,
    pub edge: EdgeId,
    /// Existing servers are registrar and proxy. None: this edge is.
    pub front: Option<FrontConfig>,
    /// None: this edge passes nothing.
    pub peers: Option<PeersConfig>,
    pub coordinators: Vec<Coordinator>,
    pub rules: BatchRules,
    /// Under load a worker wakes at most this often.
    pub receive_linger: Duration,
    pub max_requests: usize,
    pub register_min: Duration,
    pub register_max: Duration,
    pub register_default: Duration,
    pub coordinator_timeout: Duration,
    pub max_transactions: usize,
    pub max_known: usize,
    pub timer_c: Duration,
    /// How long to go on after the signal, not ready, before the drain.
    pub drain_delay: Duration,
    /// How long a drain may take.
    pub grace: Duration,
}

/// Why there is no edge.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("cannot listen on {0}: {1}")]
    Bind(ListenAddr, io::Error),
    #[error("cannot listen on {0} for other edges: {1}")]
    BindPeers(SocketAddr, io::Error),
    #[error(transparent)]
    Coordinator(#[from] BadUrl),
    #[error(transparent)]
    Resolver(#[from] ResolveError),
}

/// Why a running edge ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("cannot start worker {0}: {1}")]
    Start(u8, io::Error),
    #[error("cannot serve connections: {0}")]
    Streams(io::Error),
    #[error("worker {0} failed: {1}")]
    Worker(u8, String),
}

/// A bound edge that does not serve yet.
pub struct Edge {
    endpoint: Arc<EndpointConfig>,
    link: Link,
    workers: Vec<WorkerParts>,
    /// None: no listener is for connections.
    streams: Option<Streams>,
    users: Option<UsersFile>,
    /// Looks up the servers upstream that have names.
    resolver: Option<(Resolver, Latch)>,
    /// Members, and a socket for beats.
    peers: Option<(Members, UdpSocket)>,
    listening: Latch,
    idle: Arc<IdleWorkers>,
    drain: CancellationToken,
    stop: CancellationToken,
    drain_delay: Duration,
    grace: Duration,
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").field("id", &self.endpoint.edge).field("listeners", &self.endpoint.listeners).finish_non_exhaustive()
    }
}

impl Config {
    /// Binds every socket and wires the parts. Nothing runs yet.
    ///
    /// # Errors
    /// An address cannot be bound, or a coordinator's address is none.
    pub fn build(self, telemetry: &telemetry::Metrics, readiness: &Readiness) -> Result<Edge, BuildError> {
        let workers = self.workers.unwrap_or_else(cores);
        let Bound { listeners: bound, sockets, streams } = bind_all(&self.listeners, workers)?;
        let edge = self.edge;
        let secret = self.secret;
        let (peers, peer_sockets, beats) = match self.peers {
            None => (None, Vec::new(), None),
            Some(config) => {
                let failed = |error| BuildError::BindPeers(config.listen, error);
                let sockets = bind_shared(config.listen, usize::from(workers)).map_err(failed)?;
                let beats = sockets.first().map(UdpSocket::try_clone).transpose().map_err(failed)?;
                let peers = Arc::new(Peers::new(&secret, &edge, &bound, workers, clock::instant()));
                (Some(peers), sockets, beats.map(|socket| (config.members, socket)))
            }
        };
        let policies = Arc::new(ArcSwap::from_pointee(PolicySet::default()));
        let metrics = Arc::new(Metrics::default());
        let counters = Arc::new(Counters::default());
        let meter = telemetry.meter("sip-edge");
        export::register(&meter, &metrics, &counters);
        if let Some(peers) = &peers {
            export::peer_levels(&meter, peers);
        }
        let mut resolver = None;
        if let Some(config) = &self.front {
            export::upstreams(&meter, &config.front.upstreams);
            if config.front.upstreams.has_names() {
                resolver = Some((Resolver::new(config.dns)?, readiness.latch("upstream servers found")));
            }
        }
        if !self.secret_is_shared {
            tracing::info!("secret is random: several edges of one installation need a shared one (--secret-file)");
        }
        let endpoint = Arc::new(EndpointConfig {
            edge: edge.clone(),
            domains: self.domains,
            listeners: bound,
            secret,
            users: self.users.as_ref().map(UsersFile::users),
            policies: Arc::clone(&policies),
            metrics,
            register_min: self.register_min,
            register_max: self.register_max,
            register_default: self.register_default,
            max_transactions: self.max_transactions,
            known: Arc::new(Known::new(self.max_known)),
            front: self.front.map(|config| config.front),
            peers,
            coordinator_timeout: self.coordinator_timeout,
            timer_c: self.timer_c,
        });
        let (link, ends) = Link::new(LinkConfig {
            edge,
            coordinators: self.coordinators,
            workers: usize::from(workers),
            rules: self.rules,
            max_open: self.max_requests,
            policies,
            counters: Arc::clone(&counters),
            attached: readiness.latch("coordinator attached"),
            round_trip: export::round_trip(&meter),
        })?;
        let (idle, drain, stop) = (Arc::<IdleWorkers>::default(), CancellationToken::new(), CancellationToken::new());
        let (others, handovers): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(HANDOVERS)).unzip();
        if !streams.is_empty() {
            descriptors::raise(self.streams.max_connections);
        }
        let limits = (self.streams.max_connections, self.streams.connections_per_ip);
        let connections = Arc::new(Connections::new(limits.0, limits.1, Arc::clone(&counters)));
        let by_stream = streams.iter().fold(0, |bits, listener| bits | 1 << listener.index);
        let (to_workers, mut received): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(port::RECEIVED)).unzip();
        received.reverse();
        let streams = (!streams.is_empty()).then(|| Streams {
            listeners: streams,
            tls: self.streams.tls,
            connections: Arc::clone(&connections),
            workers: to_workers,
            patience: Patience { idle: self.streams.idle, message: self.streams.message },
            counters: Arc::clone(&counters),
        });
        let mut stream_port = || {
            let received = received.pop().filter(|_| by_stream != 0)?;
            Some(StreamPort { connections: Arc::clone(&connections), received, listeners: by_stream })
        };
        let mut peer_sockets = peer_sockets.into_iter();
        let listeners = endpoint.listeners.len();
        let parts = (0..workers).zip(sockets).zip(ends).zip(handovers);
        let workers = parts.map(|(((index, sockets), (port, inbox)), handovers)| WorkerParts {
            index,
            sockets,
            config: Arc::clone(&endpoint),
            port,
            inbox,
            handovers,
            others: others.clone(),
            streams: stream_port(),
            peers: endpoint.peers.clone().zip(peer_sockets.next()).map(|(peers, socket)| PeerParts { peers, socket, listeners }),
            counters: Arc::clone(&counters),
            spans: telemetry.spans(),
            receive_linger: self.receive_linger,
            idle: Arc::clone(&idle),
            drain: drain.clone(),
            stop: stop.clone(),
        });
        let workers = workers.collect();
        Ok(Edge {
            endpoint,
            link,
            workers,
            streams,
            users: self.users,
            resolver,
            peers: beats,
            listening: readiness.latch("listeners bound"),
            idle,
            drain,
            stop,
            drain_delay: self.drain_delay,
            grace: self.grace,
        })
    }
}

impl Edge {
    /// What was bound and what is advertised, in the order of the configuration.
    #[must_use]
    pub fn listeners(&self) -> &[Listener] {
        &self.endpoint.listeners
    }

    #[must_use]
    pub fn id(&self) -> &EdgeId {
        &self.endpoint.edge
    }

    /// Serves until `shutdown`, then drains: not ready, after the delay no new dialogs, until nothing is open, also no report to a
    /// coordinator, or the grace period is over.
    ///
    /// # Errors
    /// A worker could not start or ended by itself.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        // Whoever drops this future stops the workers too.
        let _stop = self.stop.clone().drop_guard();
        let count = self.workers.len();
        let mut tasks = JoinSet::new();
        tasks.spawn(self.link.run(self.stop.clone()));
        if let Some(users) = self.users {
            let stop = self.stop.clone();
            tasks.spawn(async move {
                stop.run_until_cancelled(users.follow()).await;
            });
        }
        if let (Some((resolver, found)), Some(front)) = (self.resolver, &self.endpoint.front) {
            let (stop, upstreams) = (self.stop.clone(), Arc::clone(&front.upstreams));
            tasks.spawn(async move {
                stop.run_until_cancelled(upstreams.follow(resolver, found)).await;
            });
        }
        let peers = self.endpoint.peers.clone();
        if let (Some(peers), Some((members, socket))) = (&peers, self.peers) {
            tasks.spawn(keep_beating(Arc::clone(peers), self.endpoint.secret, members, socket, self.stop.clone()));
        }
        let (ended, mut ends) = mpsc::channel(count.max(1));
        for parts in self.workers {
            start(parts, ended.clone())?;
        }
        drop(ended);
        let connections = self.streams.as_ref().map(|streams| Arc::clone(&streams.connections));
        let _serving = self.streams.map(|streams| streams.start(&self.drain)).transpose().map_err(RunError::Streams)?;
        self.listening.set(true);
        tokio::select! {
            () = shutdown.cancelled() => {}
            Some((index, outcome)) = ends.recv() => return Err(RunError::Worker(index, outcome.err().unwrap_or_else(|| "ended".into()))),
        }
        self.listening.set(false);
        tokio::time::sleep(self.drain_delay).await;
        if let Some(peers) = &peers {
            peers.drain(clock::instant());
        }
        self.drain.cancel();
        shutdown::drain("sip transactions", self.grace, self.idle.reach(count)).await;
        if let Some(connections) = connections {
            // Phones connect to another edge, and register there.
            connections.close();
            shutdown::drain("connections", HANG_UP, connections.closed()).await;
        }
        self.stop.cancel();
        while ends.recv().await.is_some() {}
        while tasks.join_next().await.is_some() {}
        Ok(())
    }
}

type Ended = (u8, Result<(), String>);

/// Starts a worker's thread; a panic in it is an outcome like another.
fn start(parts: WorkerParts, ended: mpsc::Sender<Ended>) -> Result<(), RunError> {
    let index = parts.index;
    let thread = std::thread::Builder::new().name(format!("sip-worker-{index}"));
    let body = move || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| worker::run(parts)));
        let outcome = match outcome {
            Ok(outcome) => outcome.map_err(|error| error.to_string()),
            Err(_) => Err("panicked".to_owned()),
        };
        // Full cannot be; closed means that nobody waits any more.
        let _ = ended.try_send((index, outcome));
    };
    thread.spawn(body).map(drop).map_err(|error| RunError::Start(index, error))
}

/// Listeners as bound.
struct Bound {
    listeners: Vec<Listener>,
    /// Of each worker, with the listener's index.
    sockets: Vec<Vec<(u8, UdpSocket)>>,
    streams: Vec<StreamListener>,
}

fn bind_all(listeners: &[ListenerConfig], workers: u8) -> Result<Bound, BuildError> {
    let pod_network = in_pod_network();
    let mut all = Bound { listeners: Vec::new(), sockets: (0..workers).map(|_| Vec::new()).collect(), streams: Vec::new() };
    for (index, listener) in (0..).zip(listeners) {
        let transport = listener.transport;
        let failed = |error| BuildError::Bind(ListenAddr { transport, addr: listener.bind }, error);
        let address = if transport.is_stream() {
            let socket = accept::bind(listener.bind).map_err(failed)?;
            let address = socket.local_addr().map_err(failed)?;
            all.streams.push(StreamListener { index, transport, socket });
            address
        } else {
            let shared = bind_shared(listener.bind, usize::from(workers)).map_err(failed)?;
            let address = shared.first().map_or(Ok(listener.bind), UdpSocket::local_addr).map_err(failed)?;
            all.sockets.iter_mut().zip(shared).for_each(|(worker, socket)| worker.push((index, socket)));
            address
        };
        let advertised = listener.advertised.map_or(address, |given| given.with_port_of(address));
        if let Some(why) = doubt(address, advertised, listener.advertised.is_some(), pod_network) {
            tracing::warn!(listener = %address, %advertised, "phones cannot reach the advertised address: {why}; set advertise or advertise-service");
        }
        all.listeners.push(Listener { transport, bound: address, advertised });
    }
    Ok(all)
}

fn cores() -> u8 {
    std::thread::available_parallelism().map_or(1, |cores| u8::try_from(cores.get()).unwrap_or(u8::MAX))
}
