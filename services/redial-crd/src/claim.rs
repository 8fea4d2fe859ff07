//! An object's `spec`, as it came from the API server, to the keys of the policy file.
//!
//! Untyped on purpose: an object that a schema of another version let pass, or that no schema checked, must be read key by key and
//! reported, not break the list of all objects.

use redial_core::policy::{Policy, PolicyError, PolicySet, Rule};
use serde_json::{Map, Value as Json};
use toml::{Table, Value};

/// Whom a policy is for, and its keys, not yet checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    pub scope: Scope,
    keys: Table,
}

/// Whom a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// No selector: whoever no other policy matches.
    Default,
    /// The callees of its selector; higher priorities are tried first.
    Selected { priority: i32 },
}

impl Claim {
    /// Finds out whom the policy is for.
    ///
    /// # Errors
    /// Keys around the policy that are wrong: `selector`, `priority`.
    pub fn read(spec: &Json) -> Result<Self, Vec<PolicyError>> {
        let mut errors = Vec::new();
        let mut wrong = |key: &str, problem: String| errors.push(PolicyError { key: key.to_owned(), problem });
        let Json::Object(spec) = spec else {
            wrong("", "expected spec to be an object".to_owned());
            return Err(errors);
        };
        let mut keys = table(spec);
        let priority = match keys.remove("priority") {
            None => 0,
            Some(value) => value.as_integer().and_then(|n| i32::try_from(n).ok()).unwrap_or_else(|| {
                wrong("priority", format!("expected a whole number, found {value}"));
                0
            }),
        };
        // The names of the rule's keys in the file; here they are in the selector.
        for key in ["domain", "user"] {
            if keys.remove(key).is_some() {
                wrong(key, "unknown key".to_owned());
            }
        }
        let scope = match keys.remove("selector") {
            None => Scope::Default,
            Some(Value::Table(selector)) => {
                for (key, value) in selector {
                    match key.as_str() {
                        "domain" | "user" => _ = keys.insert(key, value),
                        _ => wrong(&format!("selector.{key}"), "unknown key".to_owned()),
                    }
                }
                Scope::Selected { priority }
            }
            Some(value) => {
                wrong("selector", format!("expected an object, found {value}"));
                Scope::Default
            }
        };
        if scope == Scope::Default && priority != 0 {
            wrong("priority", "is given, but there is no selector".to_owned());
        }
        if errors.is_empty() { Ok(Self { scope, keys }) } else { Err(errors) }
    }

    /// The set of a default policy, without rules.
    ///
    /// # Errors
    /// Every key that is wrong.
    pub fn default_set(&self) -> Result<PolicySet, Vec<PolicyError>> {
        PolicySet::from_keys(self.keys.clone())
    }

    /// The rule of a policy with a selector, over the default policy.
    ///
    /// # Errors
    /// Every key that is wrong.
    pub fn rule(&self, base: &Policy) -> Result<Rule, Vec<PolicyError>> {
        Rule::from_keys(self.keys.clone(), base).map_err(|errors| errors.into_iter().map(within_selector).collect())
    }

    /// The `spec` that spells out all of a default policy.
    #[must_use]
    pub fn spell_default(set: &PolicySet) -> Map<String, Json> {
        json(set.keys())
    }

    /// The `spec` that spells out all of a rule.
    #[must_use]
    pub fn spell_rule(rule: &Rule, priority: i32) -> Map<String, Json> {
        let mut spec = json(rule.keys());
        let selector: Map<String, Json> = ["domain", "user"].into_iter().filter_map(|key| spec.remove_entry(key)).collect();
        spec.insert("selector".to_owned(), Json::Object(selector));
        spec.insert("priority".to_owned(), Json::from(priority));
        spec
    }
}

fn within_selector(error: PolicyError) -> PolicyError {
    match error.key.as_str() {
        "domain" | "user" => PolicyError { key: format!("selector.{}", error.key), ..error },
        _ => error,
    }
}

/// `null` is as good as absent.
fn table(object: &Map<String, Json>) -> Table {
    object.iter().filter_map(|(key, value)| Some((key.clone(), toml_value(value)?))).collect()
}

fn toml_value(value: &Json) -> Option<Value> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(flag) => Value::Boolean(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Integer(whole),
            None => Value::Float(number.as_f64()?),
        },
        Json::String(text) => Value::String(text.clone()),
        Json::Array(items) => Value::Array(items.iter().filter_map(toml_value).collect()),
        Json::Object(object) => Value::Table(table(object)),
    })
}

fn json(table: Table) -> Map<String, Json> {
    table.into_iter().map(|(key, value)| (key, json_value(value))).collect()
}

fn json_value(value: Value) -> Json {
    match value {
        Value::String(text) => Json::String(text),
        Value::Integer(whole) => Json::from(whole),
        Value::Float(number) => Json::from(number),
        Value::Boolean(flag) => Json::Bool(flag),
        Value::Datetime(time) => Json::String(time.to_string()),
        Value::Array(items) => Json::Array(items.into_iter().map(json_value).collect()),
        Value::Table(table) => Json::Object(json(table)),
    }
}
