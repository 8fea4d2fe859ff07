//! The election's Lease at the API server.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use opentelemetry::metrics::{Gauge, Meter};
use redial_runtime::clock;
use redial_runtime::discovery::chain;
use tokio::sync::watch;

use super::election::{Bid, DURATION, Election, RENEW, Seen};

/// One for the policies of a namespace, whoever follows them.
pub const NAME: &str = "redial-policy-status";

/// An answer that takes longer is not waited for: look, write and this fit into what a lease lasts.
const ANSWER: Duration = Duration::from_secs(3);

/// A candidate. Tells `leading` when it is the holder and when no longer.
pub struct Candidate {
    pub leases: Api<Lease>,
    pub election: Election,
    pub leading: watch::Sender<bool>,
    /// 1 while this replica writes statuses.
    pub gauge: Gauge<u64>,
}

impl Candidate {
    #[must_use]
    pub fn gauge(meter: &Meter) -> Gauge<u64> {
        let gauge = meter.u64_gauge("redial.policies.leader");
        gauge.with_description("1 on the replica that writes the statuses of RedialPolicies").build()
    }

    /// Stands for election until the caller stops polling.
    pub async fn run(&mut self) {
        let mut rounds = tokio::time::interval(RENEW);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut said = false;
        loop {
            rounds.tick().await;
            match tokio::time::timeout(2 * ANSWER, self.round()).await {
                Ok(Ok(())) => said = false,
                Ok(Err(error)) if !said => {
                    tracing::warn!(error = chain(&error), lease = NAME, "who writes the statuses of RedialPolicies is not settled");
                    said = true;
                }
                Err(_) if !said => {
                    tracing::warn!(lease = NAME, "who writes the statuses of RedialPolicies is not settled: no answer");
                    said = true;
                }
                Ok(Err(_)) | Err(_) => {}
            }
            self.tell();
        }
    }

    /// Gives the lease back, so that another replica need not wait for it to run out.
    pub async fn resign(&mut self) {
        if !self.election.leads(clock::instant()) {
            return;
        }
        self.election.lost();
        self.tell();
        let back = async {
            let mut lease = self.leases.get(NAME).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(self.election.me()) {
                spec.holder_identity = Some(String::new());
                self.leases.replace(NAME, &PostParams::default(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        // Without an answer it runs out by itself.
        _ = tokio::time::timeout(ANSWER, back).await;
    }

    async fn round(&mut self) -> Result<(), kube::Error> {
        let lease = self.leases.get_opt(NAME).await?;
        let bid = self.election.looked(clock::instant(), lease.as_ref().map(seen));
        let asked = clock::instant();
        let spec = match bid {
            Bid::Wait => return Ok(()),
            Bid::Create => self.spec(&LeaseSpec::default(), true),
            Bid::Renew | Bid::TakeOver => {
                let before = lease.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
                self.spec(&before, bid == Bid::TakeOver)
            }
        };
        let params = PostParams::default();
        let written = match lease {
            None => {
                let metadata = ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
                self.leases.create(&params, &Lease { metadata, spec: Some(spec) }).await
            }
            // The version that was read goes along: who was overtaken is refused.
            Some(lease) => self.leases.replace(NAME, &params, &Lease { spec: Some(spec), ..lease }).await,
        };
        match written {
            Ok(_) => self.election.won(asked),
            Err(kube::Error::Api(status)) if status.code == 409 => self.election.lost(),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn spec(&self, before: &LeaseSpec, newly: bool) -> LeaseSpec {
        let now = i64::try_from(clock::unix().0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).map(MicroTime);
        let transitions = before.lease_transitions.unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.election.me().to_owned()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if newly { now.clone() } else { before.acquire_time.clone() },
            renew_time: now,
            lease_transitions: Some(if newly { transitions.saturating_add(1) } else { transitions }),
            ..LeaseSpec::default()
        }
    }

    fn tell(&self) {
        let leads = self.election.leads(clock::instant());
        self.gauge.record(u64::from(leads), &[]);
        let changed = self.leading.send_if_modified(|leading| std::mem::replace(leading, leads) != leads);
        match (changed, leads) {
            (true, true) => tracing::info!(lease = NAME, "this replica writes the statuses of RedialPolicies"),
            (true, false) => tracing::info!(lease = NAME, "this replica no longer writes the statuses of RedialPolicies"),
            (false, _) => {}
        }
    }
}

fn seen(lease: &Lease) -> Seen {
    Seen {
        holder: lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}
