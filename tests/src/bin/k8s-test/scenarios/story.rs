//! The story as sipp's phones tell it, from outside.

use anyhow::{Result, ensure};
use redial_tests::ports;
use redial_tests::stories::{self, End};

use crate::load::Outside;
use crate::release::{CLUSTERED, ON_NODES, Release};
use crate::scenarios::install::whence;

/// Alice misses bob, bob comes back, alice is recalled and they talk.
pub fn by_sipp(release: &Release) -> Result<()> {
    let outside = Outside::facing(release.address()?)?;
    // Apart, so that edges may differ.
    let (alice, bob) = (ports::free_at(outside.address(0))?, ports::free_at(outside.address(1))?);
    let run = alice.port();
    let (caller, callee) = (format!("alice{run}"), format!("bob{run}"));
    let (caller, callee) = (End::new(&caller, alice, outside.server), End::new(&callee, bob, outside.server));
    stories::by_sipp(caller, callee)?;
    callee.unregister()?;
    caller.unregister()
}

pub fn through_a_node_port() -> Result<String> {
    by_sipp(&CLUSTERED)?;
    CLUSTERED.ensure_no_watch_is_left()?;
    Ok(format!("by udp:{}", CLUSTERED.address()?))
}

pub fn on_nodes() -> Result<String> {
    let release = &ON_NODES;
    if release.is_installed() {
        release.uninstall()?;
    }
    release.install()?;
    ensure!(!release.pods("edge")?.is_empty());
    let whence = whence(release)?;
    by_sipp(release)?;
    release.namespace.helm(&["test", release.name, "--timeout", "90s"])?;
    release.ensure_no_watch_is_left()?;
    release.abandon()?;
    Ok(format!("by udp:{}{whence}", release.address()?))
}
