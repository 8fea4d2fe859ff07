//! The product's own processes, started as an operator starts them.

use std::net::SocketAddr;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};

use crate::metrics::{Metrics, http_get};
use crate::process::{Process, Scratch, workspace_binary};
use crate::wait::PATIENCE;
use crate::{DOMAIN, Policy, Redis, ports, until};

/// What all services have in common: a process, its admin address and a directory.
#[derive(Debug)]
pub struct Service {
    pub process: Process,
    pub admin: SocketAddr,
    scratch: Scratch,
    binary: &'static str,
    args: Vec<String>,
}

impl Service {
    fn start(binary: &'static str, admin: SocketAddr, scratch: Scratch, args: Vec<String>) -> Result<Self> {
        Self::start_in(&[], binary, admin, scratch, args)
    }

    fn start_in(
        environment: &[(&str, &str)],
        binary: &'static str,
        admin: SocketAddr,
        scratch: Scratch,
        args: Vec<String>,
    ) -> Result<Self> {
        let log = scratch.path().join("log");
        let process = Process::spawn_in(environment, &workspace_binary(binary)?, &args, scratch.path(), log)?;
        Ok(Self { process, admin, scratch, binary, args })
    }

    /// Starts again, at the same addresses and with the same settings, what was ended before.
    /// # Errors
    /// When it does not become ready.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill()?;
        let dir = self.scratch.path();
        self.process = Process::spawn(&workspace_binary(self.binary)?, &self.args, dir, dir.join("log-again"))?;
        self.wait_ready()
    }

    /// Waits until `/ready` says so.
    /// # Errors
    /// When the process ends or takes too long.
    pub fn wait_ready(&mut self) -> Result<()> {
        self.wait_for("/ready")
    }

    fn wait_for(&mut self, path: &str) -> Result<()> {
        until(path, PATIENCE, || {
            self.process.ensure_alive()?;
            Ok(http_get(self.admin, path).is_ok_and(|(status, _)| status == 200).then_some(()))
        })
    }

    /// # Errors
    /// When `/metrics` does not answer.
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::read(self.admin)
    }

    /// Polls `/metrics` until the sum of that name and labels is `value` or more.
    /// # Errors
    /// When it does not get there.
    pub fn wait_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) -> Result<()> {
        until(&format!("{name}{labels:?} >= {value}"), PATIENCE, || Ok((self.metrics()?.sum(name, labels) >= value).then_some(())))
    }

    /// Waits until the process has logged this.
    /// # Errors
    /// When it does not.
    pub fn wait_log(&self, text: &str) -> Result<()> {
        until(&format!("{text:?} in the log"), PATIENCE, || Ok(self.process.log().contains(text).then_some(())))
    }

    /// Waits until that many watches ended for that reason, and checks that they are not more.
    /// # Errors
    /// When it is another number.
    pub fn wait_ended(&self, reason: &str, count: u32) -> Result<()> {
        let (name, labels) = (ENDED, [("reason", reason)]);
        self.wait_metric(name, &labels, f64::from(count))?;
        let ended = self.metrics()?.sum(name, &labels);
        ensure!(ended == f64::from(count), "{ended} watches {reason}, not {count}");
        Ok(())
    }

    /// Watches stored since the start.
    /// # Errors
    /// When `/metrics` does not answer.
    pub fn armed(&self) -> Result<f64> {
        Ok(self.metrics()?.sum(ARMED, &[]))
    }

    /// Watches that ended since the start, for any reason.
    /// # Errors
    /// When `/metrics` does not answer.
    pub fn ended(&self) -> Result<f64> {
        Ok(self.metrics()?.sum(ENDED, &[]))
    }

    /// Recalls ordered since the start.
    /// # Errors
    /// When `/metrics` does not answer.
    pub fn recalls(&self) -> Result<f64> {
        Ok(self.metrics()?.sum("redial_recalls_total", &[("result", "ordered")]))
    }
}

const ARMED: &str = "redial_watches_armed_total";
const ENDED: &str = "redial_watches_ended_total";

fn strings(args: &[&str]) -> Vec<String> {
    args.iter().map(|a| (*a).to_owned()).collect()
}

/// Runs `redial` with these arguments to its end.
/// # Errors
/// When it cannot be started.
pub fn redial(args: &[&str]) -> Result<Output> {
    Command::new(workspace_binary("redial")?).args(args).output().context("redial does not start")
}

/// `redial standalone`.
#[derive(Debug)]
pub struct Standalone {
    pub service: Service,
    /// The first listener.
    pub sip: SocketAddr,
    /// Where `redial watch`, `binding` and `doctor` ask.
    pub control: SocketAddr,
}

impl Standalone {
    /// On a free port of the IPv4 loopback address.
    /// # Errors
    /// When it does not become ready.
    pub fn start(policy: &Policy, more: &[&str]) -> Result<Self> {
        Self::on(&[ports::free()?], policy, more)
    }

