use std::collections::BTreeSet;
use std::sync::LazyLock;

use kube::CustomResourceExt;
use proptest::prelude::*;
use redial_core::policy::{Policy, PolicySet, Rule};
use serde_json::{Value, json};

use crate::{Claim, EndOn, Fanout, PeriodSource, RedialPolicy, RedialPolicySpec, Scope, Selector};

/// The schema of `spec`, as the API server sees it.
fn schema() -> Value {
    let crd = serde_json::to_value(RedialPolicy::crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

fn properties() -> BTreeSet<String> {
    schema()["properties"].as_object().unwrap().keys().cloned().collect()
}

fn errors(spec: &Value) -> Vec<String> {
    let checked = Claim::read(spec).and_then(|claim| match claim.scope {
        Scope::Default => claim.default_set().map(drop),
        Scope::Selected { .. } => claim.rule(&Policy::default()).map(drop),
    });
    checked.err().unwrap_or_default().into_iter().map(|error| error.to_string()).collect()
}

#[test]
fn the_resource_has_every_key_of_the_policy_file_and_no_other() {
    let mut file: BTreeSet<String> = PolicySet::default().keys().keys().cloned().collect();
    file.extend(["selector", "priority"].map(str::to_owned));
    assert_eq!(properties(), file, "left: RedialPolicySpec, right: redial_core::policy");
}

#[test]
fn no_field_is_required_or_nullable_and_only_the_priority_has_a_default() {
    let schema = schema();
    assert_eq!(schema["required"], Value::Null);
    for (name, property) in schema["properties"].as_object().unwrap() {
        assert_eq!(property["nullable"], Value::Null, "{name}");
        assert!(property["type"].is_string(), "{name}: {property}");
        assert_eq!(property["default"].is_null(), name != "priority", "{name}");
        assert!(property["description"].is_string(), "{name}");
    }
}

#[test]
fn what_core_has_by_default_satisfies_the_schema_and_is_read_as_the_default() {
    let set = PolicySet::default();
    let spelled = Value::Object(Claim::spell_default(&set));
    let typed: RedialPolicySpec = serde_json::from_value(spelled.clone()).unwrap();
    assert_eq!(kube_cel::Validator::new().validate(&schema(), &spelled, None), Ok(()));
    assert_eq!(Claim::read(&spelled).unwrap().default_set(), Ok(set));
    assert_eq!(typed.ladder, Some(vec![1, 2, 3]));
}

#[test]
fn a_typed_policy_is_read_as_what_it_says() {
    let spec = RedialPolicySpec {
        selector: Some(Selector { domain: "Example.COM".into(), user: "sales-*".into() }),
        priority: Some(7),
        period_from: Some(vec![PeriodSource::Expires]),
        fanout: Some(Fanout::All),
        end_on: Some(EndOn::ReferSent),
        settle: Some(crate::Duration("1m30s".into())),
        max_attempts: Some(3),
        ..RedialPolicySpec::default()
    };
    let claim = Claim::read(&serde_json::to_value(&spec).unwrap()).unwrap();
    assert_eq!(claim.scope, Scope::Selected { priority: 7 });
    let base = Policy { max_per_callee: 9, ..Policy::default() };
    let rule = claim.rule(&base).unwrap();
    assert_eq!((rule.domain.as_str(), rule.user.as_str()), ("example.com", "sales-*"));
    let expected = Policy {
        period_from: vec![redial_core::policy::PeriodSource::Expires],
        fanout: redial_core::policy::Fanout::All,
        end_on: redial_core::policy::EndOn::ReferSent,
        settle: std::time::Duration::from_secs(90),
        max_attempts: 3,
        ..base
    };
    assert_eq!(rule.policy, expected);
}

#[test]
fn every_bad_key_is_named_and_null_is_absent() {
    let said = errors(&json!({
        "selector": { "domain": "", "user": 5, "host": "x" }, "priority": "high", "user": "bob",
        "settle": "soon", "ladder": [1, null, 1], "nonsense": 1, "enabled": null,
    }));
    for key in ["selector.host: unknown key", "priority: expected", "user: unknown key"] {
        assert!(said.iter().any(|line| line.starts_with(key)), "{key} in {said:?}");
    }
    let said = errors(&json!({
        "selector": { "domain": "", "user": 5 }, "settle": "soon", "ladder": [1, 1], "nonsense": 1, "enabled": null, "maxAttempts": 1.5,
        "maxWatches": 7,
    }));
    for key in ["selector.domain:", "selector.user:", "settle:", "ladder:", "nonsense:", "maxAttempts:", "maxWatches: unknown key"] {
        assert_eq!(said.iter().filter(|line| line.starts_with(key)).count(), 1, "{key} in {said:?}");
    }
    assert_eq!(said.len(), 7, "{said:?}");
    assert!(errors(&json!({ "priority": 1 }))[0].starts_with("priority:"));
    assert!(errors(&json!({ "selector": 1 }))[0].starts_with("selector:"));
    assert_eq!(errors(&json!([])).len(), 1);
    assert_eq!(errors(&json!({ "selector": null, "priority": 0 })), Vec::<String>::new());
}

/// Pairs that the API server and the core must judge alike.
const CONTRADICTIONS: [&str; 15] = [
    r#"{"priority": 1}"#,
    r#"{"maxWatches": 5, "selector": {"user": "bob"}}"#,
    r#"{"periodMin": "0s"}"#,
    r#"{"periodMin": "2h", "periodMax": "1h", "periodDefault": "2h"}"#,
    r#"{"periodMin": "2m", "periodDefault": "1m"}"#,
    r#"{"periodDefault": "2h", "periodMax": "1h"}"#,
    r#"{"settle": "1h", "periodMax": "1h"}"#,
    r#"{"retryInitial": "1h", "retryMax": "59m"}"#,
    r#"{"recallTimeout": "0ms"}"#,
    r#"{"turnMax": "0s"}"#,
    r#"{"ladder": [1, 1]}"#,
    r#"{"periodFrom": ["header", "header"]}"#,
    r#"{"offlineCodes": [480, 480]}"#,
    r#"{"offlineCodes": [401]}"#,
    r#"{"offlineCodes": [480, 407]}"#,
];

#[test]
fn the_api_server_refuses_the_contradictions_that_core_refuses() {
    let schema = schema();
    for text in CONTRADICTIONS {
        let spec: Value = serde_json::from_str(text).unwrap();
        assert!(kube_cel::Validator::new().validate(&schema, &spec, None).is_err(), "API server: {text}");
        assert!(!errors(&spec).is_empty(), "core: {text}");
    }
}

fn span() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-3]{1,2}(s|m)",
        "[0-9]{1,5}(h|m|s|ms)",
        Just("1h".to_owned()),
        Just("1h30m".to_owned()),
        Just("24h".to_owned()),
        Just("90m".to_owned())
    ]
}

