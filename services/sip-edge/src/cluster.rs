//! What an edge asks Kubernetes before it is built: who the coordinators are, and what phones reach it by.

use std::time::Duration;

use redial_runtime::admin::Readiness;
use redial_runtime::discovery::{Kubernetes, ServiceName, ServiceRef, Which};
use redial_runtime::settings::Problem;
use redial_runtime::telemetry::Metrics;
use tokio_util::sync::CancellationToken;

use crate::app::Config;
use crate::link::Coordinator;
use crate::reach::{advertise_service, turn};
use crate::settings::EdgeSettings;

/// From the end of an edge's process to its next one being ready.
const BACK: Duration = Duration::from_secs(10);

/// The services that the settings name. Neither given: nothing is asked, and no cluster is needed.
#[derive(Debug)]
pub struct Cluster {
    kubernetes: Option<Kubernetes>,
    coordinators: Option<ServiceRef>,
    exposed: Option<ServiceName>,
}

impl Cluster {
    /// # Errors
    /// A service is named and there is no cluster to ask.
    pub async fn of(settings: &EdgeSettings) -> Result<Self, Problem> {
        let (coordinators, exposed) = (settings.coordinator_service.clone(), settings.advertise_service.clone());
        let key = match (&coordinators, &exposed) {
            (None, None) => return Ok(Self { kubernetes: None, coordinators, exposed }),
            (Some(_), _) => "coordinator-service",
            (None, Some(_)) => "advertise-service",
        };
        let kubernetes = Kubernetes::infer().await.map_err(|error| Problem::new(key, error.to_string()))?;
        Ok(Self { kubernetes: Some(kubernetes), coordinators, exposed })
    }

    /// Puts into `config` what is asked for. Waits for an address to advertise for as long as there is none, not ready meanwhile; an API
    /// server that does not answer yet is no reason to wait for coordinators. When the address changes later, `stop` is cancelled.
    pub async fn fill(&self, config: &mut Config, metrics: &Metrics, readiness: &Readiness, stop: &CancellationToken) {
        let Some(kubernetes) = &self.kubernetes else { return };
        if let Some(service) = &self.coordinators {
            let found = kubernetes.members(service, Which::Ready, &metrics.meter("sip-edge"));
            config.coordinators.push(Coordinator::Members(found.members));
        }
        if let Some(service) = &self.exposed {
            let latch = readiness.latch("advertised address");
            let moved = CancellationToken::new();
            advertise_service(kubernetes, service, &mut config.listeners, moved.clone()).await;
            latch.set(true);
            let (edge, round, stop) = (config.edge.clone(), config.drain_delay + config.grace + BACK, stop.clone());
            let members = config.peers.as_ref().map(|peers| peers.members.clone());
            tokio::spawn(async move {
                moved.cancelled().await;
                let wait = members.map_or(Duration::ZERO, |members| turn(&members.borrow(), edge.as_str(), round));
                tokio::time::sleep(wait).await;
                stop.cancel();
            });
        }
    }
}
