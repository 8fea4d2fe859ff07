//! The life of a release: installed, tested, upgraded, rolled back, gone.

use anyhow::{Context as _, Result, ensure};
use redial_tests::until;
use redial_tests::wait::PATIENCE;

use crate::release::{CLUSTERED, Release, registry};
use crate::scenarios::story;

pub fn install() -> Result<String> {
    if CLUSTERED.is_installed() {
        CLUSTERED.uninstall()?;
    }
    CLUSTERED.install()?;
    let count = |component| Ok::<_, anyhow::Error>(CLUSTERED.pods(component)?.len());
    let pods = (count("edge")?, count("coordinator")?, count("redis")?);
    ensure!(pods == (2, 2, 1), "edges, coordinators, Redis: {pods:?}");
    Ok(format!("2 edges, 2 coordinators and Redis are ready{}", whence(&CLUSTERED)?))
}

/// Where a registry is named, every pod's image came from it; so its node says.
pub(super) fn whence(release: &Release) -> Result<String> {
    let Some(registry) = registry() else { return Ok(String::new()) };
    let pulled = format!("Successfully pulled image \"{registry}/redial/");
    for component in ["edge", "coordinator", "redis"] {
        for pod in release.pods(component)? {
            let of_pod = format!("reason=Pulled,involvedObject.name={pod}");
            let said =
                || release.namespace.kubectl(&["get", "events", "--field-selector", &of_pod, "--output=jsonpath={.items[*].message}"]);
            // Events come in after what they tell of.
            until("the event", PATIENCE, || Ok(said()?.contains(&pulled).then_some(()))).with_context(|| format!("{pod}: {:?}", said()))?;
        }
    }
    Ok(format!(", their images pulled from {registry}"))
}

pub fn helm_test() -> Result<String> {
    CLUSTERED.namespace.helm(&["test", CLUSTERED.name, "--timeout", "90s"])?;
    Ok("a story was played from inside".to_owned())
}

/// The key that all edges share: another one would cut every call in progress.
fn secret(release: &Release) -> Result<String> {
    let secret = release.namespace.get(&["secret", &release.object("secret")])?;
    Ok(secret["data"]["secret"].as_str().context("no key in the secret")?.to_owned())
}

/// What a value of the chart became.
fn longest_registration(release: &Release) -> Result<Option<String>> {
    let edge = release.namespace.get(&["deployment", &release.object("edge")])?;
    let args = edge["spec"]["template"]["spec"]["containers"][0]["args"].as_array().context("no arguments")?;
    Ok(args.iter().filter_map(|a| a.as_str()?.strip_prefix("--register-max=").map(str::to_owned)).next())
}

pub fn upgrade_and_rollback() -> Result<String> {
    let release = &CLUSTERED;
    let before = secret(release)?;
    let pods = release.pods("edge")?;
    ensure!(longest_registration(release)?.is_none());
    release.upgrade(&["edge.settings.register-max=2h"])?;
    ensure!(longest_registration(release)?.as_deref() == Some("2h"), "the value did not arrive");
    ensure!(release.pods("edge")?.iter().all(|pod| !pods.contains(pod)), "an edge runs on with the old value");
    ensure!(secret(release)? == before, "the upgrade made a new secret");
    story::by_sipp(release)?;
    release.namespace.helm(&["rollback", release.name, "--wait", "--timeout", "120s"])?;
    ensure!(longest_registration(release)?.is_none(), "the rollback kept the value");
    ensure!(secret(release)? == before, "the rollback made a new secret");
    story::by_sipp(release)?;
    Ok("the value came and went, the secret stayed, a story after each".to_owned())
}

pub fn uninstall() -> Result<String> {
    CLUSTERED.uninstall()?;
    CLUSTERED.namespace.kubectl(&["get", "crd", "redialpolicies.redial.dev"])?;
    CLUSTERED.namespace.kubectl(&["delete", "namespace", CLUSTERED.namespace.0, "--timeout=120s"])?;
    Ok("no object with the release's label is left; the CRD stays, as helm never removes one".to_owned())
}
