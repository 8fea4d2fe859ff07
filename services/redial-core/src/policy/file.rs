//! The policy file: TOML to [`PolicySet`] and back.
//!
//! Every unknown key and every bad value is reported, one line per key, before anything is used; nothing is corrected silently.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::{Table, Value};

use super::{EndOn, Fanout, OnDecline, PeriodSource, Policy, PolicySet, Rule, duration};

/// One key of the policy file and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct PolicyError {
    /// Dotted path, with the number of a rule from 0: `rule[2].periodMin`. Empty when the text is no TOML at all.
    pub key: String,
    pub problem: String,
}

impl PolicySet {
    /// Reads a policy file.
    ///
    /// # Errors
    /// Everything that is wrong with it, one entry per key.
    pub fn parse(text: &str) -> Result<Self, Vec<PolicyError>> {
        let mut table: Table = text
            .parse()
            .map_err(|e: toml::de::Error| vec![PolicyError { key: String::new(), problem: e.to_string().trim().to_owned() }])?;
        let mut errors = Errors::default();
        let mut set = Self::default();
        if let Some(value) = table.remove(MAX_WATCHES) {
            errors.take("", MAX_WATCHES, whole::<u64>(&value).and_then(at_least_one), &mut set.max_watches);
        }
        if let Some(value) = table.remove("default") {
            match value {
                Value::Table(keys) => set.default = errors.policy("default", Policy::default(), keys),
                _ => errors.push("", "default", "expected a table".to_owned()),
            }
        }
        if let Some(value) = table.remove("rule") {
            match value {
                Value::Array(rules) => {
                    for (n, rule) in rules.into_iter().enumerate() {
                        match rule {
                            Value::Table(keys) => set.rules.push(errors.rule(&format!("rule[{n}]"), set.default.clone(), keys)),
                            _ => errors.push("", &format!("rule[{n}]"), "expected a table".to_owned()),
                        }
                    }
                }
                _ => errors.push("", "rule", "expected [[rule]] tables".to_owned()),
            }
        }
        for key in table.keys() {
            errors.push("", key, "unknown key".to_owned());
        }
        errors.or(set)
    }

    /// The set as text that [`PolicySet::parse`] reads back to the same set. Every rule spells out every key.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut table = Table::new();
        table.insert(MAX_WATCHES.to_owned(), whole_number(self.max_watches));
        table.insert("default".to_owned(), Value::Table(print(&self.default)));
        if !self.rules.is_empty() {
            table.insert("rule".to_owned(), Value::Array(self.rules.iter().map(|rule| Value::Table(rule.keys())).collect()));
        }
        table.to_string()
    }

    /// A set without rules, from the keys of a default policy with `maxWatches` beside them: where policies are objects of their own.
    ///
    /// # Errors
    /// Everything that is wrong, by plain key.
    pub fn from_keys(mut keys: Table) -> Result<Self, Vec<PolicyError>> {
        let mut errors = Errors::default();
        let mut set = Self::default();
        if let Some(value) = keys.remove(MAX_WATCHES) {
            errors.take("", MAX_WATCHES, whole::<u64>(&value).and_then(at_least_one), &mut set.max_watches);
        }
        set.default = errors.policy("", Policy::default(), keys);
        errors.or(set)
    }

    /// What [`Self::from_keys`] reads: every key of the default policy and `maxWatches`.
    #[must_use]
    pub fn keys(&self) -> Table {
        let mut keys = print(&self.default);
        keys.insert(MAX_WATCHES.to_owned(), whole_number(self.max_watches));
        keys
    }
}

impl Rule {
    /// A rule from the keys of one `[[rule]]`; what they leave out is taken from `base`.
    ///
    /// # Errors
    /// Everything that is wrong, by plain key.
    pub fn from_keys(keys: Table, base: &Policy) -> Result<Self, Vec<PolicyError>> {
        let mut errors = Errors::default();
        let rule = errors.rule("", base.clone(), keys);
        errors.or(rule)
    }

    /// Every key of the rule, so that [`Self::from_keys`] reads the same rule whatever the base.
    #[must_use]
    pub fn keys(&self) -> Table {
        let mut keys = print(&self.policy);
        keys.insert("domain".to_owned(), Value::String(self.domain.clone()));
        keys.insert("user".to_owned(), Value::String(self.user.clone()));
        keys
    }
}

/// The one key that is no part of a policy but of all together.
const MAX_WATCHES: &str = "maxWatches";

