//! One release of the chart, and what it runs.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use redial_tests::authority::{Authority, Issued};
use redial_tests::{Metrics, until};
use serde_json::{Value, json};

use crate::kube::Namespace;

/// Images may have to be unpacked, and a machine of two cores starts every pod at once.
const READY: Duration = Duration::from_secs(120);

/// A release and its values.
#[derive(Clone, Debug)]
pub struct Release {
    pub name: &'static str,
    pub namespace: Namespace,
    values: &'static str,
    /// Of the listeners for UDP and TCP, and of the node where phones reach them.
    port: u16,
    behind_a_node_port: bool,
}

/// Two edges behind the same ports of every node, two coordinators, a Redis.
pub const CLUSTERED: Release =
    Release { name: "redial", namespace: Namespace("redial-test"), values: "clustered.yaml", port: 30060, behind_a_node_port: true };

/// Where [`CLUSTERED`] listens for TLS, and the Secret with its certificate.
pub const TLS_PORT: u16 = 30061;
const TLS_SECRET: &str = "sip-tls";
/// The Secret that images are pulled with.
const PULL_SECRET: &str = "registry";

/// Edges as the chart has them by default: one on each node, with the node's address.
pub const ON_NODES: Release =
    Release { name: "redial", namespace: Namespace("redial-test-nodes"), values: "on-nodes.yaml", port: 5060, behind_a_node_port: false };

fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

impl Release {
    /// `helm ARGS` of this release with its chart and values; waits until everything is ready. `more` are `key=value`.
    fn helm(&self, verb: &[&str], more: &[&str]) -> Result<()> {
        let chart = repository().join("charts/redial").display().to_string();
        let values = repository().join("tests/src/bin/k8s-test/values").join(self.values).display().to_string();
        let timeout = format!("{}s", READY.as_secs());
        let mut args = [verb, &[self.name, &chart, "--values", &values, "--wait", "--timeout", &timeout]].concat();
        // What a node port leads to, edges cannot know.
        let advertised = format!("edge.advertise={}", self.address()?.ip());
        if self.behind_a_node_port {
            args.extend(["--set", &advertised]);
        }
        // A cluster that pulls: where from, and what was pushed there last, whatever its nodes have under the same tag.
        let pulled =
            registry().map(|registry| ["image", "redis.bundled.image"].map(|i| format!("{i}.registry={registry},{i}.pullPolicy=Always")));
        args.extend(pulled.iter().flatten().flat_map(|image| ["--set", image]));
        let pull_secret = format!("imagePullSecrets[0].name={PULL_SECRET}");
        if registry_login().is_some() {
            args.extend(["--set", &pull_secret]);
        }
        args.extend(more.iter().flat_map(|m| ["--set", *m]));
        self.namespace.helm(&args)?;
        Ok(())
    }

    /// With the Secrets that it wants.
    pub fn install(&self) -> Result<()> {
        self.namespace.create()?;
        if self.behind_a_node_port {
            self.certify("first")?;
        }
        if let Some(file) = registry_login() {
            let file = format!("--from-file=.dockerconfigjson={file}");
            self.namespace.put_secret(&["generic", PULL_SECRET, "--type=kubernetes.io/dockerconfigjson", &file])?;
        }
        self.helm(&["install"], &[])
    }

    /// Gives the edges a certificate of this name for the node's address, by a new authority.
    pub fn certify(&self, name: &str) -> Result<Authority> {
        let authority = Authority::new()?;
        let Issued { cert, key } = authority.issue_at(name, self.address()?.ip())?;
        self.namespace.put_secret(&["tls", TLS_SECRET, &format!("--cert={cert}"), &format!("--key={key}")])?;
        Ok(authority)
    }

    pub fn upgrade(&self, more: &[&str]) -> Result<()> {
        self.helm(&["upgrade"], more)
    }

    pub fn is_installed(&self) -> bool {
        self.namespace.helm(&["status", self.name]).is_ok()
    }

