//! Draws the chart's dashboards from a Prometheus that scrapes a running set, so that an empty panel is seen before an operator sees it.
//!
//! `dashboards [FILE]` starts Redis, two coordinators, two edges, one in front of them and Prometheus, plays stories for a minute, writes one HTML page and says
//! which queries have no data. Any is a failure: what counts errors shows zero, not nothing.

mod page;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use redial_tests::prometheus::{Prometheus, Scraped};
use redial_tests::wait::now;
use redial_tests::{Cluster, grafana, stories};

/// How long stories are played; a panel shows as much.
const SHOWN: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(empty) => {
            eprintln!("{empty} queries have no data");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns how many queries have no data.
fn run() -> Result<usize> {
    let file = std::env::args().nth(1).map_or_else(|| PathBuf::from("target/dashboards.html"), PathBuf::from);
    let cluster = Cluster::start(2, 2, &stories::policy())?;
    let front = cluster.front()?;
    let services =
        (0..).zip(cluster.edges.iter().chain([&front])).map(|(n, edge)| (edge.service.admin, "edge", format!("redial-edge-{n}")));
    let more = (0..).zip(&cluster.coordinators).map(|(n, c)| (c.service.admin, "coordinator", format!("redial-coordinator-{n}")));
    let scraped: Vec<_> = services.chain(more).map(|(admin, component, pod)| Scraped { admin, component, pod }).collect();
    let prometheus = Prometheus::start(&scraped)?;
    let (start, mut rounds) = (now(), 0);
    while now().duration_since(start) < SHOWN {
        let (here, there) = (rounds % 2, (rounds + 1) % 2);
        stories::play(cluster.edges[here].sip, cluster.edges[there].sip, rounds).with_context(|| format!("round {rounds}"))?;
        rounds += 1;
    }
    println!("{rounds} rounds of stories");

    let mut html = page::Page::default();
    let (mut panels, mut queries, mut empty) = (0, 0, 0);
    for dashboard in grafana::dashboards()? {
        html.dashboard(&dashboard.title);
        for panel in &dashboard.panels {
            let mut drawn = Vec::new();
            for target in &panel.targets {
                let expr = grafana::filled_in(&target.expr, "10s", &format!("{}s", SHOWN.as_secs()));
                let series = match panel.kind.as_str() {
                    "timeseries" => prometheus.range(&expr, SHOWN.as_secs())?,
                    _ => prometheus.instant(&expr)?,
                };
                if series.iter().all(|one| one.points.is_empty()) {
                    println!("no data: {} / {} / {}", dashboard.title, panel.title, target.legend);
                    empty += 1;
                }
                drawn.extend(series.into_iter().map(|one| (page::legend(&target.legend, &one.labels), one.points)));
            }
            queries += panel.targets.len();
            panels += 1;
            html.panel(panel, &drawn);
        }
    }
    std::fs::write(&file, html.finish()).with_context(|| file.display().to_string())?;
    println!("{panels} panels, {queries} queries, {empty} without data: {}", file.display());
    Ok(empty)
}
