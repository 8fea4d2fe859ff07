//! One loop per core. It owns one endpoint and one socket per listener; nothing in it is shared but counters and what the edge remembers of bindings.
//!
//! A turn: wait until anything is ready, read both clocks once, feed the endpoint what came (each source bounded, so none starves the
//! others), then carry out its outbox. Under load, turns keep a distance ([`Pace`]).

use std::future::{Future, poll_fn};
use std::io;
use std::net::UdpSocket as StdSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use redial_core::link::{Failure, Order, Reply};
use redial_runtime::clock;
use redial_runtime::telemetry::Spans;
use sip_core::routing::EdgeTag;
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::counters::Counters;
use crate::endpoint::{Endpoint, EndpointConfig, Now, Outbox, Peer};
use crate::link::{LinkPort, WorkerInbox};
use crate::pace::Pace;
use crate::peers::port::{self, PeerParts, PeerPort};
use crate::transport::port::StreamPort;
use crate::transport::{BATCH, Received, UdpListener};

/// Datagrams that wait for one worker from the others.
pub(crate) const HANDOVERS: usize = 4096;
/// Most items taken from one queue in one turn.
const TURN: usize = 256;

/// A datagram that came to one worker and belongs to another one's transaction.
pub(crate) type Handover = (Peer, Vec<u8>);

/// When every worker has nothing left to do, a drain is over.
#[derive(Debug, Default)]
pub(crate) struct IdleWorkers {
    idle: AtomicUsize,
    changed: Notify,
}

impl IdleWorkers {
    /// Waits until `all` workers are idle at once.
    pub(crate) async fn reach(&self, all: usize) {
        loop {
            let changed = self.changed.notified();
            if self.idle.load(Ordering::Acquire) >= all {
                return;
            }
            changed.await;
        }
    }

    fn add(&self) {
        self.idle.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    fn remove(&self) {
        self.idle.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Everything a worker is given before its thread starts.
#[derive(Debug)]
pub(crate) struct WorkerParts {
    pub index: u8,
    /// One per UDP listener, with its index in the configuration.
    pub sockets: Vec<(u8, StdSocket)>,
    pub config: Arc<EndpointConfig>,
    pub port: LinkPort,
    pub inbox: WorkerInbox,
    pub handovers: Receiver<Handover>,
    /// To every worker's `handovers`, this one's included.
    pub others: Vec<Sender<Handover>>,
    /// None: no listener is for connections.
    pub streams: Option<StreamPort>,
    pub peers: Option<PeerParts>,
    pub counters: Arc<Counters>,
    pub spans: Spans,
    pub receive_linger: Duration,
    pub idle: Arc<IdleWorkers>,
    pub drain: CancellationToken,
    pub stop: CancellationToken,
}

/// Runs a worker on this thread until it is stopped.
///
/// # Errors
/// When its runtime cannot be built or a socket cannot be registered.
pub(crate) fn run(parts: WorkerParts) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move { Worker::new(parts)?.run().await })
}

struct Worker {
    index: u8,
    listeners: Vec<(u8, UdpListener)>,
    endpoint: Endpoint,
    port: LinkPort,
    inbox: WorkerInbox,
    handovers: Receiver<Handover>,
    others: Vec<Sender<Handover>>,
    streams: Option<StreamPort>,
    /// What found no connection, for the endpoint's next turn.
    unreachable: Vec<Handover>,
    peers: Option<PeerPort>,
    counters: Arc<Counters>,
    spans: Spans,
    /// Requests to coordinators without reply; a drain waits for them, so that what a recall came to is known.
    asked: usize,
    idle: Arc<IdleWorkers>,
    /// Counted in `idle`.
    reported_idle: bool,
    draining: bool,
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    timer: Pin<Box<Sleep>>,
    /// What `timer` will fire at; None when it has fired.
    armed: Option<Instant>,
    out: Outbox,
    received: Received,
    /// A socket holds more than the last turn took.
    behind: bool,
    pace: Pace,
    ready: Ready,
}

/// What the last wait found. Buffers are reused.
#[derive(Debug, Default)]
struct Ready {
    stop: bool,
    drain: bool,
    timer: bool,
    /// Bit per listener.
    readable: u64,
    writable: u64,
    /// As [`PeerPort::poll_ready`] says.
    peers: u8,
    replies: Vec<Vec<(u64, Reply)>>,
    orders: Vec<Order>,
    handovers: Vec<Handover>,
}

impl Worker {
    fn new(parts: WorkerParts) -> io::Result<Self> {
        Ok(Self {
            index: parts.index,
            listeners: parts.sockets.into_iter().map(|(i, socket)| Ok((i, UdpListener::new(socket)?))).collect::<io::Result<_>>()?,
            endpoint: Endpoint::new(parts.config, parts.index),
            port: parts.port,
            inbox: parts.inbox,
            handovers: parts.handovers,
            others: parts.others,
            streams: parts.streams,
            unreachable: Vec::new(),
            peers: parts.peers.map(PeerPort::new).transpose()?,
            counters: parts.counters,
            spans: parts.spans,
            asked: 0,
            idle: parts.idle,
            reported_idle: false,
            draining: false,
            drain: Box::pin(parts.drain.cancelled_owned()),
            stop: Box::pin(parts.stop.cancelled_owned()),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: None,
            out: Outbox::default(),
            received: Received::default(),
            behind: false,
            pace: Pace::new(clock::instant(), parts.receive_linger),
            ready: Ready::default(),
        })
    }

