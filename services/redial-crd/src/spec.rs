//! What an operator writes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::status::RedialPolicyStatus;

/// The choices for one group of callees. Whatever is left out is taken from the default policy of the namespace, the RedialPolicy without
/// `selector`; what that leaves out has the default that is given here. Durations are written 90s, 500ms or 1h30m.
#[allow(clippy::duplicated_attributes, reason = "every column and every rule has its own")]
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "redial.dev",
    version = "v1alpha1",
    kind = "RedialPolicy",
    plural = "redialpolicies",
    shortname = "rpol",
    category = "redial",
    namespaced,
    status = "RedialPolicyStatus",
    derive = "PartialEq",
    doc = "Who is recalled, when and how: the choices for one group of callees. The coordinators of the installation take all RedialPolicies \
           of one namespace.",
    printcolumn(name = "Domain", type_ = "string", json_path = ".spec.selector.domain", description = "Domain of the callees"),
    printcolumn(name = "User", type_ = "string", json_path = ".spec.selector.user", description = "User part of the callees"),
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority", description = "Higher ones are tried first"),
    printcolumn(name = "Armed", type_ = "integer", json_path = ".status.watches.armed", description = "Watches that wait for the callee"),
    printcolumn(name = "Active", type_ = "integer", json_path = ".status.watches.active", description = "Watches that are being recalled"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the policy is in force"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].reason",
        description = "What became of the policy as it is written now",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::manifest::without_null)]
