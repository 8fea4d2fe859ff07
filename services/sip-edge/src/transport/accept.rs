//! Listeners for connections. They have threads of their own, so that neither a worker nor the link waits for a handshake.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use sip_core::routing::EdgeTag;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::Sender;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::connections::{Connection, Connections};
use super::stream::{Patience, serve};
use super::tls::TlsFiles;
use crate::counters::{Closed, Counters};
use crate::endpoint::Peer;
use crate::endpoint::config::Transport;
use crate::worker::Handover;

/// Connections that the kernel completes while the accepting task is busy: phones of an edge that was restarted come all at once.
const BACKLOG: i32 = 4096;
/// After an error of accept (no file descriptor is left), which comes again at once.
const PAUSE: Duration = Duration::from_millis(100);
/// The kernel asks a silent phone whether it is there: keeps a NAT's mapping, and finds a lost phone in two minutes at no cost in SIP.
const KEEP_ALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15)).with_retries(4);
/// What was sent is not acknowledged: the phone is lost.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Binds a listener for connections; nothing is accepted yet.
///
/// # Errors
/// When the address is in use or cannot be bound.
pub(crate) fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of the process before this one may still be closing.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// One bound listener for connections.
#[derive(Debug)]
pub(crate) struct StreamListener {
    pub(crate) index: u8,
    pub(crate) transport: Transport,
    pub(crate) socket: StdListener,
}

/// All of them, and what serves them.
pub(crate) struct Streams {
    pub(crate) listeners: Vec<StreamListener>,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) connections: Arc<Connections>,
    /// To each worker.
    pub(crate) workers: Vec<Sender<Handover>>,
    pub(crate) patience: Patience,
    pub(crate) counters: Arc<Counters>,
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

/// The threads of connections. Dropping it ends them all.
#[derive(Debug)]
pub(crate) struct Serving(Option<Runtime>);

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Dropping a runtime would wait, which is not allowed where this is dropped.
            runtime.shutdown_background();
        }
    }
}

/// What each connection is served with.
#[derive(Clone)]
struct Service {
    connections: Arc<Connections>,
    workers: Arc<[Sender<Handover>]>,
    patience: Patience,
    counters: Arc<Counters>,
    tls: Option<Arc<ArcSwap<ServerConfig>>>,
}

impl Streams {
    /// Accepts until `drain`, which closes the listeners and leaves the connections.
    ///
    /// # Errors
    /// When there are no threads for it.
    pub(crate) fn start(self, drain: &CancellationToken) -> io::Result<Serving> {
        let runtime = Builder::new_multi_thread().worker_threads(self.workers.len()).thread_name("sip-streams").enable_all().build()?;
        let service = Service {
            connections: self.connections,
            workers: self.workers.into(),
            patience: self.patience,
            counters: Arc::clone(&self.counters),
            tls: self.tls.as_ref().map(TlsFiles::config),
        };
        let _inside = runtime.enter();
        for StreamListener { index, transport, socket } in self.listeners {
            let listener = TcpListener::from_std(socket)?;
            runtime.spawn(drain.clone().run_until_cancelled_owned(accept(listener, index, transport, service.clone())));
        }
        if let Some(files) = self.tls {
            runtime.spawn(files.follow(self.counters));
        }
        Ok(Serving(Some(runtime)))
    }
}

async fn accept(listener: TcpListener, index: u8, transport: Transport, service: Service) {
    let mut said = false;
    loop {
        let (stream, addr) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                service.counters.streams.accept_errors.add(1);
                if !std::mem::replace(&mut said, true) {
                    tracing::error!(%error, "connections cannot be accepted, trying again");
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        said = false;
        let Some(connection) = service.connections.admit(index, transport, addr) else { continue };
        let peer = Peer { edge: EdgeTag::HERE, listener: index, addr };
        tokio::spawn(run(stream, peer, transport, connection, service.clone()));
    }
}

async fn run(stream: TcpStream, peer: Peer, transport: Transport, connection: Connection, service: Service) {
    let counters = &service.counters.streams;
    let socket = SockRef::from(&stream);
    // Without them the connection works as well, and is found dead later.
    let _ = socket.set_tcp_keepalive(&KEEP_ALIVE).and_then(|()| socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED)));
    let _ = stream.set_nodelay(true);
    let Some(worker) = service.workers.get(connection.worker(service.workers.len())) else { return };
    let why = match service.tls.as_ref().filter(|_| transport == Transport::Tls) {
        None => serve(stream, peer, connection, worker, service.patience).await,
        Some(config) => {
            let handshake = TlsAcceptor::from(config.load_full()).accept(stream);
            match tokio::time::timeout(service.patience.message, handshake).await {
                Ok(Ok(stream)) => serve(stream, peer, connection, worker, service.patience).await,
                failed => {
                    counters.handshakes_failed.add(1);
                    let why =
                        failed.map_or_else(|_| "timed out".to_owned(), |failed| failed.err().map_or_else(String::new, |e| e.to_string()));
                    tracing::debug!(phone = %peer.addr, why, "tls handshake failed");
                    Closed::Handshake
                }
            }
        }
    };
    counters.closed[why as usize].add(1);
    tracing::debug!(phone = %peer.addr, why = why.word(), "connection closed");
}