    async fn run(mut self) -> io::Result<()> {
        let now = clock::now();
        self.endpoint.start(Now { instant: now.instant, unix: now.unix });
        self.arm_timer();
        loop {
            poll_fn(|cx| self.poll_ready(cx)).await;
            if self.ready.stop {
                return Ok(());
            }
            let now = clock::now();
            let now = Now { instant: now.instant, unix: now.unix };
            self.feed(now);
            self.carry_out(now);
            self.arm_timer();
            self.report_idle();
            let pause = self.pace.pause(now.instant);
            if !self.behind && !pause.is_zero() {
                // The thread and not the task: in its runtime's wait, every datagram would wake the thread. Nobody else lives on it.
                std::thread::sleep(pause);
            }
        }
    }

    /// Gathers everything that is ready, so that one wake-up serves all sources.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let ready = &mut self.ready;
        ready.stop = self.stop.as_mut().poll(cx).is_ready();
        ready.drain = !self.draining && self.drain.as_mut().poll(cx).is_ready();
        ready.timer = self.armed.is_some() && self.timer.as_mut().poll(cx).is_ready();
        if ready.timer {
            self.armed = None;
        }
        ready.readable = 0;
        ready.writable = 0;
        for (i, listener) in &self.listeners {
            ready.readable |= u64::from(listener.poll_readable(cx).is_ready()) << i;
            ready.writable |= u64::from(listener.poll_backlog(cx).is_ready()) << i;
        }
        ready.peers = self.peers.as_ref().map_or(0, |peers| peers.poll_ready(cx));
        let mut any = ready.peers != 0 || ready.stop || ready.drain || ready.timer || ready.readable | ready.writable != 0;
        any |= matches!(self.inbox.replies.poll_recv_many(cx, &mut ready.replies, TURN), Poll::Ready(n) if n > 0);
        any |= matches!(self.inbox.orders.poll_recv_many(cx, &mut ready.orders, TURN), Poll::Ready(n) if n > 0);
        any |= matches!(self.handovers.poll_recv_many(cx, &mut ready.handovers, TURN), Poll::Ready(n) if n > 0);
        if let Some(streams) = &mut self.streams {
            any |= matches!(streams.received.poll_recv_many(cx, &mut ready.handovers, TURN), Poll::Ready(n) if n > 0);
            any |= !self.unreachable.is_empty();
        }
        if any { Poll::Ready(()) } else { Poll::Pending }
    }

