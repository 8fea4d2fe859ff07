//! `redial doctor`: is everything in place that a recall needs?

use anyhow::{Result, bail};
use redial_proto::v1;
use serde::Serialize;

use crate::operator::Target;
use crate::output::{Row, print, render, short_duration};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Note,
    Bad,
}

#[derive(Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    detail: String,
}

impl Row for Finding {
    const HEAD: &'static [&'static str] = &["CHECK", "VERDICT", "DETAIL"];
    fn cells(&self) -> Vec<String> {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Note => "note",
            Verdict::Bad => "BAD",
        };
        vec![self.check.into(), verdict.into(), self.detail.clone()]
    }
}

/// Prints the findings; fails when one is bad, so that scripts can use it.
pub async fn run(target: &Target) -> Result<()> {
    let status = target.connect().await?.status(v1::StatusRequest {}).await?.into_inner();
    let findings = examine(&status);
    print(&render(&findings, target.output)?);
    let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
    if bad > 0 {
        bail!("{bad} of {} checks failed", findings.len());
    }
    Ok(())
}

fn examine(status: &v1::StatusResponse) -> Vec<Finding> {
    let finding = |check, verdict, detail: String| Finding { check, verdict, detail };
    let coordinator = format!("{} {}, up {}", status.replica, status.version, short_duration(status.uptime_ms));
    let (store, store_detail) = match (status.store_healthy, status.store.as_str()) {
        (false, kind) => (Verdict::Bad, format!("{kind}: {}", status.store_error)),
        (true, "memory") => (Verdict::Note, "memory: one process, nothing survives a restart".to_owned()),
        (true, kind) => (Verdict::Ok, kind.to_owned()),
    };
    let (expiry, expiry_detail) = match (status.notifications, status.store.as_str()) {
        (true, _) => (Verdict::Ok, "notifications".to_owned()),
        (false, "memory") => (Verdict::Ok, "sweep".to_owned()),
        (false, _) => {
            (Verdict::Note, format!("no notifications: an expired watch stays up to {}", short_duration(status.sweep_interval_ms)))
        }
    };
    let edges: Vec<&str> = status.edges.iter().map(|edge| edge.edge.as_str()).collect();
    let (attached, edges_detail) = if edges.is_empty() {
        (Verdict::Bad, "no edge is attached: no recall can be sent".to_owned())
    } else {
        (Verdict::Ok, edges.join(", "))
    };
    let versions_differ = status.edges.iter().any(|edge| edge.version != status.version);
    let version = if versions_differ { Verdict::Note } else { Verdict::Ok };
    let version_detail = if versions_differ { "edges of another version are attached" } else { "the same everywhere" };
    let default = status.policies.as_ref().and_then(|set| set.default.as_ref());
    let (policy, policy_detail) = match default {
        Some(policy) if !policy.enabled => (Verdict::Note, "watching is switched off by default".to_owned()),
        Some(_) => (Verdict::Ok, format!("{} rules", status.policies.as_ref().map_or(0, |set| set.rules.len()))),
        None => (Verdict::Bad, "none".to_owned()),
    };
    let learned: Vec<String> = status.learned.iter().map(|l| format!("{}: rung {}", l.user_agent, l.rung)).collect();
    let learned = if learned.is_empty() { "nothing yet".to_owned() } else { learned.join(", ") };
    vec![
        finding("coordinator", Verdict::Ok, coordinator),
        finding("store", store, store_detail),
        finding("expiry", expiry, expiry_detail),
        finding("edges", attached, edges_detail),
        finding("versions", version, version_detail.to_owned()),
        finding("policy", policy, policy_detail),
        finding("watches", Verdict::Ok, status.watches.to_string()),
        finding("learned", Verdict::Ok, learned),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> v1::StatusResponse {
        v1::StatusResponse {
            store: "redis".into(),
            store_healthy: true,
            notifications: true,
            edges: vec![v1::AttachedEdge { edge: "edge-1".into(), version: String::new() }],
            policies: Some(v1::PolicySet { default: Some(v1::Policy { enabled: true, ..Default::default() }), ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn a_healthy_installation_has_no_finding_but_ok() {
        assert!(examine(&healthy()).iter().all(|finding| finding.verdict == Verdict::Ok));
    }

    #[test]
    fn a_dead_store_and_a_missing_edge_are_bad() {
        let status = v1::StatusResponse { store_healthy: false, edges: vec![], ..healthy() };
        let bad: Vec<_> = examine(&status).into_iter().filter(|f| f.verdict == Verdict::Bad).map(|f| f.check).collect();
        assert_eq!(bad, ["store", "edges"]);
    }
}
