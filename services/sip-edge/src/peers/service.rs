//! Peers that Kubernetes knows.

use redial_runtime::discovery::{Kubernetes, ServiceRef, Which};
use redial_runtime::settings::Problem;
use redial_runtime::telemetry::Metrics;

use crate::app::PeersConfig;

impl PeersConfig {
    /// Follows the pods of `service` in place of the list. Also those that are not ready: who is there is known by beats, and an edge that drains still owns
    /// transactions. An API server that is away leaves the members as they were.
    ///
    /// # Errors
    /// There is no cluster to ask.
    pub async fn follow(&mut self, service: &ServiceRef, metrics: &Metrics) -> Result<(), Problem> {
        let kubernetes = Kubernetes::infer().await.map_err(|error| Problem::new("peer-service", error.to_string()))?;
        self.members = kubernetes.members(service, Which::Listed, &metrics.meter("sip-edge")).members;
        Ok(())
    }
}
