//! From settings to a configuration: what one setting says about another.

use std::sync::Arc;
use std::time::Duration;

use redial_core::EdgeId;
use redial_runtime::discovery::fixed;
use redial_runtime::settings::Problem;

use super::{EdgeSettings, ListenAddr, Mode, SipSettings};
use crate::app::{Config, FrontConfig, ListenerConfig, PeersConfig};
use crate::endpoint::config::Transport;
use crate::link::{BatchRules, Coordinator};
use crate::secret;
use crate::upstream::{Front, Upstreams};
use crate::users_file::UsersFile;

/// Where a coordinator is that nobody named.
const COORDINATOR: &str = "http://127.0.0.1:7070";
/// Readiness bits of a worker's listeners are kept in one word.
const LISTENERS: usize = 64;
/// Nobody hears that a call took so much longer.
const RECEIVE_LINGER_MAX: Duration = Duration::from_millis(20);
/// RFC 3261 section 16.6 step 11.
const TIMER_C_OVER: Duration = Duration::from_secs(180);

impl EdgeSettings {
    /// The configuration of an edge that talks to remote coordinators. Those of a service, and an address that is a service's, are put in
    /// when Kubernetes has been asked.
    ///
    /// # Errors
    /// Every problem there is.
    pub fn config(mut self) -> Result<Config, Vec<Problem>> {
        let mut problems = Vec::new();
        let peers = self.peers(&mut problems);
        if self.coordinator_service.is_some() && !self.coordinator.is_empty() {
            problems.push(Problem::new("coordinator-service", "cannot be combined with coordinator: give the one or the other"));
        }
        if self.advertise_service.is_some() && !self.sip.advertise.is_empty() {
            problems.push(Problem::new("advertise-service", "cannot be combined with advertise: give the one or the other"));
        }
        if self.coordinator_service.is_none() && self.coordinator.is_empty() {
            self.coordinator.push(COORDINATOR.to_owned());
        }
        let coordinators = self.coordinator.into_iter().map(Coordinator::Url).collect();
        match self.sip.checked(coordinators, self.advertise_service.is_some()) {
            Ok(config) if problems.is_empty() => Ok(Config { grace: self.grace, drain_delay: self.drain_delay, peers, ..config }),
            Ok(_) => Err(problems),
            Err(more) => Err([problems, more].concat()),
        }
    }

    fn peers(&self, problems: &mut Vec<Problem>) -> Option<PeersConfig> {
        let mut problem = |key: &str, text: &str| problems.push(Problem::new(key, text));
        let Some(listen) = self.peer_listen else {
            let given = [("peer", !self.peer.is_empty()), ("peer-service", self.peer_service.is_some())];
            for (key, _) in given.into_iter().filter(|(_, given)| *given) {
                problem(key, "needs peer-listen: the others pass datagrams to this edge, too");
            }
            return None;
        };
        match (self.peer.is_empty(), &self.peer_service) {
            (true, None) => problem("peer-listen", "needs to know the other edges: --peer NAME=ADDR or --peer-service NAME:PORT"),
            (false, Some(_)) => problem("peer-service", "cannot be combined with peer: give the one or the other"),
            _ => {}
        }
        if self.peer_service.is_some() && self.sip.edge_id.is_none() {
            problem("peer-service", "needs --edge-id: the pod's name, by which the others know this edge");
        }
        if self.sip.secret_file.is_none() {
            problem("peer-listen", "needs --secret-file: edges believe each other by the secret that they share");
        }
        for (i, peer) in self.peer.iter().enumerate() {
            if self.peer[..i].iter().any(|earlier| earlier.name == peer.name) {
                problem("peer", &format!("`{}` is given twice", peer.name));
            }
        }
        Some(PeersConfig { listen, members: fixed(self.peer.clone()) })
    }
}

impl SipSettings {
    /// The configuration of an edge with these coordinators. Reads the users and secret files.
    ///
    /// # Errors
    /// Every problem there is.
    pub fn config(self, coordinators: Vec<Coordinator>) -> Result<Config, Vec<Problem>> {
        self.checked(coordinators, false)
    }

