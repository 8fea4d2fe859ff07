//! The chart's dashboards and alerts name what the services really export.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use redial_tests::authority::Authority;
use redial_tests::grafana::{self, Exported, chart, unknown_names};
use redial_tests::wait::PATIENCE;
use redial_tests::{Cluster, Coordinator, Edge, ports, stories, until};

/// Metrics of others that alerts may use, with their labels: of Prometheus itself and of kube-state-metrics.
const OF_OTHERS: [(&str, &[&str]); 2] = [("up", &[]), ("kube_pod_container_status_restarts_total", &["container"])];

/// What a running set exports after a story. The collector is away, so that even its metrics have something to count.
fn exported() -> Result<Exported> {
    let away = ["--otlp-endpoint", "http://127.0.0.1:9"];
    let cluster = Cluster::with_all(1, 2, &stories::policy(), &away)?;
    stories::play(cluster.edges[0].sip, cluster.edges[1].sip, 0)?;
    for reason in ["connected", "expired", "cancelled", "failed"] {
        until(reason, PATIENCE, || Ok((cluster.sum("redial_watches_ended_total", &[("reason", reason)]) >= 1.0).then_some(())))?;
    }
    let (mut exported, front) = (Exported::new(), cluster.front()?);
    let (authority, tls) = (Authority::new()?, format!("tls:{}", ports::free()?));
    let issued = authority.issue("edge")?;
    let coordinators: Vec<_> = cluster.coordinators.iter().collect();
    let tls = Edge::start(&coordinators, &["--listen", &tls, "--tls-cert", &issued.cert, "--tls-key", &issued.key])?;
    tls.service.wait_metric("sip_tls_certificate_expiry_seconds", &[], 1.0)?;
    let in_kubernetes = Coordinator::without_api_server(&cluster.redis)?;
    for stale in ["redial_discovery_stale", "redial_policies_stale"] {
        in_kubernetes.service.wait_metric(stale, &[], 1.0)?;
    }
    let edges = cluster.edges.iter().chain([&front, &tls]).map(|edge| &edge.service);
    for service in edges.chain(cluster.coordinators.iter().chain([&in_kubernetes]).map(|c| &c.service)) {
        for (name, labels) in service.metrics()?.series() {
            let known = exported.entry(name.to_owned()).or_default();
            for (label, value) in labels {
                known.entry(label.clone()).or_default().insert(value.clone());
            }
        }
    }
    for (name, labels) in OF_OTHERS {
        let named = |label: &&str| ((*label).to_owned(), ["sip-edge", "redial-coordinator"].map(str::to_owned).into());
        exported.insert(name.to_owned(), labels.iter().map(named).collect());
    }
    Ok(exported)
}

#[test]
fn every_query_names_what_is_exported() -> Result<()> {
    let exported = exported()?;
    let mut wrong = Vec::new();
    for dashboard in grafana::dashboards()? {
        for panel in &dashboard.panels {
            for target in &panel.targets {
                let found = unknown_names(&grafana::filled_in(&target.expr, "1m", "1h"), &target.legend, &exported)?;
                wrong.extend(found.into_iter().map(|problem| format!("{}, {}: {problem}", dashboard.title, panel.title)));
            }
        }
    }
    for (alert, expr) in grafana::alerts()? {
        wrong.extend(unknown_names(&expr, "", &exported)?.into_iter().map(|problem| format!("{alert}: {problem}")));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let addresses = exported.values().flat_map(|labels| labels.values()).flatten();
    let named: Vec<_> = addresses.filter(|value| value.contains('@') || value.contains("alice") || value.contains("bob")).collect();
    ensure!(named.is_empty(), "labels name subscribers: {named:?}");
    Ok(())
}

#[test]
fn a_query_with_a_name_of_nobody_is_found() -> Result<()> {
    let labels = [("method".to_owned(), ["INVITE".to_owned()].into())];
    let exported = Exported::from([("sip_requests_received_total".to_owned(), labels.into())]);
    let wrong = |expr: &str, legend: &str| Ok::<_, anyhow::Error>(unknown_names(expr, legend, &exported)?.len());
    ensure!(wrong("sum by (method) (rate(sip_requests_received_total{method=\"INVITE\", pod=\"a\"}[1m]))", "{{method}}")? == 0);
    ensure!(wrong("sip_requests_received", "")? == 1);
    ensure!(wrong("sip_requests_received_total{verb=\"INVITE\"}", "")? == 1);
    ensure!(wrong("sip_requests_received_total{method=~\"INVITE|BY\"}", "")? == 1);
    ensure!(wrong("sum by (verb) (sip_requests_received_total)", "{{method}}")? == 2);
    Ok(())
}

#[test]
fn every_alert_has_its_section_for_the_operator() -> Result<()> {
    let pages = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md"))?;
    let rules = std::fs::read_to_string(chart("alerts/redial.yaml"))?;
    for (alert, _) in grafana::alerts()? {
        ensure!(pages.lines().any(|line| line == format!("### {alert}")), "no section about {alert}");
        let anchor = format!("runbook_url: docs/operations.md#{}", alert.to_lowercase());
        ensure!(rules.contains(&anchor), "{alert} does not say {anchor}");
    }
    for wanted in ["severity: ", "summary: ", "description: ", "runbook_url: "] {
        let count = rules.matches(wanted).count();
        ensure!(count == rules.matches("- alert: ").count(), "{count} times {wanted}");
    }
    Ok(())
}

#[test]
fn promtool_accepts_the_rules_and_their_unit_tests_pass() -> Result<()> {
    let unit_tests = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/alerts.yaml");
    for args in [&["check", "rules", chart("alerts/redial.yaml").to_str().context("a path")?][..], &["test", "rules", unit_tests]] {
        let output = Command::new("promtool").args(args).output().context("promtool does not start: is prometheus installed?")?;
        ensure!(
            output.status.success(),
            "promtool {args:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
