//! The connection to a coordinator's Operator service.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use redial_proto::v1::operator_client::OperatorClient;
use tonic::transport::{Channel, Endpoint};

use crate::output::Format;

/// Options of every command that asks a coordinator.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// Coordinator to ask: the gRPC address of a redial-coordinator, or the control address of `redial standalone`
    #[arg(long, global = true, value_name = "URL", env = "REDIAL_COORDINATOR", default_value = "http://127.0.0.1:7070")]
    pub coordinator: String,
    /// How to print the answer
    #[arg(long, short, global = true, value_enum, default_value_t)]
    pub output: Format,
}

/// Longest wait for a connection, and for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

impl Target {
    pub async fn connect(&self) -> Result<OperatorClient<Channel>> {
        let endpoint = Endpoint::from_shared(self.coordinator.clone())
            .with_context(|| format!("{} is no URL", self.coordinator))?
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE);
        let channel = endpoint.connect().await.with_context(|| format!("no coordinator answers at {}", self.coordinator))?;
        Ok(OperatorClient::new(channel))
    }
}
