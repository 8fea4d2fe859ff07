//! Drives an endpoint with datagrams, coordinator answers and a clock that only the test moves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redial_core::link::{Event, Reply, Request};
use redial_core::{EdgeId, UnixMillis};
use sip_core::MessageBuf;
use sip_core::routing::EdgeTag;

use super::config::{Listener, Transport};
use super::{Endpoint, EndpointConfig, Known, Now, Outbox, Peer, fixture};

/// An edge `edge` for example.com at 192.0.2.1:5060 and [2001:db8::1]:5060, open to everybody.
pub(crate) fn config() -> EndpointConfig {
    config_with(None)
}

/// The same with a users file.
pub(crate) fn config_with(users: Option<&str>) -> EndpointConfig {
    let listener = |addr: &str| Listener { transport: Transport::Udp, bound: addr.parse().unwrap(), advertised: addr.parse().unwrap() };
    let listeners = vec![listener("192.0.2.1:5060"), listener("[2001:db8::1]:5060")];
    EndpointConfig { edge: EdgeId::new("edge"), listeners, known: Arc::new(Known::new(100)), ..fixture::config(users) }
}

/// One sent datagram.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) to: SocketAddr,
    pub(crate) text: String,
    pub(crate) message: MessageBuf,
}

impl Sent {
    pub(crate) fn status(&self) -> u16 {
        self.message.view().status().unwrap_or(0)
    }

    pub(crate) fn method(&self) -> String {
        self.message.view().method().as_str().to_owned()
    }

    /// The first header line of that name, without it.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    pub(crate) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let name = name.to_owned();
        self.text.lines().filter_map(move |line| line.split_once(':').filter(|(n, _)| n.eq_ignore_ascii_case(&name)).map(|(_, v)| v.trim()))
    }

    /// A response to this request as a phone gives it.
    pub(crate) fn response(&self, code: u16, extra: &str) -> String {
        let mut text = format!("SIP/2.0 {code} Whatever\r\n");
        for name in ["Via", "Record-Route", "From"] {
            for value in self.headers(name) {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        let to = self.header("To").unwrap();
        let tag = if to.contains("tag=") { "" } else { ";tag=phone" };
        let (call_id, cseq) = (self.header("Call-ID").unwrap(), self.header("CSeq").unwrap());
        text.push_str(&format!("To: {to}{tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n{extra}Content-Length: 0\r\n\r\n"));
        text
    }
}

pub(crate) struct Driver {
    pub(crate) endpoint: Endpoint,
    pub(crate) config: Arc<EndpointConfig>,
    start: Instant,
    elapsed: Duration,
    out: Outbox,
    pub(crate) requests: Vec<Request>,
    /// For other edges, unsigned.
    pub(crate) passed: Vec<(EdgeTag, Vec<u8>)>,
}

impl Driver {
    pub(crate) fn new(config: EndpointConfig) -> Self {
        Self::worker(Arc::new(config), 3)
    }

    /// Another worker of the same edge.
    pub(crate) fn worker(config: Arc<EndpointConfig>, worker: u8) -> Self {
        let start = fixture::start();
        let endpoint = Endpoint::new(Arc::clone(&config), worker);
        Self { endpoint, config, start, elapsed: Duration::ZERO, out: Outbox::default(), requests: Vec::new(), passed: Vec::new() }
    }

    pub(crate) fn now(&self) -> Now {
        let unix = UnixMillis(1_700_000_000_000).after(self.elapsed);
        Now { instant: self.start + self.elapsed, unix }
    }

    pub(crate) fn receive(&mut self, from: &str, text: &str) -> Vec<Sent> {
        self.receive_bytes(from, text.as_bytes())
    }

    pub(crate) fn receive_bytes(&mut self, from: &str, bytes: &[u8]) -> Vec<Sent> {
        let addr: SocketAddr = from.parse().unwrap();
        let peer = Peer { edge: EdgeTag::HERE, listener: u8::from(addr.is_ipv6()), addr };
        self.receive_from(peer, bytes)
    }

    /// What was to go there found no connection.
    pub(crate) fn unreachable(&mut self, to: Peer, text: &str) -> Vec<Sent> {
        self.endpoint.on_unreachable(self.now(), to, text.as_bytes(), &mut self.out);
        self.drain()
    }

    pub(crate) fn receive_from(&mut self, from: Peer, bytes: &[u8]) -> Vec<Sent> {
        self.endpoint.on_datagram(self.now(), from, bytes, &mut self.out);
        self.drain()
    }

    /// Answers the oldest question to the coordinator.
    pub(crate) fn reply(&mut self, reply: Reply) -> Vec<Sent> {
        let request = self.requests.remove(0);
        self.endpoint.on_reply(self.now(), request.id, reply, &mut self.out);
        self.drain()
    }

    pub(crate) fn order(&mut self, order: redial_core::link::Order) -> Vec<Sent> {
        self.endpoint.on_order(self.now(), order, &mut self.out);
        self.drain()
    }

    /// Lets the time pass, timer by timer.
    pub(crate) fn pass(&mut self, time: Duration) -> Vec<Sent> {
        let end = self.elapsed + time;
        let mut sent = Vec::new();
        while let Some(at) = self.endpoint.next_timer().map(|at| at.saturating_duration_since(self.start)).filter(|at| *at <= end) {
            self.elapsed = self.elapsed.max(at);
            self.endpoint.on_timer(self.now(), &mut self.out);
            sent.extend(self.drain());
        }
        self.elapsed = end;
        sent
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.requests).into_iter().map(|r| r.event).collect()
    }

    pub(crate) fn handover(&mut self) -> Vec<(u8, Peer, Vec<u8>)> {
        std::mem::take(&mut self.out.handover)
    }

    /// Server and client transactions that are open.
    pub(crate) fn transactions(&self) -> (usize, usize) {
        (self.endpoint.core.servers.len(), self.endpoint.core.clients.len())
    }

    pub(crate) fn counted(&self, name: &str, label: &str) -> u64 {
        let matching = |s: &crate::metrics::Sample| s.name == name && (label.is_empty() || s.labels.iter().any(|(_, v)| v == label));
        self.config.metrics.samples().filter(matching).map(|s| s.value).sum()
    }

    fn drain(&mut self) -> Vec<Sent> {
        let buffer = std::mem::take(&mut self.out.buffer);
        self.requests.append(&mut self.out.requests);
        let passed = std::mem::take(&mut self.out.passed);
        self.passed.extend(passed.into_iter().map(|p| (p.edge, buffer[p.bytes].to_vec())));
        let transmits = std::mem::take(&mut self.out.transmits);
        transmits
            .into_iter()
            .filter_map(|t| {
                let bytes = buffer[t.bytes].to_vec();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                Some(Sent { to: t.to.addr, text, message: MessageBuf::parse(bytes).ok()? })
            })
            .collect()
    }
}
