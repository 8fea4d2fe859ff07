//! The dashboards and alerts of the chart, as far as they name metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{Expr, VectorSelector, parse};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;

/// One dashboard file.
#[derive(Clone, Debug)]
pub struct Dashboard {
    pub title: String,
    pub panels: Vec<Panel>,
}

/// One panel that shows data.
#[derive(Clone, Debug)]
pub struct Panel {
    pub title: String,
    pub description: String,
    /// `timeseries`, `stat` or `bargauge`.
    pub kind: String,
    pub unit: String,
    /// Width and height in Grafana's grid of 24 columns.
    pub size: (u64, u64),
    pub targets: Vec<Target>,
}

/// One query of a panel.
#[derive(Clone, Debug)]
pub struct Target {
    pub expr: String,
    pub legend: String,
}

/// The folder of the chart that holds `part`.
#[must_use]
pub fn chart(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/redial").join(part)
}

/// Every dashboard of the chart, by file name.
/// # Errors
/// When one is not what Grafana expects.
pub fn dashboards() -> Result<Vec<Dashboard>> {
    let mut files: Vec<_> = std::fs::read_dir(chart("dashboards"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    ensure!(!files.is_empty(), "no dashboards");
    files.iter().map(|path| read(path).with_context(|| path.display().to_string())).collect()
}

fn read(path: &Path) -> Result<Dashboard> {
    let json: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let text = |value: &Value, key: &str| value[key].as_str().map(str::to_owned).with_context(|| format!("{key} is no text in {value}"));
    let target = |t: &Value| Ok(Target { expr: text(t, "expr")?, legend: text(t, "legendFormat")? });
    let panel = |p: &Value| {
        let targets = p["targets"].as_array().context("no targets")?.iter().map(target).collect::<Result<_>>()?;
        let size = (p["gridPos"]["w"].as_u64().context("no width")?, p["gridPos"]["h"].as_u64().context("no height")?);
        let unit = text(&p["fieldConfig"]["defaults"], "unit")?;
        Ok(Panel { title: text(p, "title")?, description: text(p, "description")?, kind: text(p, "type")?, unit, size, targets })
    };
    let panels = json["panels"].as_array().context("no panels")?.iter().filter(|p| p["type"] != "row").map(panel);
    Ok(Dashboard { title: text(&json, "title")?, panels: panels.collect::<Result<_>>()? })
}

/// The query with Grafana's variables filled in.
#[must_use]
pub fn filled_in(expr: &str, interval: &str, range: &str) -> String {
    expr.replace("$__rate_interval", interval).replace("$__range", range).replace("$namespace", ".*").replace("$pod", ".*")
}

/// Alert name and query of every alert.
/// # Errors
/// When the file is no group of rules.
pub fn alerts() -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(chart("alerts/redial.yaml"))?;
    let json: Value = serde_saphyr::from_str(&text).map_err(|error| anyhow::anyhow!("{error}"))?;
    let groups = json["groups"].as_array().context("no groups")?;
    let rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
    rules.map(|rule| Some((rule["alert"].as_str()?.to_owned(), rule["expr"].as_str()?.to_owned()))).collect::<Option<_>>().context("a rule")
}

/// Labels and their values by metric name: what was exported.
pub type Exported = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// Labels that the scrape adds.
const OF_THE_SCRAPE: [&str; 5] = ["namespace", "pod", "component", "job", "instance"];

/// What is wrong with the names in a query, given what is exported.
/// # Errors
/// When it is no PromQL.
pub fn unknown_names(expr: &str, legend: &str, exported: &Exported) -> Result<Vec<String>> {
    let parsed = parse(expr).map_err(|error| anyhow::anyhow!("{expr}: {error}"))?;
    let mut names = Names::default();
    walk_expr(&mut names, &parsed).ok();
    ensure!(!names.selectors.is_empty(), "{expr}: selects nothing");
    let mut wrong = Vec::new();
    let mut carried: BTreeSet<&str> = OF_THE_SCRAPE.into();
    for selector in &names.selectors {
        let Some(labels) = selector.name.as_ref().and_then(|name| exported.get(name)) else {
            wrong.push(format!("{:?} is not exported", selector.name));
            continue;
        };
        carried.extend(labels.keys().map(String::as_str));
        wrong.extend(
            selector.matchers.matchers.iter().filter(|m| !OF_THE_SCRAPE.contains(&m.name.as_str())).filter_map(|m| unmatched(m, labels)),
        );
    }
    wrong.extend(names.by.iter().filter(|label| !carried.contains(label.as_str())).map(|label| format!("no {label} to aggregate by")));
    let in_legend = legend.split("{{").skip(1).filter_map(|part| part.split("}}").next());
    wrong.extend(in_legend.filter(|label| !names.by.contains(*label)).map(|label| format!("no {label} for the legend")));
    Ok(wrong)
}

/// A label, or one of the words that it is compared with, that was never exported. Patterns with more than alternatives are taken as they are.
fn unmatched(matcher: &Matcher, labels: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    let Some(values) = labels.get(&matcher.name) else { return Some(format!("no label {}", matcher.name)) };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '|';
    if matches!(matcher.op, MatchOp::NotEqual | MatchOp::NotRe(_)) || !matcher.value.chars().all(plain) {
        return None;
    }
    let missing: Vec<_> = matcher.value.split('|').filter(|word| !values.contains(*word)).collect();
    (!missing.is_empty()).then(|| format!("{} is never {missing:?}", matcher.name))
}

#[derive(Default)]
struct Names {
    selectors: Vec<VectorSelector>,
    by: BTreeSet<String>,
}

impl ExprVisitor for Names {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Self::Error> {
        match expr {
            Expr::VectorSelector(selector) => self.selectors.push(selector.clone()),
            Expr::MatrixSelector(matrix) => self.selectors.push(matrix.vs.clone()),
            Expr::Aggregate(aggregate) => {
                self.by.extend(aggregate.modifier.iter().flat_map(|by| by.labels().labels.iter().cloned()));
            }
            _ => {}
        }
        Ok(true)
    }
}