    fn feed(&mut self, now: Now) {
        if self.ready.drain {
            self.draining = true;
            self.endpoint.drain();
        }
        for replies in self.ready.replies.drain(..) {
            self.port.taken(replies.len());
            self.asked = self.asked.saturating_sub(replies.len());
            for (id, reply) in replies {
                self.endpoint.on_reply(now, id, reply, &mut self.out);
            }
        }
        for order in self.ready.orders.drain(..) {
            self.endpoint.on_order(now, order, &mut self.out);
        }
        for (to, bytes) in self.unreachable.drain(..) {
            self.endpoint.on_unreachable(now, to, &bytes, &mut self.out);
        }
        for (from, bytes) in self.ready.handovers.drain(..) {
            self.endpoint.on_datagram(now, from, &bytes, &mut self.out);
        }
        self.behind = false;
        for (i, listener) in self.listeners.iter().filter(|(i, _)| self.ready.readable >> i & 1 == 1) {
            listener.receive(&mut self.received, &self.counters.sip);
            self.behind |= self.received.count() == BATCH;
            for (addr, bytes) in self.received.datagrams() {
                self.endpoint.on_datagram(now, Peer { edge: EdgeTag::HERE, listener: *i, addr }, bytes, &mut self.out);
            }
        }
        if let Some(peers) = self.peers.as_ref().filter(|_| self.ready.peers & port::READABLE != 0) {
            self.behind |= peers.receive(now, &mut self.received, &self.counters.peers, &mut self.endpoint, &mut self.out);
        }
        if self.endpoint.next_timer().is_some_and(|at| at <= now.instant) {
            self.endpoint.on_timer(now, &mut self.out);
        }
    }

    fn carry_out(&mut self, now: Now) {
        let asks = self.out.requests.len();
        self.port.submit(&mut self.out.requests);
        self.asked += asks - self.out.requests.len();
        // The link takes no more: the endpoint hears at once. What that makes it ask waits for the next turn.
        let refused = std::mem::take(&mut self.out.requests);
        for request in refused {
            self.endpoint.on_reply(now, request.id, Reply::Failed(Failure::Overloaded), &mut self.out);
        }
        // First, because what is for the phones of an edge that has gone leaves from here.
        if let Some(peers) = &mut self.peers {
            peers.send(self.ready.peers & port::WRITABLE != 0, &mut self.out, &self.counters.peers);
        }
        if let Some(streams) = &self.streams {
            streams.send(&self.out, &mut self.unreachable);
        }
        for (i, listener) in &mut self.listeners {
            if self.ready.writable >> *i & 1 == 1 {
                listener.flush(&self.counters.sip);
            }
            let buffer = &self.out.buffer;
            let mine = self.out.transmits.iter().filter(|transmit| transmit.to.listener == *i);
            listener.send(mine.filter_map(|t| Some((t.to.addr, buffer.get(t.bytes.clone())?))), &self.counters.sip);
        }
        for (worker, from, bytes) in self.out.handover.drain(..) {
            let to = self.others.get(usize::from(worker)).filter(|_| worker != self.index);
            if to.is_none_or(|queue| queue.try_send((from, bytes)).is_err()) {
                self.counters.handovers_dropped.add(1);
            }
        }
        self.out.spans.drain(..).for_each(|span| self.spans.export(span));
        let waiting = std::mem::take(&mut self.out.requests);
        self.out.clear();
        self.out.requests = waiting;
    }

    /// A timer that moved back is left armed: an early wake-up costs less than arming on every turn.
    fn arm_timer(&mut self) {
        let Some(at) = self.endpoint.next_timer() else { return };
        if self.armed.is_none_or(|armed| at < armed) {
            self.timer.as_mut().reset(at.into());
            self.armed = Some(at);
        }
    }

    fn report_idle(&mut self) {
        let idle = self.draining
            && self.asked == 0
            && self.out.requests.is_empty()
            && self.endpoint.is_idle()
            && self.listeners.iter().all(|(_, listener)| listener.is_flushed())
            && self.unreachable.is_empty();
        let idle = idle && self.peers.as_ref().is_none_or(PeerPort::is_flushed);
        if idle != self.reported_idle {
            self.reported_idle = idle;
            if idle { self.idle.add() } else { self.idle.remove() }
        }
    }
}