    /// Where phones send to.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok((node()?, self.port).into())
    }

    pub fn object(&self, component: &str) -> String {
        format!("{}-{component}", self.name)
    }

    /// Pods of a component that are not being ended.
    pub fn pods(&self, component: &str) -> Result<Vec<String>> {
        let selector = format!("app.kubernetes.io/instance={},app.kubernetes.io/component={component}", self.name);
        let list = self.namespace.get(&["pods", "--selector", &selector])?;
        let pods = list["items"].as_array().context("no list of pods")?;
        let staying = pods.iter().filter(|p| p["metadata"]["deletionTimestamp"].is_null());
        Ok(staying.filter_map(|p| p["metadata"]["name"].as_str()).map(str::to_owned).collect())
    }

    /// `/metrics` of a pod, through the API server.
    pub fn metrics(&self, component: &str, pod: &str) -> Result<Metrics> {
        let port = if component == "edge" { 8080 } else { 8081 };
        let path = format!("/api/v1/namespaces/{}/pods/{pod}:{port}/proxy/metrics", self.namespace.0);
        Metrics::parse(&self.namespace.kubectl(&["get", "--raw", &path])?)
    }

    pub fn scale(&self, component: &str, replicas: usize) -> Result<()> {
        let workload = format!("deployment/{}", self.object(component));
        self.namespace.kubectl(&["scale", &workload, &format!("--replicas={replicas}")])?;
        self.wait_rolled_out(&workload)?;
        until("the pods that go", READY, || Ok((self.pods(component)?.len() == replicas).then_some(())))
    }

    pub fn restart(&self, component: &str) -> Result<()> {
        let workload = format!("deployment/{}", self.object(component));
        self.namespace.kubectl(&["rollout", "restart", &workload])?;
        self.wait_rolled_out(&workload)
    }

    pub fn wait_ready(&self, component: &str) -> Result<()> {
        self.wait_rolled_out(&format!("deployment/{}", self.object(component)))
    }

    fn wait_rolled_out(&self, workload: &str) -> Result<()> {
        self.namespace.kubectl(&["rollout", "status", workload, &format!("--timeout={}s", READY.as_secs())])?;
        Ok(())
    }

    /// What `redial ARGS --output json` says, from a pod beside the coordinators.
    pub fn ask(&self, args: &[&str]) -> Result<Value> {
        let beside = self.namespace.get(&["deployment", &self.object("coordinator")])?;
        let beside = &beside["spec"]["template"]["spec"];
        let image = beside["containers"][0]["image"].as_str().context("no image")?;
        let image = format!("--image={}", image.replace("/redial-coordinator:", "/redial:"));
        let secrets = format!("--overrides={}", json!({"spec": {"imagePullSecrets": beside["imagePullSecrets"]}}));
        let coordinator = format!("http://{}:7070", self.object("coordinator"));
        // Not attached to: kubectl loses or repeats what a command says that ends at once.
        let pod = &["run", "ask", &image, &secrets, "--restart=Never", "--"];
        self.namespace.kubectl(&[pod, args, &["--coordinator", &coordinator, "--output", "json"]].concat())?;
        let phase = || self.namespace.kubectl(&["get", "pod", "ask", "--output=jsonpath={.status.phase}"]);
        let ended = until("the answer", READY, || Ok(Some(phase()?).filter(|phase| ["Succeeded", "Failed"].contains(&phase.as_str()))));
        let said = self.namespace.kubectl(&["logs", "ask"]);
        self.namespace.kubectl(&["delete", "pod", "ask", "--now"])?;
        let (ended, said) = (ended?, said?);
        ensure!(ended == "Succeeded", "redial {}: {said}", args.join(" "));
        serde_json::from_str(&said).with_context(|| format!("not JSON: {said}"))
    }

    pub fn ensure_no_watch_is_left(&self) -> Result<()> {
        let watches = self.ask(&["watch", "list"])?;
        ensure!(watches.as_array().is_some_and(Vec::is_empty), "watches are left: {watches}");
        Ok(())
    }

    /// Uninstalls without waiting for anybody's last transaction, and removes the namespace.
    pub fn abandon(&self) -> Result<()> {
        self.namespace.helm(&["uninstall", self.name])?;
        self.namespace.kubectl(&["delete", "pods", "--all", "--grace-period=0", "--force"])?;
        self.namespace.kubectl(&["delete", "namespace", self.namespace.0, "--timeout=120s"])?;
        Ok(())
    }

    /// Uninstalls and waits until no object of any kind that carries the release's label is left.
    pub fn uninstall(&self) -> Result<()> {
        self.namespace.helm(&["uninstall", self.name, "--wait", "--timeout", "120s"])?;
        let kinds = self.namespace.kubectl(&["api-resources", "--verbs=list", "--output=name"])?;
        // Read-only views of the same pods, and events, which outlive what they tell of.
        let kinds: Vec<_> = kinds.lines().filter(|kind| !kind.starts_with("events") && !kind.contains("metrics.k8s.io")).collect();
        let label = format!("app.kubernetes.io/instance={}", self.name);
        let left = || self.namespace.kubectl(&["get", &kinds.join(","), "--selector", &label, "--output=name", "--ignore-not-found"]);
        until("nothing to be left", READY, || Ok(left()?.trim().is_empty().then_some(()))).with_context(|| left().unwrap_or_default())
    }
}

/// Where the cluster pulls `redial/*` from, if it does.
pub fn registry() -> Option<String> {
    std::env::var("REGISTRY").ok()
}

/// The login file of docker, podman or buildah for that, as the latter two call it.
fn registry_login() -> Option<String> {
    std::env::var("REGISTRY_AUTH_FILE").ok().filter(|_| registry().is_some())
}

/// An address of the first node.
pub fn node() -> Result<IpAddr> {
    let nodes = Namespace("default").get(&["nodes"])?;
    let addresses = nodes["items"][0]["status"]["addresses"].as_array().context("no node")?;
    let internal = addresses.iter().find(|a| a["type"] == "InternalIP").and_then(|a| a["address"].as_str());
    Ok(internal.context("a node without an address")?.parse()?)
}