    /// # Errors
    /// When it does not become ready.
    pub fn on(listeners: &[SocketAddr], policy: &Policy, more: &[&str]) -> Result<Self> {
        let sip = *listeners.first().context("no listener")?;
        let (admin, control, scratch) = (ports::free()?, ports::free()?, Scratch::new("standalone")?);
        let policy = scratch.file("policy.toml", &policy.toml())?;
        let (admin_text, control_text) = (admin.to_string(), control.to_string());
        let mut args = strings(&["standalone", "--domain", DOMAIN, "--admin", &admin_text, "--policy", &policy]);
        args.extend(listeners.iter().map(|addr| format!("--listen=udp:{addr}")));
        args.extend(strings(&["--control", &control_text, "--sweep-interval", "1s"]));
        args.extend(strings(more));
        let mut service = Service::start("redial", admin, scratch, args)?;
        service.wait_ready()?;
        Ok(Self { service, sip, control })
    }
}

/// `redial-coordinator`.
#[derive(Debug)]
pub struct Coordinator {
    pub service: Service,
    pub grpc: SocketAddr,
}

impl Coordinator {
    /// # Errors
    /// When it does not become ready.
    pub fn start(redis: &Redis, policy: &Policy, more: &[&str]) -> Result<Self> {
        Self::start_in(&[], redis, policy, more)
    }

    /// With more environment variables.
    /// # Errors
    /// When it does not become ready.
    pub fn start_in(environment: &[(&str, &str)], redis: &Redis, policy: &Policy, more: &[&str]) -> Result<Self> {
        let (grpc, admin, scratch) = (ports::free()?, ports::free()?, Scratch::new("coordinator")?);
        let policy = scratch.file("policy.toml", &policy.toml())?;
        let (listen, admin_text, url) = (grpc.to_string(), admin.to_string(), redis.url());
        let mut args =
            strings(&["--listen", &listen, "--redis", &url, "--policy", &policy, "--admin", &admin_text, "--sweep-interval", "1s"]);
        args.extend(strings(more));
        let mut service = Service::start_in(environment, "redial-coordinator", admin, scratch, args)?;
        service.wait_ready()?;
        Ok(Self { service, grpc })
    }

    /// One whose policies and replicas a Kubernetes API server knows that is away. Live, and not ready.
    /// # Errors
    /// When it does not become live.
    pub fn without_api_server(redis: &Redis) -> Result<Self> {
        let (grpc, admin, scratch) = (ports::free()?, ports::free()?, Scratch::new("coordinator")?);
        let away = "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n\
                    users: [{name: u, user: {}}]\ncurrent-context: c\n";
        let kubeconfig = scratch.file("kubeconfig", away)?;
        let (listen, admin_text, url) = (grpc.to_string(), admin.to_string(), redis.url());
        let args =
            ["--listen", &listen, "--redis", &url, "--admin", &admin_text, "--policy-namespace=voice", "--peer-service=voice/c:7070"];
        let mut service = Service::start_in(&[("KUBECONFIG", &kubeconfig)], "redial-coordinator", admin, scratch, strings(&args))?;
        service.wait_for("/live")?;
        Ok(Self { service, grpc })
    }
}

/// `sip-edge`.
#[derive(Debug)]
pub struct Edge {
    pub service: Service,
    pub sip: SocketAddr,
}

impl Edge {
    /// # Errors
    /// When it does not become ready.
    pub fn start(coordinators: &[&Coordinator], more: &[&str]) -> Result<Self> {
        Self::start_in(&[], coordinators, more)
    }

    /// With more environment variables.
    /// # Errors
    /// When it does not become ready.
    pub fn start_in(environment: &[(&str, &str)], coordinators: &[&Coordinator], more: &[&str]) -> Result<Self> {
        let urls: Vec<_> = coordinators.iter().map(|c| format!("http://{}", c.grpc)).collect();
        Self::at_in(environment, ports::free()?, &urls, more)
    }

    /// With coordinators as the test spells them. Edges that spell a replica differently hash an AoR to different replicas.
    /// # Errors
    /// When it does not become ready.
    pub fn attached(coordinators: &[String], more: &[&str]) -> Result<Self> {
        Self::at(ports::free()?, coordinators, more)
    }

    /// With a listener that others know of already.
    /// # Errors
    /// When it does not become ready.
    pub fn at(sip: SocketAddr, coordinators: &[String], more: &[&str]) -> Result<Self> {
        Self::at_in(&[], sip, coordinators, more)
    }

    fn at_in(environment: &[(&str, &str)], sip: SocketAddr, coordinators: &[String], more: &[&str]) -> Result<Self> {
        let (admin, scratch) = (ports::free()?, Scratch::new("edge")?);
        let (listen, name) = (format!("udp:{sip}"), format!("edge-{}", sip.port()));
        let mut args = strings(&["--listen", &listen, "--domain", DOMAIN, "--admin", &admin.to_string(), "--edge-id", &name]);
        args.extend(coordinators.iter().flat_map(|url| ["--coordinator".to_owned(), url.clone()]));
        args.extend(strings(more));
        let mut service = Service::start_in(environment, "sip-edge", admin, scratch, args)?;
        service.wait_ready()?;
        Ok(Self { service, sip })
    }
}