#[derive(Default)]
struct Errors(Vec<PolicyError>);

impl Errors {
    /// One entry per key: the first problem stands.
    fn push(&mut self, scope: &str, key: &str, problem: String) {
        let key = if scope.is_empty() { key.to_owned() } else { format!("{scope}.{key}") };
        if !self.0.iter().any(|e| e.key == key) {
            self.0.push(PolicyError { key, problem });
        }
    }

    fn take<T>(&mut self, scope: &str, key: &str, read: Result<T, String>, field: &mut T) {
        match read {
            Ok(value) => *field = value,
            Err(problem) => self.push(scope, key, problem),
        }
    }

    fn or<T>(self, value: T) -> Result<T, Vec<PolicyError>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }

    fn rule(&mut self, scope: &str, base: Policy, mut keys: Table) -> Rule {
        let (mut domain, mut user) = ("*".to_owned(), "*".to_owned());
        if let Some(value) = keys.remove("domain") {
            self.take(scope, "domain", string(&value).and_then(not_empty), &mut domain);
        }
        if let Some(value) = keys.remove("user") {
            self.take(scope, "user", string(&value).and_then(not_empty), &mut user);
        }
        Rule { domain: domain.to_ascii_lowercase(), user, policy: self.policy(scope, base, keys) }
    }

    fn policy(&mut self, scope: &str, mut policy: Policy, keys: Table) -> Policy {
        for (key, value) in &keys {
            if let Err(problem) = apply(&mut policy, key, value) {
                self.push(scope, key, problem);
            }
        }
        for (key, problem) in contradictions(&policy) {
            self.push(scope, key, problem);
        }
        policy
    }
}

/// Sets the field that `key` names.
fn apply(policy: &mut Policy, key: &str, value: &Value) -> Result<(), String> {
    match key {
        "enabled" => policy.enabled = boolean(value)?,
        "periodHeader" => policy.period_header = string(value).and_then(header_name)?,
        "periodFrom" => {
            policy.period_from = list(value, |v| one_of(v, &[("header", PeriodSource::Header), ("expires", PeriodSource::Expires)]))?;
        }
        "periodDefault" => policy.period_default = time(value)?,
        "periodMin" => policy.period_min = time(value)?,
        "periodMax" => policy.period_max = time(value)?,
        "offlineCodes" => policy.offline_codes = list(value, offline_code)?,
        "forwardExpires" => policy.forward_expires = boolean(value)?,
        "settle" => policy.settle = time(value)?,
        "fanout" => policy.fanout = one_of(value, &[("fifo", Fanout::Fifo), ("all", Fanout::All)])?,
        "recallTimeout" => policy.recall_timeout = time(value)?,
        "endOn" => policy.end_on = one_of(value, &[("referSent", EndOn::ReferSent), ("established", EndOn::Established)])?,
        "ladder" => policy.ladder = list(value, rung)?,
        "maxAttempts" => policy.max_attempts = whole::<u32>(value).and_then(at_least_one)?,
        "retryInitial" => policy.retry_initial = time(value)?,
        "retryMax" => policy.retry_max = time(value)?,
        "turnMax" => policy.turn_max = time(value)?,
        "maxPerCaller" => policy.max_per_caller = whole::<u32>(value).and_then(at_least_one)?,
        "maxPerCallee" => policy.max_per_callee = whole::<u32>(value).and_then(at_least_one)?,
        "probe" => policy.probe = if value.as_str() == Some(NEVER) { None } else { Some(time(value)?) },
        "displayText" => policy.display_text = string(value).and_then(text)?,
        "alertInfo" => policy.alert_info = string(value).and_then(text).map(optional)?,
        "answerAfter" => policy.answer_after = seconds_or_never(value)?,
        "onDecline" => policy.on_decline = one_of(value, &[("cancel", OnDecline::Cancel), ("retry", OnDecline::Retry)])?,
        "message" => policy.message = texts(value)?,
        "language" => policy.language = string(value).and_then(language)?,
        "credentials" => policy.credentials = string(value).map(optional)?,
        "traceRatio" => policy.trace_ratio = ratio(value)?,
        _ => return Err("unknown key".to_owned()),
    }
    Ok(())
}