    /// `advertised_later`: what phones reach is found out before the edge is built.
    fn checked(self, coordinators: Vec<Coordinator>, advertised_later: bool) -> Result<Config, Vec<Problem>> {
        let mut problems = Vec::new();
        let listeners = self.listeners(advertised_later, &mut problems);
        let front = self.front(&mut problems);
        let streams = self.streams.checked(&self.listen, &mut problems);
        if front.is_some() && !self.listen.iter().any(|listen| listen.transport == Transport::Udp) {
            problems.push(Problem::new("listen", "mode front needs a udp listener: the servers upstream are reached by UDP"));
        }
        let domains = self.domains(front.as_ref(), &mut problems);
        self.times(&mut problems);
        if self.mode == Mode::Registrar
            && !self.open
            && self.users.is_none()
            && self.listen.iter().any(|listen| !listen.addr.ip().is_loopback())
        {
            let text = "without a users file only loopback is served, because anybody could register anything; give --users FILE, or --open to serve anybody";
            problems.push(Problem::new("users", text));
        }
        if self.edge_id.as_ref().is_some_and(|name| name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic())) {
            problems.push(Problem::new("edge-id", "must be visible ASCII without spaces"));
        }
        let users = self.users.as_ref().and_then(|path| {
            UsersFile::open(path).map_err(|error| problems.push(Problem::new("users", format!("{}: {error}", path.display())))).ok()
        });
        let secret = match &self.secret_file {
            Some(path) => secret::from_file(path).map_err(|error| format!("{}: {error}", path.display())),
            None => secret::random().map_err(|error| format!("no random bytes: {error}")),
        };
        let secret = secret.map_err(|text| problems.push(Problem::new("secret-file", text))).ok();
        let edge = self.edge();
        match secret {
            Some(secret) if problems.is_empty() => Ok(Config {
                listeners,
                streams,
                domains,
                users,
                secret,
                secret_is_shared: self.secret_file.is_some(),
                workers: self.workers,
                edge,
                front,
                peers: None,
                coordinators,
                rules: BatchRules { linger: self.batch_linger, ..BatchRules::default() },
                receive_linger: self.receive_linger,
                max_requests: self.max_requests as usize,
                register_min: self.register_min,
                register_max: self.register_max,
                register_default: self.register_default,
                coordinator_timeout: self.coordinator_timeout,
                max_transactions: self.max_transactions as usize,
                max_known: self.max_known as usize,
                timer_c: self.timer_c,
                grace: crate::app::GRACE,
                drain_delay: Duration::ZERO,
            }),
            _ => Err(problems),
        }
    }

    /// The name of this edge. Without a given one, host name and first port: unique and, unlike a process id, the same after a restart,
    /// so that bindings which came by this edge are still reached. Port 0 has only the process id.
    #[must_use]
    pub fn edge(&self) -> EdgeId {
        if let Some(name) = &self.edge_id {
            return EdgeId::new(name.as_str());
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = if host.trim().is_empty() { "edge" } else { host.trim() };
        match self.listen.first().map_or(0, |listen| listen.addr.port()) {
            0 => EdgeId::new(format!("{host}-{}", std::process::id())),
            port => EdgeId::new(format!("{host}:{port}")),
        }
    }

    fn listeners(&self, advertised_later: bool, problems: &mut Vec<Problem>) -> Vec<ListenerConfig> {
        let (listen, advertise) = (&self.listen, &self.advertise);
        let mut problem = |text: String| problems.push(Problem::new("advertise", text));
        if advertise.len() > 1 && advertise.len() != listen.len() {
            problem(format!("{} addresses for {} listeners; give one for all or one for each", advertise.len(), listen.len()));
            return Vec::new();
        }
        if let ([super::Advertised::Full(addr)], true) = (advertise.as_slice(), listen.len() > 1) {
            problem(format!("{addr} has a port but there are {} listeners; leave the port out or give one address for each", listen.len()));
        }
        let mut listeners = Vec::new();
        for (i, listen) in listen.iter().enumerate() {
            let advertised = if advertise.len() == 1 { advertise.first() } else { advertise.get(i) };
            match advertised {
                None if listen.addr.ip().is_unspecified() && !advertised_later => {
                    problem(format!("{listen} listens on every address; say which one phones reach"));
                }
                Some(given) if given.ip().is_unspecified() => problem(format!("phones cannot reach {}", given.ip())),
                Some(given) if given.ip().is_ipv4() != listen.addr.is_ipv4() => {
                    problem(format!("{} is of another IP version than {listen}", given.ip()));
                }
                _ => {}
            }
            listeners.push(ListenerConfig { transport: listen.transport, bind: listen.addr, advertised: advertised.copied() });
        }
        self.doubled(problems);
        listeners
    }

    fn doubled(&self, problems: &mut Vec<Problem>) {
        for (i, listen) in self.listen.iter().enumerate() {
            let same = |other: &ListenAddr| other.addr == listen.addr && other.transport.is_stream() == listen.transport.is_stream();
            if listen.addr.port() != 0 && self.listen[..i].iter().any(same) {
                problems.push(Problem::new("listen", format!("{listen} is taken by another listener")));
            }
        }
        if self.listen.len() > LISTENERS {
            problems.push(Problem::new("listen", format!("{} listeners; at most {LISTENERS} are served", self.listen.len())));
        }
    }

    /// None: this edge is the registrar itself.
    fn front(&self, problems: &mut Vec<Problem>) -> Option<FrontConfig> {
        let mut problem = |key: &str, text: &str| problems.push(Problem::new(key, text));
        if self.mode == Mode::Registrar {
            if !self.upstream.is_empty() {
                problem("upstream", "needs --mode front: a registrar has no servers behind it");
            }
            return None;
        }
        if self.upstream.is_empty() {
            problem("upstream", "at least one is required with --mode front, as DOMAIN=SERVER");
        }
        if self.users.is_some() {
            problem("users", "cannot be combined with --mode front: the servers upstream know the users and ask for their passwords");
        }
        if self.upstream_check.is_zero() {
            problem("upstream-check", "must be longer than 0s");
        }
        if self.upstream_timeout.is_zero() {
            problem("upstream-timeout", "must be longer than 0s");
        }
        let upstreams = Arc::new(Upstreams::new(&self.upstream));
        let front = Front { upstreams, way: self.upstream_path, check: self.upstream_check, timeout: self.upstream_timeout };
        Some(FrontConfig { front, dns: self.dns })
    }

    fn domains(&self, front: Option<&FrontConfig>, problems: &mut Vec<Problem>) -> Vec<String> {
        if let Some(FrontConfig { front, .. }) = front {
            let served: Vec<String> = front.upstreams.domains().map(str::to_owned).collect();
            for domain in self.domain.iter().filter(|domain| !served.contains(&domain.trim_end_matches('.').to_ascii_lowercase())) {
                problems.push(Problem::new("domain", format!("`{domain}` has no server: give one as --upstream {domain}=SERVER")));
            }
            return served;
        }
        if self.domain.is_empty() {
            problems.push(Problem::new("domain", "at least one is required: --domain or REDIAL_DOMAIN"));
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
        for domain in self.domain.iter().filter(|domain| domain.is_empty() || !domain.bytes().all(allowed)) {
            problems.push(Problem::new("domain", format!("`{domain}` is no host name or IP address")));
        }
        self.domain.iter().map(|domain| domain.trim_end_matches('.').to_ascii_lowercase()).collect()
    }

    fn times(&self, problems: &mut Vec<Problem>) {
        let mut problem = |key: &str, text: &str| problems.push(Problem::new(key, text));
        if self.register_min > self.register_max {
            problem("register-min", "is longer than register-max");
        }
        if !(self.register_min..=self.register_max).contains(&self.register_default) && self.register_min <= self.register_max {
            problem("register-default", "is not between register-min and register-max");
        }
        if self.register_max > Duration::from_secs(u64::from(u32::MAX)) {
            problem("register-max", "is longer than an Expires header can say");
        }
        if self.coordinator_timeout.is_zero() {
            problem("coordinator-timeout", "must be longer than 0s");
        }
        if self.batch_linger >= self.coordinator_timeout && !self.coordinator_timeout.is_zero() {
            problem("batch-linger", "must be shorter than coordinator-timeout");
        }
        if self.receive_linger > RECEIVE_LINGER_MAX {
            problem("receive-linger", "must not be longer than 20ms");
        }
        if self.timer_c <= TIMER_C_OVER {
            problem("timer-c", "must be longer than 3 minutes");
        }
    }
}
