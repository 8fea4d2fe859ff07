//! Admin HTTP as an operator's tools use it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// GET over HTTP/1.0: status and body.
/// # Errors
/// When nobody answers within two seconds.
pub fn http_get(admin: SocketAddr, path: &str) -> Result<(u16, String)> {
    let limit = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&admin, limit)?;
    stream.set_read_timeout(Some(limit))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {admin}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no HTTP status")?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}

/// One reading of `/metrics`.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Vec<Sample>);

/// One line: `name{labels} value`.
#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// # Errors
    /// When `/metrics` is not there or not Prometheus text.
    pub fn read(admin: SocketAddr) -> Result<Self> {
        let (status, body) = http_get(admin, "/metrics")?;
        ensure!(status == 200, "/metrics: {status}");
        Self::parse(&body)
    }

    /// # Errors
    /// When it is not Prometheus text.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
        let samples = lines.map(|line| Sample::parse(line).with_context(|| format!("not a sample: {line}"))).collect::<Result<_>>()?;
        Ok(Self(samples))
    }

    /// Sum over all samples of that name that carry all these labels.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.0.iter().filter(|s| s.name == name && labels.iter().all(|(key, value)| s.carries(key, value))).map(|s| s.value).sum()
    }

    /// Name and labels of every sample.
    pub fn series(&self) -> impl Iterator<Item = (&str, &[(String, String)])> {
        self.0.iter().map(|sample| (sample.name.as_str(), sample.labels.as_slice()))
    }

    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|s| s.name == name)
    }
}

impl Sample {
    fn parse(line: &str) -> Option<Self> {
        let (head, value) = line.rsplit_once(' ')?;
        let (name, mut rest) = match head.split_once('{') {
            Some((name, rest)) => (name, rest.strip_suffix('}')?),
            None => (head, ""),
        };
        let mut labels = Vec::new();
        while let Some((key, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"')?;
            labels.push((key.trim_start_matches(',').to_owned(), value.to_owned()));
            rest = after;
        }
        Some(Self { name: name.to_owned(), labels, value: value.parse().ok()? })
    }

    fn carries(&self, key: &str, value: &str) -> bool {
        self.labels.iter().any(|(k, v)| k == key && v == value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_name_and_labels() {
        let text = "# HELP x y\nx_total{a=\"1\",b=\"2\"} 3\nx_total{a=\"1\",b=\"q r\"} 4\nx_total{a=\"2\"} 5\ny 1.5\n";
        let metrics = Metrics::parse(text).unwrap();
        assert_eq!(metrics.sum("x_total", &[("a", "1")]), 7.0);
        assert_eq!(metrics.sum("x_total", &[("b", "q r")]), 4.0);
        assert_eq!(metrics.sum("x_total", &[]), 12.0);
        assert_eq!(metrics.sum("y", &[]), 1.5);
    }
}
