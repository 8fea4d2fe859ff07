//! Pods come and go: found by the others, and no story lost.

use std::time::Duration;

use anyhow::{Context as _, Result};
use redial_tests::until;

use crate::load::{self, Outside};
use crate::release::CLUSTERED;

/// How long an edge may take to hear of a coordinator.
const HEARD: Duration = Duration::from_secs(20);
/// Stories of each kind of disruption; what takes longer gets more.
const STORIES: usize = 100;

pub fn discovery() -> Result<String> {
    let release = &CLUSTERED;
    let mut seen = Vec::new();
    for coordinators in [3, 1, 2] {
        release.scale("coordinator", coordinators)?;
        for edge in release.pods("edge")? {
            let attached = || Ok::<_, anyhow::Error>(release.metrics("edge", &edge)?.sum("redial_link_coordinators_attached", &[]));
            until(&format!("{edge} to be attached to {coordinators}"), HEARD, || Ok((attached()? == coordinators as f64).then_some(())))
                .with_context(|| format!("attached to {:?}", attached()))?;
        }
        seen.push(coordinators.to_string());
    }
    Ok(format!("every edge was attached to {} coordinators", seen.join(", then ")))
}

fn under_load(tag: &str, disruption: impl FnOnce() -> Result<()>) -> Result<String> {
    let outside = Outside::facing(CLUSTERED.address()?)?;
    let report = load::during(&outside, tag, STORIES, disruption)?.report()?;
    CLUSTERED.ensure_no_watch_is_left()?;
    Ok(report)
}

pub fn scale_edges() -> Result<String> {
    under_load("scale-edges", || {
        CLUSTERED.scale("edge", 4)?;
        CLUSTERED.scale("edge", 2)
    })
}

pub fn scale_coordinators() -> Result<String> {
    under_load("scale-coordinators", || {
        CLUSTERED.scale("coordinator", 4)?;
        CLUSTERED.scale("coordinator", 2)
    })
}

pub fn restart_edges() -> Result<String> {
    under_load("restart-edges", || CLUSTERED.restart("edge"))
}

pub fn restart_coordinators() -> Result<String> {
    under_load("restart-coordinators", || CLUSTERED.restart("coordinator"))
}
