use std::collections::HashMap;

use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::EventType;
use proptest::prelude::*;
use redial_core::Aor;
use redial_crd::{RedialPolicyStatus, WatchCounts};
use serde_json::{Value, json};

use super::set::{Accepted, Compiled, Known, Object, Verdict, compile};
use super::status::{news, next};

fn object(name: &str, created: i64, spec: Value) -> Object {
    Object { name: name.to_owned(), uid: format!("uid-{name}"), generation: 1, created, spec, status: RedialPolicyStatus::default() }
}

fn fresh(objects: &[Object]) -> Compiled {
    compile(objects, &Known::new())
}

fn attempts(compiled: &Compiled, aor: &str) -> u32 {
    compiled.set.for_callee(&Aor::new(aor)).max_attempts
}

fn bad_keys(verdict: &Verdict) -> Vec<&str> {
    match &verdict.accepted {
        Accepted::Invalid(errors) => errors.iter().map(|error| error.key.as_str()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_objects_are_the_built_in_policies() {
    assert_eq!(fresh(&[]), Compiled::default());
}

#[test]
fn selected_policies_inherit_what_the_default_policy_says() {
    let objects = [
        object("everybody", 1, json!({ "settle": "3s", "maxAttempts": 9, "maxWatches": 77 })),
        object("sales", 2, json!({ "selector": { "domain": "Example.com", "user": "sales-*" }, "maxAttempts": 2 })),
    ];
    let compiled = fresh(&objects);
    assert_eq!((compiled.default, compiled.rules.as_slice(), compiled.set.max_watches), (Some(0), &[1][..], 77));
    assert_eq!((attempts(&compiled, "sales-1@example.com"), attempts(&compiled, "bob@example.com")), (2, 9));
    assert_eq!(compiled.set.rules[0].policy.settle, std::time::Duration::from_secs(3));
    assert!(compiled.verdicts.iter().all(|verdict| verdict.accepted == Accepted::Yes && verdict.in_force.is_some()));
}

#[test]
fn priority_then_the_narrower_selector_then_the_name_decides() {
    let rule = |name: &str, domain: &str, user: &str, priority: i32| {
        object(name, 0, json!({ "selector": { "domain": domain, "user": user }, "priority": priority }))
    };
    let objects = [
        rule("z-any", "*", "*", 0),
        rule("b-domain", "b.test", "*", 0),
        rule("a-domain", "a.test", "*", 0),
        rule("short", "a.test", "s*", 0),
        rule("long", "a.test", "sales*", 0),
        rule("exact", "a.test", "s", 0),
        rule("boss", "*", "boss", 5),
        rule("last", "a.test", "x", -1),
    ];
    let compiled = fresh(&objects);
    let names: Vec<&str> = compiled.rules.iter().map(|n| objects[*n].name.as_str()).collect();
    assert_eq!(names, ["boss", "exact", "long", "short", "a-domain", "b-domain", "z-any", "last"]);
}

#[test]
fn of_two_for_the_same_callees_the_older_counts() {
    let same = json!({ "selector": { "domain": "example.com", "user": "*" }, "maxAttempts": 1 });
    let mut other_case = same.clone();
    other_case["selector"]["domain"] = json!("EXAMPLE.com");
    other_case["maxAttempts"] = json!(2);
    let mut higher = same.clone();
    higher["priority"] = json!(1);
    higher["maxAttempts"] = json!(3);
    let young_default = object("a-default", 9, json!({ "maxAttempts": 7 }));
    let old_default = object("b-default", 8, json!({ "maxAttempts": 8 }));
    let objects = [object("young", 5, other_case), object("old", 4, same), object("higher", 9, higher), young_default, old_default];
    let compiled = fresh(&objects);
    assert_eq!(compiled.verdicts[0], Verdict { accepted: Accepted::Conflict("old".into()), in_force: None });
    assert_eq!(compiled.verdicts[3], Verdict { accepted: Accepted::Conflict("b-default".into()), in_force: None });
    assert_eq!((compiled.default, compiled.rules.as_slice()), (Some(4), &[2, 1][..]));
    // With the winner gone the loser counts.
    let compiled = fresh(&objects[..1]);
    assert_eq!(compiled.verdicts[0].accepted, Accepted::Yes);
    // Of the same age, the first by name.
    let twins = [object("b", 1, json!({})), object("a", 1, json!({}))];
    assert_eq!(fresh(&twins).default, Some(1));
}

#[test]
fn a_bad_change_leaves_the_last_good_spec_in_force_and_names_every_key() {
    let mut objects = [
        object("default", 1, json!({ "maxAttempts": 9 })),
        object("sales", 2, json!({ "selector": { "user": "sales-*" }, "maxAttempts": 2, "settle": "2s" })),
    ];
    let good = fresh(&objects);
    let known = good.known(&objects);
    objects[0].spec = json!({ "maxAttempts": "many" });
    objects[1].spec = json!({ "selector": { "user": "sales-*" }, "settle": "soon", "fanout": "some" });
    for object in &mut objects {
        object.generation = 2;
    }
    let compiled = compile(&objects, &known);
    assert_eq!(compiled.set, good.set);
    assert_eq!((bad_keys(&compiled.verdicts[0]), bad_keys(&compiled.verdicts[1])), (vec!["maxAttempts"], vec!["fanout", "settle"]));
    assert!(compiled.verdicts.iter().all(|verdict| verdict.in_force.as_ref().is_some_and(|last| last.generation == 1)));
    // Still so when looked at again, and when the selector itself is broken.
    let known = compiled.known(&objects);
    objects[1].spec = json!({ "selector": 7 });
    assert_eq!(compile(&objects, &known).set, good.set);
    // A replica that has just started has it from the status.
    for (object, verdict) in objects.iter_mut().zip(&good.verdicts) {
        object.status.in_force = verdict.in_force.clone();
    }
    assert_eq!(fresh(&objects).set, good.set);
}

#[test]
fn what_was_never_good_is_left_out() {
    let objects = [
        object("default", 1, json!({ "settle": "soon" })),
        object("sales", 2, json!({ "selector": { "user": "sales-*" }, "nonsense": 1 })),
        object("none", 2, Value::Null),
        object("fine", 3, json!({ "selector": { "user": "bob" } })),
    ];
    let compiled = fresh(&objects);
    assert_eq!((compiled.default, compiled.rules.as_slice()), (None, &[3][..]));
    assert_eq!(compiled.set.default, redial_core::Policy::default());
    assert!(compiled.verdicts[..3].iter().all(|verdict| verdict.in_force.is_none()));
}

#[test]
fn a_new_default_that_contradicts_a_rule_leaves_the_rule_as_it_was() {
    let mut objects = [object("default", 1, json!({})), object("sales", 2, json!({ "selector": { "user": "s" }, "periodMin": "1h" }))];
    let good = fresh(&objects);
    objects[0].spec = json!({ "periodMax": "30m", "periodDefault": "20m" });
    let compiled = compile(&objects, &good.known(&objects));
    assert_eq!(compiled.verdicts[0].accepted, Accepted::Yes);
    assert!(bad_keys(&compiled.verdicts[1]).contains(&"periodMin"));
    assert_eq!(compiled.set.rules, good.set.rules);
}

#[test]
fn a_default_that_gets_a_selector_starts_anew() {
    let mut objects = [object("one", 1, json!({ "maxAttempts": 9 }))];
    let known = fresh(&objects).known(&objects);
    objects[0].spec = json!({ "selector": { "user": "s" }, "maxAttempts": 0 });
    let compiled = compile(&objects, &known);
    assert_eq!((compiled.default, compiled.rules.len(), attempts(&compiled, "bob@a.test")), (None, 0, 5));
}

#[test]
fn a_status_changes_its_times_with_its_conditions_only() {
    let at = |s| Timestamp::from_second(s).unwrap();
    let mut objects = [object("default", 1, json!({}))];
    let good = fresh(&objects);
    let first = next(&objects[0], &good.verdicts[0], None, at(100));
    let conditions = |status: &RedialPolicyStatus| {
        let of = |c: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
            (c.type_.clone(), c.status.clone(), c.reason.clone(), c.last_transition_time.0.as_second())
        };
        status.conditions.iter().map(of).collect::<Vec<_>>()
    };
    let said = |kind: &str, status: &str, reason: &str, at: i64| (kind.to_owned(), status.to_owned(), reason.to_owned(), at);
    assert_eq!(conditions(&first), [said("Accepted", "True", "Accepted", 100), said("Ready", "True", "InForce", 100)]);
    assert_eq!(news(&RedialPolicyStatus::default(), &first).unwrap().type_, EventType::Normal);

    objects[0].status = first.clone();
    assert_eq!(next(&objects[0], &good.verdicts[0], None, at(200)), first);
    let counted = next(&objects[0], &good.verdicts[0], Some(WatchCounts { armed: 3, active: 1 }), at(200));
    assert_eq!((conditions(&counted), counted.watches.unwrap().armed), (conditions(&first), 3));
    assert!(news(&first, &counted).is_none());

    objects[0].status = counted.clone();
    objects[0].spec = json!({ "settle": "soon" });
    objects[0].generation = 2;
    let bad = compile(&objects, &good.known(&objects));
    let invalid = next(&objects[0], &bad.verdicts[0], None, at(300));
    assert_eq!(conditions(&invalid), [said("Accepted", "False", "InvalidSpec", 300), said("Ready", "True", "LastGoodInForce", 100)]);
    assert_eq!((invalid.observed_generation, invalid.in_force.as_ref().unwrap().generation), (Some(2), 1));
    assert_eq!(invalid.watches, counted.watches);
    let event = news(&counted, &invalid).unwrap();
    assert_eq!((event.type_, event.reason.as_str()), (EventType::Warning, "InvalidSpec"));
    assert!(event.note.unwrap().starts_with("settle: "));
    assert!(news(&invalid, &invalid).is_none());
}

#[test]
fn an_object_without_effect_has_no_watches_and_its_note_fits_an_event() {
    let long: serde_json::Map<String, Value> = (0..200).map(|n| (format!("ключ-{n}"), json!(1))).collect();
    let objects = [object("bad", 1, Value::Object(long))];
    let status = next(&objects[0], &fresh(&objects).verdicts[0], Some(WatchCounts { armed: 3, active: 1 }), Timestamp::UNIX_EPOCH);
    assert_eq!((status.watches, status.conditions[1].reason.as_str()), (None, "NotInForce"));
    let note = news(&RedialPolicyStatus::default(), &status).unwrap().note.unwrap();
    assert!(note.len() <= 1024 && note.ends_with("..."));
    assert!(status.conditions[0].message.len() > note.len());
}

fn any_spec() -> impl Strategy<Value = Value> {
    let selector = prop_oneof![
        Just(Value::Null),
        ("(a|b|\\*)", "(s|s\\*|\\*)").prop_map(|(domain, user)| json!({ "domain": domain, "user": user })),
        Just(json!(5)),
    ];
    (selector, 0i64..3, prop_oneof![Just(json!("1s")), Just(json!("2h")), Just(json!("soon")), Just(Value::Null)], 0u32..4).prop_map(
        |(selector, priority, settle, attempts)| json!({ "selector": selector, "priority": priority, "settle": settle, "maxAttempts": attempts }),
    )
}

proptest! {
    /// Whatever objects there are and in whatever order they are listed: every replica has the same policies, one for each default and
    /// selector, and what is in force now would be read back as it is.
    #[test]
    fn replicas_agree_whatever_the_order(
        specs in proptest::collection::vec((any_spec(), any_spec(), 0i64..3), 0..7),
        rotate in 0usize..7,
    ) {
        let before: Vec<Object> = specs.iter().enumerate().map(|(n, (spec, _, age))| object(&format!("p{n}"), *age, spec.clone())).collect();
        let known = fresh(&before).known(&before);
        let objects: Vec<Object> =
            specs.iter().enumerate().map(|(n, (_, spec, age))| object(&format!("p{n}"), *age, spec.clone())).collect();
        let compiled = compile(&objects, &known);
        let mut rotated = objects.clone();
        rotated.rotate_left(rotate.min(objects.len()));
        prop_assert_eq!(&compile(&rotated, &known).set, &compiled.set);
        // From statuses alone, as after a restart.
        let mut restarted = objects.clone();
        for object in &mut restarted {
            object.status.in_force = known.get(&object.uid).cloned();
        }
        prop_assert_eq!(&fresh(&restarted).set, &compiled.set);
        // Settled: looking again changes nothing.
        prop_assert_eq!(&compile(&objects, &compiled.known(&objects)), &compiled);

        prop_assert_eq!(compiled.rules.len(), compiled.set.rules.len());
        let mut seen = HashMap::new();
        for (rule, n) in compiled.set.rules.iter().zip(&compiled.rules) {
            let in_force = compiled.verdicts[*n].in_force.as_ref().unwrap();
            let claim = (rule.domain.clone(), rule.user.clone(), in_force.spec["priority"].clone());
            prop_assert!(seen.insert(claim.0 + "|" + &claim.1 + "|" + &claim.2.to_string(), *n).is_none());
        }
        let in_force = compiled.verdicts.iter().filter(|verdict| verdict.in_force.is_some()).count();
        prop_assert_eq!(in_force, compiled.rules.len() + usize::from(compiled.default.is_some()));
    }
}
