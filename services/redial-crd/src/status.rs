//! What the coordinators answer.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What the coordinators made of the policy. One of them writes it; all of them go by the same objects.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::manifest::without_null)]
pub struct RedialPolicyStatus {
    /// The generation of the object that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted: the policy as it is written now is taken. Ready: it, or what it was when it was last accepted, is in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The watches that the policy is for at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watches: Option<WatchCounts>,
    /// What is in force: what was last accepted, with everything that it inherits. It stays in force while the policy as it is written
    /// now is not accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_force: Option<InForce>,
}

/// Counted by walking through all watches, so a number is up to two minutes old on an installation with a million of them, and some
/// seconds on a small one.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchCounts {
    /// Watches that wait for the callee or for their turn.
    #[schemars(range(min = 0))]
    pub armed: i64,
    /// Watches that are being recalled, or whose new call is being set up.
    #[schemars(range(min = 0))]
    pub active: i64,
}

/// A policy that was accepted.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InForce {
    /// The generation of the object that was accepted.
    pub generation: i64,
    /// Every field, as in `spec`.
    #[schemars(schema_with = "any_object")]
    pub spec: Map<String, Value>,
}

/// Whatever version wrote it.
fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
