//! Who may depend on whom, and under which licences: read from `cargo metadata`, so that it holds for what is really linked.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Our crates and which of our crates each may import, directly, in any kind of dependency. A crate that is not listed is an error.
const MAY_IMPORT: [(&str, &[&str]); 9] = [
    ("redial-core", &[]),
    ("sip-core", &[]),
    ("redial-crd", &["redial-core"]),
    ("redial-runtime", &["redial-core"]),
    ("redial-proto", &["redial-core"]),
    ("sip-edge", &["sip-core", "redial-core", "redial-proto", "redial-runtime"]),
    ("redial-coordinator", &["redial-core", "redial-proto", "redial-crd", "redial-runtime"]),
    ("redial", &["sip-core", "redial-core", "redial-proto", "redial-runtime", "redial-crd", "sip-edge", "redial-coordinator"]),
    (
        "redial-tests",
        &["sip-core", "redial-core", "redial-proto", "redial-runtime", "redial-crd", "sip-edge", "redial-coordinator", "redial"],
    ),
];

/// Crates that only some of ours may name.
const ONLY_IN: [(&str, &[&str]); 2] =
    [("redis", &["redial-coordinator", "redial-tests"]), ("kube", &["redial-runtime", "redial-crd", "redial-coordinator", "redial"])];

/// What the pure cores must not reach, however deep.
const NEVER_BELOW_A_CORE: [&str; 6] = ["tokio", "tonic", "redis", "kube", "hyper", "mio"];

/// Licences whose terms are met by an Apache-2.0 product that carries its dependencies' notices.
const ACCEPTED_LICENCES: [&str; 11] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Crates that name no licence in their Cargo.toml but ship its text: read by us.
const LICENCE_READ: [(&str, &str); 2] = [("rsip", "MIT"), ("rsip-derives", "MIT")];

struct Workspace {
    /// Package id to package.
    packages: BTreeMap<String, Value>,
    members: BTreeSet<String>,
    /// Package id to the ids of what it links: without build and dev dependencies.
    links: BTreeMap<String, Vec<String>>,
}

impl Workspace {
    fn read() -> Result<Self> {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")])
            .output()?;
        ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        let mut metadata: Value = serde_json::from_slice(&output.stdout)?;
        let packages = array(&metadata["packages"])?.iter().map(|p| Ok((text(&p["id"])?, p.clone()))).collect::<Result<_>>()?;
        let members = array(&metadata["workspace_members"])?.iter().map(text).collect::<Result<_>>()?;
        let mut links = BTreeMap::new();
        for node in array(&metadata["resolve"].take()["nodes"])? {
            let linked =
                array(&node["deps"])?.iter().filter(|d| d["dep_kinds"].as_array().is_some_and(|k| k.iter().any(|k| k["kind"].is_null())));
            links.insert(text(&node["id"])?, linked.map(|d| text(&d["pkg"])).collect::<Result<_>>()?);
        }
        Ok(Self { packages, members, links })
    }

    fn name(&self, id: &str) -> &str {
        self.packages[id]["name"].as_str().unwrap_or_default()
    }

    /// Names in the Cargo.toml of each member, dev and build dependencies included.
    fn declared(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        self.members.iter().map(|id| {
            let dependencies = self.packages[id]["dependencies"].as_array();
            (self.name(id), dependencies.into_iter().flatten().filter_map(|d| d["name"].as_str()).collect())
        })
    }

    /// Everything that is linked with `id`.
    fn below(&self, id: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut open = vec![id.to_owned()];
        while let Some(id) = open.pop() {
            for next in self.links.get(&id).into_iter().flatten() {
                if seen.insert(next.as_str()) {
                    open.push(next.clone());
                }
            }
        }
        seen.into_iter().map(|id| self.name(id)).collect()
    }
}

fn array(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().context("cargo metadata has another shape")
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().context("cargo metadata has another shape")?.to_owned())
}

/// An SPDX expression is accepted when we may choose accepted licences only. `/` is the older spelling of OR.
fn accepted(expression: &str) -> bool {
    let expression = expression.replace(" / ", " OR ").replace('/', " OR ");
    split(&expression, " AND ").into_iter().all(|part| {
        let alternatives = split(part, " OR ");
        match alternatives.as_slice() {
            [one] => match one.strip_prefix('(').and_then(|p| p.strip_suffix(')')) {
                Some(inner) => accepted(inner),
                None => ACCEPTED_LICENCES.contains(one),
            },
            several => several.iter().any(|p| accepted(p)),
        }
    })
}

/// Splits outside of parentheses.
fn split<'a>(expression: &'a str, operator: &str) -> Vec<&'a str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, byte) in expression.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ if depth == 0 && at >= start && expression[at..].starts_with(operator) => {
                parts.push(expression[start..at].trim());
                start = at + operator.len();
            }
            _ => {}
        }
    }
    parts.push(expression[start..].trim());
    parts
}

#[test]
fn crates_import_only_what_the_design_allows() -> Result<()> {
    let workspace = Workspace::read()?;
    let allowed: BTreeMap<_, _> = MAY_IMPORT.into_iter().collect();
    let mut wrong = Vec::new();
    for (krate, declared) in workspace.declared() {
        let Some(may) = allowed.get(krate) else {
            wrong.push(format!("{krate} is not in the list of crates"));
            continue;
        };
        wrong.extend(declared.iter().filter(|d| allowed.contains_key(**d) && !may.contains(d)).map(|d| format!("{krate} imports {d}")));
        for (restricted, owners) in ONLY_IN {
            if declared.contains(&restricted) && !owners.contains(&krate) {
                wrong.push(format!("{krate} imports {restricted}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "forbidden imports: {}", wrong.join("; "));
    Ok(())
}

#[test]
fn the_cores_reach_no_runtime_however_deep() -> Result<()> {
    let workspace = Workspace::read()?;
    for core in ["redial-core", "sip-core"] {
        let id = workspace.members.iter().find(|id| workspace.name(id) == core).with_context(|| format!("no crate {core}"))?;
        let below = workspace.below(id);
        let wrong: Vec<_> = NEVER_BELOW_A_CORE.iter().filter(|n| below.contains(**n)).collect();
        ensure!(wrong.is_empty(), "{core} reaches {wrong:?}");
    }
    Ok(())
}

#[test]
fn every_licence_is_one_we_accept() -> Result<()> {
    let workspace = Workspace::read()?;
    let wrong: Vec<_> = workspace
        .packages
        .values()
        .filter(|p| {
            let read = || LICENCE_READ.iter().find(|(name, _)| p["name"] == *name).map(|(_, licence)| *licence);
            !accepted(p["license"].as_str().or_else(read).unwrap_or_default())
        })
        .map(|p| format!("{} {}: {}", p["name"], p["version"], p["license"]))
        .collect();
    ensure!(wrong.is_empty(), "not accepted: {}", wrong.join("; "));
    Ok(())
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    assert!(accepted("(MIT OR GPL-3.0) AND Unicode-3.0"));
    assert!(accepted("Unlicense/MIT"));
    assert!(!accepted("MIT AND GPL-3.0"));
    assert!(!accepted("GPL-3.0 OR (MIT AND SSPL-1.0)"));
    assert!(!accepted(""));
}

#[test]
fn the_committed_resource_definition_is_the_generated_one() -> Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/redial/crds/redialpolicies.yaml");
    let committed = std::fs::read_to_string(path).context(path)?;
    ensure!(committed == redial_crd::yaml()?, "{path} differs from services/redial-crd: run `make crd`");
    Ok(())
}
