//! Edges, coordinators and one Redis.

use anyhow::{Context as _, Result, ensure};

use crate::process::Scratch;
use crate::wait::PATIENCE;
use crate::{Coordinator, DOMAIN, Edge, Policy, Redis, until};

/// The clustered deployment on one machine.
#[derive(Debug)]
pub struct Cluster {
    pub redis: Redis,
    pub coordinators: Vec<Coordinator>,
    pub edges: Vec<Edge>,
    _secret: Scratch,
}

impl Cluster {
    /// Every edge is attached to every coordinator.
    /// # Errors
    /// When a part does not become ready.
    pub fn start(coordinators: usize, edges: usize, policy: &Policy) -> Result<Self> {
        Self::start_with(coordinators, edges, policy, &[])
    }

    /// With more options of the edges.
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_with(coordinators: usize, edges: usize, policy: &Policy, more: &[&str]) -> Result<Self> {
        Self::with(Redis::start()?, coordinators, edges, policy, more)
    }

    /// On a Redis of the test's own making.
    /// # Errors
    /// As [`Cluster::start`].
    pub fn on(redis: Redis, coordinators: usize, edges: usize, policy: &Policy) -> Result<Self> {
        Self::with(redis, coordinators, edges, policy, &[])
    }

    /// With these options of every process.
    /// # Errors
    /// As [`Cluster::start`].
    pub fn with_all(coordinators: usize, edges: usize, policy: &Policy, all: &[&str]) -> Result<Self> {
        Self::build(Redis::start()?, coordinators, edges, policy, (all, all))
    }

    fn with(redis: Redis, coordinators: usize, edges: usize, policy: &Policy, more: &[&str]) -> Result<Self> {
        Self::build(redis, coordinators, edges, policy, (&[], more))
    }

    fn build(
        redis: Redis,
        coordinators: usize,
        edges: usize,
        policy: &Policy,
        (of_coordinators, more): (&[&str], &[&str]),
    ) -> Result<Self> {
        let start = |_| Coordinator::start(&redis, policy, of_coordinators);
        let coordinators = (0..coordinators).map(start).collect::<Result<Vec<_>>>()?;
        let secret = Scratch::new("secret")?;
        let file = secret.file("secret", "what the edges of a test know and nobody else")?;
        let options: Vec<&str> = ["--secret-file", &file].into_iter().chain(more.iter().copied()).collect();
        let edge = |_| Edge::start(&coordinators.iter().collect::<Vec<_>>(), &options);
        let edges = (0..edges).map(edge).collect::<Result<_>>()?;
        Ok(Self { redis, coordinators, edges, _secret: secret })
    }

    /// An edge that stands before the first one, as before somebody else's registrar.
    /// # Errors
    /// When it does not become ready.
    pub fn front(&self) -> Result<Edge> {
        let server = self.edges.first().context("no edge to stand before")?.sip;
        let upstream = format!("--upstream={DOMAIN}={server}");
        Edge::start(&self.coordinators.iter().collect::<Vec<_>>(), &["--mode=front", &upstream])
    }

    /// Sum over all coordinators that answer.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.coordinators.iter().filter_map(|c| c.service.metrics().ok()).map(|m| m.sum(name, labels)).sum()
    }

    /// # Errors
    /// When that many watches do not end for that reason, or more do.
    pub fn wait_ended(&self, reason: &str, count: u32) -> Result<()> {
        let ended = || self.sum("redial_watches_ended_total", &[("reason", reason)]);
        until(&format!("{count} watches {reason}"), PATIENCE, || Ok((ended() >= f64::from(count)).then_some(())))?;
        ensure!(ended() == f64::from(count), "{} watches {reason}, not {count}", ended());
        Ok(())
    }

    /// Recalls ordered by the coordinators that answer.
    #[must_use]
    pub fn recalls(&self) -> f64 {
        self.sum("redial_recalls_total", &[("result", "ordered")])
    }

    /// # Errors
    /// When watches leave anything behind in Redis: a record, a queue, a due entry, a turn.
    pub fn wait_no_watch_keys(&self) -> Result<()> {
        let left = || self.redis.watch_keys();
        until("no key of a watch in Redis", PATIENCE, || Ok(left()?.is_empty().then_some(())))
            .with_context(|| format!("left: {:?}", left()))
    }
}
