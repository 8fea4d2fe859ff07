//! kubectl and helm, as an operator calls them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// One namespace of the cluster that KUBECONFIG names.
#[derive(Clone, Copy, Debug)]
pub struct Namespace(pub &'static str);

impl Namespace {
    /// # Errors
    /// When kubectl fails, with what it said.
    pub fn kubectl(self, args: &[&str]) -> Result<String> {
        run("kubectl", &[&["--namespace", self.0], args].concat(), None)
    }

    /// # Errors
    /// When helm fails, with what it said.
    pub fn helm(self, args: &[&str]) -> Result<String> {
        run("helm", &[&["--namespace", self.0], args].concat(), None)
    }

    /// What `kubectl get ARGS -o json` says.
    /// # Errors
    /// When there is no such object.
    pub fn get(self, args: &[&str]) -> Result<Value> {
        let said = self.kubectl(&[&["get", "--output", "json"], args].concat())?;
        serde_json::from_str(&said).context("kubectl printed no JSON")
    }

    /// # Errors
    /// When the API server refuses the manifest, with its reason.
    pub fn apply(self, manifest: &str) -> Result<String> {
        run("kubectl", &["--namespace", self.0, "apply", "--filename", "-"], Some(manifest))
    }

    /// Makes the namespace unless it is there.
    /// # Errors
    /// When the API server refuses.
    pub fn create(self) -> Result<()> {
        let Self(name) = self;
        self.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}")).map(drop)
    }

    /// Makes what `kubectl create secret ARGS` would, in the place of what is there.
    /// # Errors
    /// When a file is not there, or the API server refuses.
    pub fn put_secret(self, args: &[&str]) -> Result<()> {
        let manifest = self.kubectl(&[&["create", "secret"], args, &["--dry-run=client", "--output=json"]].concat())?;
        self.apply(&manifest).map(drop)
    }

    /// Whether kubectl's request is refused for want of a right.
    /// # Errors
    /// When it is not refused, or for another reason.
    pub fn ensure_forbidden(self, args: &[&str]) -> Result<()> {
        match self.kubectl(args) {
            Ok(said) => bail!("kubectl {} was let through: {said}", args.join(" ")),
            Err(refused) if format!("{refused:#}").contains("Forbidden") => Ok(()),
            Err(other) => Err(other),
        }
    }
}

fn run(program: &str, args: &[&str], input: Option<&str>) -> Result<String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{program} does not start: is it on PATH?"))?;
    if let (Some(input), Some(stdin)) = (input, child.stdin.as_mut()) {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", args.join(" "), said.trim());
    Ok(String::from_utf8(output.stdout)?)
}