#[x_kube(
    validation = Rule::new("has(self.selector) || !has(self.priority) || self.priority == 0")
        .message("the default policy, which has no selector, has no priority: it is what no other policy matches"),
    validation = Rule::new("!has(self.selector) || !has(self.maxWatches)")
        .message("maxWatches counts all callees together, so only the default policy, which has no selector, may set it"),
    validation = Rule::new("!has(self.periodMin) || duration(self.periodMin) >= duration('1s')")
        .message("periodMin must be at least 1s, because 0 opts out"),
    validation = Rule::new("!has(self.periodMin) || !has(self.periodMax) || duration(self.periodMin) <= duration(self.periodMax)")
        .message("periodMin is longer than periodMax"),
    validation = Rule::new("!has(self.periodMin) || !has(self.periodDefault) || duration(self.periodMin) <= duration(self.periodDefault)")
        .message("periodDefault is shorter than periodMin"),
    validation = Rule::new("!has(self.periodDefault) || !has(self.periodMax) || duration(self.periodDefault) <= duration(self.periodMax)")
        .message("periodDefault is longer than periodMax"),
    validation = Rule::new("!has(self.settle) || !has(self.periodMax) || duration(self.settle) < duration(self.periodMax)")
        .message("settle is not shorter than periodMax, so nobody would be recalled"),
    validation = Rule::new("!has(self.retryInitial) || !has(self.retryMax) || duration(self.retryInitial) <= duration(self.retryMax)")
        .message("retryInitial is longer than retryMax"),
    validation = Rule::new("!has(self.recallTimeout) || duration(self.recallTimeout) > duration('0s')")
        .message("recallTimeout must be longer than 0"),
    validation = Rule::new("!has(self.turnMax) || duration(self.turnMax) > duration('0s')").message("turnMax must be longer than 0")
)]
pub struct RedialPolicySpec {
    /// The callees that the policy is for. Without it this is the default policy, of which a namespace has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Of the policies that match a callee, the one with the highest priority counts. Of equal ones: a domain before any domain, a user part
    /// without * before one with it, a longer user part before a shorter one, and last the order of names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "priority")]
    pub priority: Option<i32>,
    /// Watches of all callees together, in the default policy only. Default 1000000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_watches: Option<i64>,
    /// False: callers of callees who are away get a plain 480. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Header of the INVITE that carries the monitoring period in seconds. Default Redial-Period.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[A-Za-z0-9.!%*_+`'~-]+$"))]
    pub period_header: Option<String>,
    /// Where a period may come from, in this order. Default header, expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2))]
    #[x_kube(validation = Rule::new("self.all(s, self.exists_one(t, t == s))").message("periodFrom names a source twice"))]
    pub period_from: Option<Vec<PeriodSource>>,
    /// The period of an INVITE that names none. Default 1h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_default: Option<Duration>,
    /// Shorter periods count as absent. Default 60s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_min: Option<Duration>,
    /// Longer periods are cut to this. Default 24h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_max: Option<Duration>,
    /// In front of existing servers: their final answers that say that the callee is offline, without 401 and 407; none: their answers arm no
    /// watch. Default 404, 408, 410, 430, 480, 503.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), inner(range(min = 400, max = 699)))]
    #[x_kube(validation = Rule::new("self.all(c, self.exists_one(d, d == c))").message("offlineCodes names a code twice"))]
    #[x_kube(validation = Rule::new("!(401 in self) && !(407 in self)").message("offlineCodes has 401 or 407, which ask for a password"))]
    pub offline_codes: Option<Vec<i32>>,
    /// Forward the INVITE's Expires header to the callee. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_expires: Option<bool>,
    /// Time between the callee's REGISTER and the recall. Default 1s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settle: Option<Duration>,
    /// One caller at a time, longest waiting first, or every caller at once. Default fifo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fanout: Option<Fanout>,
    /// How long after an accepted recall the caller's INVITE may take. Default 20s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recall_timeout: Option<Duration>,
    /// When a watch has served its purpose. Default established.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_on: Option<EndOn>,
    /// Rungs of the recall ladder, in order. 1: REFER without subscription, 2: REFER with its subscription, 3: a call that is
    /// transferred, 4: MESSAGE. Default 1, 2, 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4), inner(range(min = 1, max = 4)))]
    #[x_kube(validation = Rule::new("self.all(r, self.exists_one(s, s == r))").message("ladder names a rung twice"))]
    pub ladder: Option<Vec<i32>>,
    /// Recalls that may fail before the watch ends as failed. Default 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_i64))]
    pub max_attempts: Option<i64>,
    /// Wait after the first failed recall; doubles each time. Default 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_initial: Option<Duration>,
    /// Longest wait between recalls. Default 10m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_max: Option<Duration>,
    /// A callee's turn ends at the latest this long after its call was answered, in case the BYE is never seen. Default 15m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_max: Option<Duration>,
    /// Watches one caller may have. Default 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_i64))]
    pub max_per_caller: Option<i64>,
    /// Watches one callee may gather. Default 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_i64))]
    pub max_per_callee: Option<i64>,
    /// Share of watches whose story is traced, where an OpenTelemetry collector is named: 0.0 to 1.0; 0 is off. Default 0.01.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub trace_ratio: Option<f64>,
    /// Entry of the coordinator's credentials file for callers' phones that challenge a recall; empty: none. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub credentials: Option<String>,
    /// How often the last contact of a watched callee whose registration ran out is asked by OPTIONS whether it is there, like 5m, or never.
    /// Default never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(never|([0-9]+(d|h|m|s|ms))+)$"))]
    pub probe: Option<String>,
    /// Rung 3, the display name of the call; {callee} and {caller} stand for the addresses. Default {callee} is back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub display_text: Option<String>,
    /// Rung 3: value of the call's Alert-Info header; empty: none. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub alert_info: Option<String>,
    /// Rung 3: the phone is asked to answer by itself after so many whole seconds, like 0s or 2s, or never. Default never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(never|[0-9]{1,4}s)$"))]
    pub answer_after: Option<String>,
    /// Rung 3: what it means that the caller is busy or declines. Default cancel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_decline: Option<OnDecline>,
    /// Rung 4: texts by language tag, with {callee} and {caller}. Default English.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<BTreeMap<String, String>>,
    /// Rung 4: which of the texts is sent. Default en.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 35))]
    pub language: Option<String>,
}

/// Callees by address-of-record, user@domain.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// Domain of the callee, compared without case; * stands for any.
    #[serde(default = "any")]
    #[schemars(length(max = 255), regex(pattern = r"^(\*|[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])$"))]
    pub domain: String,
    /// User part of the callee, compared with case; every * stands for any run of characters.
    #[serde(default = "any")]
    #[schemars(length(max = 255), regex(pattern = r"^[^@\s]+$"))]
    pub user: String,
}

/// A length of time: 90s, 500ms, 1h30m. The form of the Gateway API, which the API server can compare too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Duration(pub String);

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 28, "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$" })
    }
}

/// Where an INVITE may say how long to wait.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PeriodSource {
    Header,
    Expires,
}

/// Who is recalled when the callee is back.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fanout {
    Fifo,
    All,
}

/// When a watch has served its purpose.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndOn {
    ReferSent,
    Established,
}

/// What a caller means who is busy or declines the call of rung 3.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnDecline {
    Cancel,
    Retry,
}

fn any() -> String {
    "*".to_owned()
}

/// The only field whose default stands in the schema: it is inherited from nowhere.
fn priority(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "default": 0 })
}