const SPANS: [&str; 8] = ["periodMin", "periodDefault", "periodMax", "settle", "retryInitial", "retryMax", "recallTimeout", "turnMax"];

static COMPILED: LazyLock<kube_cel::CompiledSchema> = LazyLock::new(|| kube_cel::compile_schema(&schema()));

/// Longer than core has room for; the schema's pattern does not say so.
fn too_long(errors: &[String]) -> bool {
    errors.iter().any(|error| error.contains("is longer than 366 days"))
}

proptest! {
    /// With every duration given there is nothing to inherit, so what the API server accepts must be what core accepts.
    #[test]
    fn the_api_server_and_core_agree_on_durations(spans in proptest::collection::vec(span(), SPANS.len())) {
        let spec: Value = SPANS.iter().zip(spans).map(|(key, span)| ((*key).to_owned(), Value::from(span))).collect();
        let said = errors(&spec);
        prop_assume!(!too_long(&said));
        let refused = kube_cel::validate_compiled(&COMPILED, &spec, None).is_err();
        prop_assert_eq!(refused, !said.is_empty(), "{} {:?}", spec, said);
    }

    #[test]
    fn a_spelled_out_rule_is_read_back_whatever_the_default(
        attempts in 1u32..,
        settle in 0u64..60_000,
        priority in any::<i32>(),
        domain in "[a-z.*]{1,9}",
        user in "\\PC{1,9}",
    ) {
        let policy = Policy { max_attempts: attempts, settle: std::time::Duration::from_millis(settle), ..Policy::default() };
        let rule = Rule { domain, user, policy };
        let claim = Claim::read(&Value::Object(Claim::spell_rule(&rule, priority))).unwrap();
        prop_assert_eq!(claim.scope, Scope::Selected { priority });
        let base = Policy { enabled: false, max_per_caller: 3, ..Policy::default() };
        prop_assert_eq!(claim.rule(&base), Ok(rule));
    }
}
