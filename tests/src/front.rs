//! Edges before existing servers.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use sip_core::message::Header;

use crate::kamailio::{self, Kamailio, user};
use crate::wait::PATIENCE;
use crate::{Cluster, Policy, until};

/// Servers, and edges before them.
#[derive(Debug)]
pub struct Site {
    pub cluster: Cluster,
    pub servers: Vec<Kamailio>,
}

impl Site {
    /// `more` are options of the edges.
    /// # Errors
    /// When a part does not become ready.
    pub fn start(servers: usize, edges: usize, defines: &[&str], more: &[&str]) -> Result<Self> {
        Self::with(servers, edges, defines, &Policy::default(), more)
    }

    /// # Errors
    /// As [`Site::start`].
    pub fn with(servers: usize, edges: usize, defines: &[&str], policy: &Policy, more: &[&str]) -> Result<Self> {
        let servers = (0..servers).map(|_| Kamailio::start(defines)).collect::<Result<Vec<_>>>()?;
        Self::before(servers, edges, policy, more)
    }

    /// # Errors
    /// As [`Site::start`].
    pub fn before(servers: Vec<Kamailio>, edges: usize, policy: &Policy, more: &[&str]) -> Result<Self> {
        let options = kamailio::before(&servers);
        let options: Vec<&str> = options.iter().map(String::as_str).chain(more.iter().copied()).collect();
        Ok(Self { cluster: Cluster::start_with(1, edges, policy, &options)?, servers })
    }

    /// Where the phones of an edge send to.
    #[must_use]
    pub fn edge(&self, n: usize) -> SocketAddr {
        self.cluster.edges[n].sip
    }

    /// A miss, a return, a recall, a call. `status` is the server's own word for who is away.
    /// # Errors
    /// When anybody sees something else.
    pub fn story(&self, [caller, callee]: [&str; 2], edges: [usize; 2], status: u16) -> Result<()> {
        let (mut alice, mut bob) = (user(caller, self.edge(edges[0]))?, user(callee, self.edge(edges[1]))?);
        alice.register(600)?;
        let missed = alice.invite(callee, "Redial-Period: 600\r\n")?;
        ensure!((missed.status(), missed.is_remembered()) == (status, true), "{caller} missed {callee}: {}", missed.status());
        let period = missed.answer.message().fields_named("Redial-Period").map(|v| String::from_utf8_lossy(v).into_owned()).next();
        ensure!(period.as_deref() == Some("600") && missed.answer.header(Header::Expires) == "600", "{period:?}");
        ensure!(self.watched()? == 1.0);
        bob.register(600)?;
        let refer = alice.expect("REFER")?;
        alice.reconnect(&refer, &mut bob)?;
        bob.register(0)?;
        alice.register(0)
    }

    /// Watches that are armed and have not ended.
    /// # Errors
    /// When the coordinator does not answer.
    pub fn watched(&self) -> Result<f64> {
        let service = &self.cluster.coordinators[0].service;
        Ok(service.armed()? - service.ended()?)
    }

    /// So many watches have ended as connected, no other is there, and none has left anything behind.
    /// # Errors
    /// When that is not so.
    pub fn over(&self, connected: u32) -> Result<()> {
        self.cluster.wait_ended("connected", connected)?;
        ensure!(self.watched()? == 0.0);
        self.cluster.wait_no_watch_keys()
    }
}

/// Waits until the cluster's first edge takes a server for one that answers, or for one that does not.
/// # Errors
/// When it does not come to that.
pub fn wait_up(cluster: &Cluster, server: SocketAddr, up: bool) -> Result<()> {
    let server = server.to_string();
    until(&format!("{server} to be seen as up: {up}"), PATIENCE, || {
        let seen = cluster.edges[0].service.metrics()?.sum("sip_upstream_up", &[("upstream", &server)]);
        Ok(((seen == 1.0) == up).then_some(()))
    })
}
