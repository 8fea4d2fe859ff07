//! A real Prometheus that scrapes the services of a test.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::metrics::http_get;
use crate::process::{Process, Scratch};
use crate::wait::PATIENCE;
use crate::{ports, until};

/// Where to scrape, and the labels that Kubernetes would give it.
#[derive(Clone, Debug)]
pub struct Scraped {
    pub admin: SocketAddr,
    pub component: &'static str,
    pub pod: String,
}

/// Ends when dropped.
#[derive(Debug)]
pub struct Prometheus {
    addr: SocketAddr,
    _process: Process,
    _scratch: Scratch,
}

/// One series of an answer: its labels and `(seconds, value)`; readings that are no number are left out.
#[derive(Clone, Debug)]
pub struct Series {
    pub labels: Value,
    pub points: Vec<(f64, f64)>,
}

impl Prometheus {
    /// Scrapes every second.
    /// # Errors
    /// When it does not become ready.
    pub fn start(scraped: &[Scraped]) -> Result<Self> {
        let (addr, scratch) = (ports::free()?, Scratch::new("prometheus")?);
        let mut config =
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- job_name: redial\n  static_configs:\n".to_owned();
        for Scraped { admin, component, pod } in scraped {
            let labels = format!("{{namespace: redial, component: {component}, pod: {pod}}}");
            writeln!(config, "  - {{targets: ['{admin}'], labels: {labels}}}")?;
        }
        let file = scratch.file("prometheus.yml", &config)?;
        let args = [
            format!("--config.file={file}"),
            format!("--storage.tsdb.path={}", scratch.path().join("data").display()),
            format!("--web.listen-address={addr}"),
        ];
        let mut process = Process::spawn(Path::new("prometheus"), args, scratch.path(), scratch.path().join("log"))?;
        until("Prometheus", PATIENCE, || {
            process.ensure_alive()?;
            Ok(http_get(addr, "/-/ready").is_ok_and(|(status, _)| status == 200).then_some(()))
        })?;
        Ok(Self { addr, _process: process, _scratch: scratch })
    }

    /// The query over the last `seconds`, a point for every second.
    /// # Errors
    /// When Prometheus does not understand it.
    pub fn range(&self, expr: &str, seconds: u64) -> Result<Vec<Series>> {
        let now = self.now()?;
        let path = format!("/api/v1/query_range?query={}&start={}&end={now}&step=1", encode(expr), now - seconds as f64);
        self.ask(&path)
    }

    /// The query now.
    /// # Errors
    /// As [`Self::range`].
    pub fn instant(&self, expr: &str) -> Result<Vec<Series>> {
        self.ask(&format!("/api/v1/query?query={}", encode(expr)))
    }

    fn now(&self) -> Result<f64> {
        let (_, body) = http_get(self.addr, "/api/v1/query?query=time()")?;
        let answer: Value = serde_json::from_str(&body)?;
        answer["data"]["result"][0].as_f64().context("no time")
    }

    fn ask(&self, path: &str) -> Result<Vec<Series>> {
        let (status, body) = http_get(self.addr, path)?;
        ensure!(status == 200, "{path}: {body}");
        let answer: Value = serde_json::from_str(&body)?;
        let point = |p: &Value| {
            let value: f64 = p[1].as_str()?.parse().ok()?;
            value.is_finite().then_some((p[0].as_f64()?, value))
        };
        let series = |one: &Value| {
            let points = match &one["values"] {
                Value::Array(points) => points.iter().filter_map(point).collect(),
                _ => point(&one["value"]).into_iter().collect(),
            };
            Series { labels: one["metric"].clone(), points }
        };
        Ok(answer["data"]["result"].as_array().context("no result")?.iter().map(series).collect())
    }
}

/// Percent-encoding (RFC 3986 section 2.1).
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => _ = write!(out, "%{byte:02X}"),
        }
        out
    })
}
