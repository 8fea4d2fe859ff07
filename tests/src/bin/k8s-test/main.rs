//! `make k8s-test`: the chart and its images in a real Kubernetes, with phones outside it.
//!
//! `k8s-test` plays every scenario in order, `k8s-test --but NAME...` all others; `k8s-test NAME...` those alone, on the release that is there or a
//! new one, which stays.
//! It uses the cluster that KUBECONFIG names, by kubectl and helm. Of a cluster other than the project's own (`tests/cluster`) it
//! wants: images that its nodes have or can pull (REGISTRY, which has `redial/*`, with the password in REGISTRY_AUTH_FILE where one is asked for), the node
//! ports 30060 and 30061, and nodes that this machine and its phones reach without a translation of addresses.

mod kube;
mod load;
mod release;
mod scenarios;

use std::process::ExitCode;

use anyhow::Result;
use redial_tests::wait::now;

use release::CLUSTERED;

/// Name, what is tried, and the trial: returns what is worth knowing.
type Scenario = (&'static str, &'static str, fn() -> Result<String>);

/// What is played, in this order.
const SCENARIOS: [Scenario; 18] = [
    ("install", "helm install, until every pod is ready", scenarios::install::install),
    ("check", "helm test", scenarios::install::helm_test),
    ("story", "the story by sipp through a node's port", scenarios::story::through_a_node_port),
    ("connections", "a renewed certificate, and stories between phones by TLS and TCP", scenarios::connections::connections),
    ("policy", "a RedialPolicy applied, changed, made invalid, deleted", scenarios::policy::policy),
    ("conflict", "two RedialPolicies for the same callees", scenarios::policy::conflict),
    ("counts", "a watch in the status of its RedialPolicy", scenarios::status::counts),
    ("scale-edges", "edges scaled up and down under load", scenarios::rollout::scale_edges),
    ("scale-coordinators", "coordinators scaled up and down under load", scenarios::rollout::scale_coordinators),
    ("restart-edges", "edges restarted under load", scenarios::rollout::restart_edges),
    ("restart-coordinators", "coordinators restarted under load", scenarios::rollout::restart_coordinators),
    ("kill-coordinator", "a coordinator killed with claims in its hands, under load", scenarios::killed::coordinator),
    ("upgrade", "helm upgrade and rollback; the secret stays", scenarios::install::upgrade_and_rollback),
    // No calls in these: by their end nobody waits for anything, and to uninstall takes no longer than that.
    ("discovery", "edges attach to coordinators as they come and go", scenarios::rollout::discovery),
    ("leader", "the replica that writes statuses is deleted", scenarios::status::leader),
    ("rights", "each service account may do what it needs and no more", scenarios::rights::rights),
    ("uninstall", "helm uninstall leaves nothing", scenarios::install::uninstall),
    ("nodes", "the chart's default, edges with the nodes' addresses", scenarios::story::on_nodes),
];

fn main() -> ExitCode {
    let mut wanted: Vec<_> = std::env::args().skip(1).collect();
    let but = wanted.first().is_some_and(|first| first == "--but");
    wanted.drain(..usize::from(but));
    if let Some(unknown) = wanted.iter().find(|name| !SCENARIOS.iter().any(|(known, ..)| known == name)) {
        eprintln!("{unknown}: no such scenario. There are:");
        SCENARIOS.iter().for_each(|(name, what, _)| eprintln!("  {name:22} {what}"));
        return ExitCode::from(64);
    }
    let (mut passed, mut failed) = (0, 0);
    for (name, what, play) in SCENARIOS {
        let named = wanted.iter().any(|w| w == name);
        let alone = named && !but;
        if !wanted.is_empty() && named == but {
            continue;
        }
        println!("---- {name}: {what}");
        let began = now();
        let needed = if alone && !["install", "uninstall", "nodes"].contains(&name) { present() } else { Ok(()) };
        match needed.and_then(|()| play()) {
            Ok(said) => {
                passed += 1;
                println!("PASS {name} ({:.1} s): {said}", began.elapsed().as_secs_f64());
            }
            Err(error) => {
                failed += 1;
                println!("FAIL {name} ({:.1} s): {error:#}", began.elapsed().as_secs_f64());
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A scenario that is played alone makes do with the release that is there.
fn present() -> Result<()> {
    if CLUSTERED.is_installed() { Ok(()) } else { CLUSTERED.install() }
}