/// What no operator can mean, by the key to look at.
fn contradictions(p: &Policy) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut refuse = |wrong: bool, key: &'static str, problem: &str| {
        if wrong {
            found.push((key, problem.to_owned()));
        }
    };
    refuse(p.period_min < Duration::from_secs(1), "periodMin", "must be at least 1s, because 0 opts out");
    refuse(p.period_min > p.period_max, "periodMin", "is longer than periodMax");
    refuse(p.period_default < p.period_min, "periodDefault", "is shorter than periodMin");
    refuse(p.period_default > p.period_max, "periodDefault", "is longer than periodMax");
    refuse(p.settle >= p.period_max, "settle", "is not shorter than periodMax, so nobody would be recalled");
    refuse(p.recall_timeout.is_zero(), "recallTimeout", "must be longer than 0");
    refuse(p.turn_max.is_zero(), "turnMax", "must be longer than 0");
    refuse(p.retry_initial > p.retry_max, "retryInitial", "is longer than retryMax");
    refuse(p.ladder.is_empty(), "ladder", "must have at least one rung");
    refuse(repeats(&p.ladder), "ladder", "names a rung twice");
    refuse(!p.message.contains_key(&p.language), "language", "has no text in message");
    refuse(
        p.probe.is_some_and(|interval| interval < MIN_PROBE),
        "probe",
        "must be at least 10s: an unanswered OPTIONS is repeated for 32 s",
    );
    refuse(repeats(&p.offline_codes), "offlineCodes", "names a code twice");
    refuse(repeats(&p.period_from), "periodFrom", "names a source twice");
    found
}

fn repeats<T: PartialEq>(list: &[T]) -> bool {
    list.iter().enumerate().any(|(n, item)| list[..n].contains(item))
}

fn whole_number(n: u64) -> Value {
    Value::Integer(i64::try_from(n).unwrap_or(i64::MAX))
}

fn print(p: &Policy) -> Table {
    let string = |s: &str| Value::String(s.to_owned());
    let time = |d| Value::String(duration::print(d));
    let number = |n: u32| Value::Integer(i64::from(n));
    let sources = p.period_from.iter().map(|source| match source {
        PeriodSource::Header => string("header"),
        PeriodSource::Expires => string("expires"),
    });
    let fanout = match p.fanout {
        Fanout::Fifo => "fifo",
        Fanout::All => "all",
    };
    let end_on = match p.end_on {
        EndOn::ReferSent => "referSent",
        EndOn::Established => "established",
    };
    let on_decline = match p.on_decline {
        OnDecline::Cancel => "cancel",
        OnDecline::Retry => "retry",
    };
    [
        ("enabled", Value::Boolean(p.enabled)),
        ("periodHeader", string(&p.period_header)),
        ("periodFrom", Value::Array(sources.collect())),
        ("periodDefault", time(p.period_default)),
        ("periodMin", time(p.period_min)),
        ("periodMax", time(p.period_max)),
        ("offlineCodes", Value::Array(p.offline_codes.iter().map(|&code| Value::Integer(code.into())).collect())),
        ("forwardExpires", Value::Boolean(p.forward_expires)),
        ("settle", time(p.settle)),
        ("fanout", string(fanout)),
        ("recallTimeout", time(p.recall_timeout)),
        ("endOn", string(end_on)),
        ("ladder", Value::Array(p.ladder.iter().map(|&r| Value::Integer(i64::from(r))).collect())),
        ("maxAttempts", number(p.max_attempts)),
        ("retryInitial", time(p.retry_initial)),
        ("retryMax", time(p.retry_max)),
        ("turnMax", time(p.turn_max)),
        ("maxPerCaller", number(p.max_per_caller)),
        ("maxPerCallee", number(p.max_per_callee)),
        ("probe", p.probe.map_or_else(|| string(NEVER), time)),
        ("displayText", string(&p.display_text)),
        ("alertInfo", string(p.alert_info.as_deref().unwrap_or_default())),
        ("answerAfter", p.answer_after.map_or_else(|| string(NEVER), |s| time(Duration::from_secs(s.into())))),
        ("onDecline", string(on_decline)),
        ("message", Value::Table(p.message.iter().map(|(language, text)| (language.clone(), string(text))).collect())),
        ("language", string(&p.language)),
        ("credentials", string(p.credentials.as_deref().unwrap_or_default())),
        ("traceRatio", Value::Float(p.trace_ratio)),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

fn boolean(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| expected("true or false", value))
}

fn string(value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| expected("a string", value))
}

const MIN_PROBE: Duration = Duration::from_secs(10);

