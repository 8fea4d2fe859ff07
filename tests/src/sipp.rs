//! Phones by sipp: real SIP from somebody else's program, with the scenarios of `tests/scenarios`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::process::{Process, Scratch};
use crate::{DOMAIN, ports, until};

/// One run of a scenario, to be started.
#[derive(Clone, Debug)]
pub struct Sipp {
    scenario: &'static str,
    local: SocketAddr,
    remote: SocketAddr,
    keys: Vec<(&'static str, String)>,
    args: Vec<String>,
    calls: u32,
    limit: Duration,
    code: Option<u16>,
}

impl Sipp {
    /// `who` at `local` plays `scenario` with the service at `remote`.
    #[must_use]
    pub fn new(scenario: &'static str, who: &str, local: SocketAddr, remote: SocketAddr) -> Self {
        let keys = vec![("who", who.to_owned()), ("dom", DOMAIN.to_owned()), ("reach", local.to_string()), ("ttl", "600".to_owned())];
        let args = vec!["-au".to_owned(), who.to_owned(), "-ap".to_owned(), "secret".to_owned()];
        Self { scenario, local, remote, keys, args, calls: 1, limit: Duration::from_secs(40), code: None }.asking("X-Period: none")
    }

    /// Sets a `[key]` of the scenario.
    #[must_use]
    pub fn key(mut self, key: &'static str, value: impl ToString) -> Self {
        self.keys.retain(|(k, _)| *k != key);
        self.keys.push((key, value.to_string()));
        self
    }

    /// Whom an INVITE is for.
    #[must_use]
    pub fn to(self, peer: &str) -> Self {
        self.key("peer", peer)
    }

    /// A header line of the INVITE, such as `Redial-Period: 600`.
    #[must_use]
    pub fn asking(self, header: &str) -> Self {
        self.key("ask", header)
    }

    /// Status code in place of `[code]`, for which sipp takes no key of its own.
    #[must_use]
    pub fn code(mut self, code: u16) -> Self {
        self.code = Some(code);
        self
    }

    /// How often the scenario is played before sipp ends.
    #[must_use]
    pub fn calls(mut self, calls: u32) -> Self {
        self.calls = calls;
        self
    }

    /// More options of sipp itself. The last of two equal ones counts.
    #[must_use]
    pub fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.args.extend(args.into_iter().map(str::to_owned));
        self
    }

    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Starts sipp and returns when its socket is bound.
    /// # Errors
    /// When sipp is missing or ends at once.
    pub fn start(self) -> Result<Running> {
        let scratch = Scratch::new(self.scenario)?;
        let mut scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{}.xml", self.scenario));
        if let Some(code) = self.code {
            let text = std::fs::read_to_string(scenario)?.replace("[code]", &code.to_string());
            scenario = scratch.file("scenario.xml", &text)?.into();
        }
        let control = ports::free()?.port().to_string();
        let (ip, port, remote) = (self.local.ip().to_string(), self.local.port().to_string(), self.remote.to_string());
        let limit = format!("{}s", self.limit.as_secs());
        let mut args: Vec<String> = vec![remote, "-sf".to_owned(), scenario.display().to_string()];
        args.extend(["-i", &ip, "-p", &port, "-cp", &control, "-nostdin", "-timeout", &limit, "-timeout_error"].map(str::to_owned));
        args.extend(["-trace_err", "-error_file", "errors", "-trace_stat", "-stf", "stat", "-fd", "1"].map(str::to_owned));
        args.extend(["-m".to_owned(), self.calls.to_string()]);
        if self.calls < 100 {
            args.extend(["-trace_msg", "-message_file", "messages"].map(str::to_owned));
        }
        args.extend(self.keys.into_iter().flat_map(|(key, value)| ["-key".to_owned(), key.to_owned(), value]));
        args.extend(self.args);
        let process = Process::spawn(Path::new("sipp"), args, scratch.path(), scratch.path().join("log"))?;
        let mut running =
            Running { scenario: self.scenario, calls: self.calls, process, scratch, limit: self.limit + Duration::from_secs(5) };
        running.wait_bound(self.local)?;
        Ok(running)
    }

    /// Starts sipp and waits until the scenario has been played.
    /// # Errors
    /// When any call of the run failed, with what sipp saw.
    pub fn run(self) -> Result<Statistics> {
        self.start()?.wait()
    }
}

/// A sipp at work.
#[derive(Debug)]
pub struct Running {
    scenario: &'static str,
    calls: u32,
    process: Process,
    scratch: Scratch,
    limit: Duration,
}

/// What sipp counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub successful: u64,
    pub failed: u64,
    /// Requests and final responses that sipp sent again.
    pub retransmissions: u64,
}

impl Running {
    fn wait_bound(&mut self, local: SocketAddr) -> Result<()> {
        // sipp has no other sign of life; a run that was over before we looked was bound, too.
        let port = format!(":{:04X} ", local.port());
        let tables = ["/proc/net/udp", "/proc/net/udp6"];
        until("sipp to bind its socket", Duration::from_secs(10), || {
            let bound = tables.iter().any(|t| std::fs::read_to_string(t).unwrap_or_default().contains(&port));
            Ok((bound || self.process.ensure_alive().is_err()).then_some(()))
        })
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether sipp still waits for messages of its scenario.
    pub fn is_running(&mut self) -> bool {
        self.process.ensure_alive().is_ok()
    }

    /// Waits until every call of the scenario has been played.
    /// # Errors
    /// When one was not played to its end, with sipp's own words and messages.
    pub fn wait(mut self) -> Result<Statistics> {
        let status = self.process.wait(self.limit);
        // The exit status alone proves nothing: sipp 3.6 ends with 0 when its time is up before the calls are made.
        let counted = statistics(&self.scratch.path().join("stat"));
        match (status, counted) {
            (Ok(status), Ok(counted)) if status.success() && counted.successful == u64::from(self.calls) => Ok(counted),
            (status, counted) => {
                let read = |name: &str| std::fs::read_to_string(self.scratch.path().join(name)).unwrap_or_default();
                let messages = read("messages");
                let start = messages.char_indices().rev().nth(8000).map_or(0, |(at, _)| at);
                bail!("sipp {}: {status:?}, {counted:?}\n{}\n{}", self.scenario, read("errors"), &messages[start..])
            }
        }
    }
}

/// Reads the last line of sipp's statistics file.
fn statistics(path: &PathBuf) -> Result<Statistics> {
    let text = std::fs::read_to_string(path).with_context(|| format!("no statistics in {}", path.display()))?;
    let mut lines = text.lines();
    let names: Vec<_> = lines.next().unwrap_or_default().split(';').collect();
    let values: Vec<_> = lines.next_back().context("sipp counted nothing")?.split(';').collect();
    let column = |name: &str| {
        let at = names.iter().position(|n| *n == name).with_context(|| format!("sipp does not count {name}"))?;
        Ok::<u64, anyhow::Error>(values.get(at).context("a short line")?.parse()?)
    };
    Ok(Statistics {
        successful: column("SuccessfulCall(C)")?,
        failed: column("FailedCall(C)")?,
        retransmissions: column("Retransmissions(C)")?,
    })
}