const NEVER: &str = "never";

fn seconds_or_never(value: &Value) -> Result<Option<u32>, String> {
    if value.as_str() == Some(NEVER) {
        return Ok(None);
    }
    let duration = time(value)?;
    let seconds = u32::try_from(duration.as_secs()).ok().filter(|_| duration.subsec_nanos() == 0);
    seconds.map(Some).ok_or_else(|| expected("whole seconds or \"never\"", value))
}

/// Becomes part of a header, so it is one line.
fn text(text: String) -> Result<String, String> {
    if text.chars().any(char::is_control) { Err("has a control character".to_owned()) } else { Ok(text) }
}

/// RFC 5646, as far as a header needs it to be right.
fn language(tag: String) -> Result<String, String> {
    let right =
        !tag.is_empty() && tag.split('-').all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()));
    if right { Ok(tag) } else { Err(format!("{tag:?} is no language tag")) }
}

/// Language to text. A MESSAGE outside of a call must stay below 1300 bytes (RFC 3428 section 8), headers included.
fn texts(value: &Value) -> Result<BTreeMap<String, String>, String> {
    let table = value.as_table().ok_or_else(|| expected("a table of language = \"text\"", value))?;
    let entry = |(tag, value): (&String, &Value)| {
        let text = string(value)?;
        let fits = !text.is_empty() && text.len() <= MAX_MESSAGE;
        if fits { Ok((language(tag.clone())?, text)) } else { Err(format!("the text for {tag} must have 1 to {MAX_MESSAGE} bytes")) }
    };
    table.iter().map(entry).collect()
}

const MAX_MESSAGE: usize = 500;

/// Empty is none, so that a rule can take back what the default gives.
fn optional(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn not_empty(text: String) -> Result<String, String> {
    if text.is_empty() { Err("is empty, use \"*\" for any".to_owned()) } else { Ok(text) }
}

/// A header name is a token (RFC 3261 section 25.1).
fn header_name(text: String) -> Result<String, String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
    if !text.is_empty() && text.bytes().all(token) { Ok(text) } else { Err(format!("{text:?} is no header name")) }
}

fn time(value: &Value) -> Result<Duration, String> {
    match value {
        Value::String(text) => duration::parse(text),
        Value::Integer(seconds) => duration::parse(&seconds.to_string()),
        _ => Err(expected("a duration like \"90s\"", value)),
    }
}

fn whole<T: TryFrom<i64>>(value: &Value) -> Result<T, String> {
    value.as_integer().and_then(|n| T::try_from(n).ok()).ok_or_else(|| expected("a whole number in range", value))
}

fn ratio(value: &Value) -> Result<f64, String> {
    let number = value.as_float().or_else(|| i32::try_from(value.as_integer()?).ok().map(f64::from));
    number.filter(|n| (0.0..=1.0).contains(n)).ok_or_else(|| expected("a number from 0.0 to 1.0", value))
}

fn at_least_one<T: PartialOrd + From<u8>>(n: T) -> Result<T, String> {
    if n >= T::from(1) { Ok(n) } else { Err("must be at least 1".to_owned()) }
}

fn rung(value: &Value) -> Result<u8, String> {
    match value.as_integer() {
        Some(rung @ 1..=4) => Ok(rung as u8),
        _ => Err(expected("rungs 1 (REFER), 2 (REFER with subscription), 3 (call and transfer) or 4 (MESSAGE)", value)),
    }
}

/// A final answer that is no challenge (RFC 3261 section 21.4 and on).
fn offline_code(value: &Value) -> Result<u16, String> {
    let code = value.as_integer().and_then(|code| u16::try_from(code).ok());
    code.filter(|code| (400..700).contains(code) && ![401, 407].contains(code))
        .ok_or_else(|| expected("status codes from 400 to 699 without 401 and 407", value))
}

fn one_of<T: Copy>(value: &Value, words: &[(&str, T)]) -> Result<T, String> {
    let found = value.as_str().and_then(|text| words.iter().find(|(word, _)| *word == text));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        expected(&words.join(" or "), value)
    })
}

fn list<T>(value: &Value, item: impl Fn(&Value) -> Result<T, String>) -> Result<Vec<T>, String> {
    value.as_array().ok_or_else(|| expected("a list", value))?.iter().map(item).collect()
}

fn expected(what: &str, value: &Value) -> String {
    format!("expected {what}, found {value}")
}

#[cfg(test)]
mod tests;
