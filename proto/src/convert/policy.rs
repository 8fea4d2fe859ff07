//! Policies on their way to the edges.

use std::time::Duration;

use redial_core::policy::{EndOn, Fanout, OnDecline, PeriodSource, Rule};
use redial_core::{Policy, PolicySet};

use super::{ConvertError, each, millis, missing, narrow, status};
use crate::v1;

impl From<&PolicySet> for v1::PolicySet {
    fn from(set: &PolicySet) -> Self {
        Self { default: Some((&set.default).into()), rules: set.rules.iter().map(Into::into).collect(), max_watches: set.max_watches }
    }
}

impl TryFrom<v1::PolicySet> for PolicySet {
    type Error = ConvertError;
    fn try_from(set: v1::PolicySet) -> Result<Self, ConvertError> {
        Ok(Self { default: missing(set.default, "policy_set.default")?.try_into()?, rules: each(set.rules)?, max_watches: set.max_watches })
    }
}

impl From<&Rule> for v1::policy_set::Rule {
    fn from(rule: &Rule) -> Self {
        Self { domain: rule.domain.clone(), user: rule.user.clone(), policy: Some((&rule.policy).into()) }
    }
}

impl TryFrom<v1::policy_set::Rule> for Rule {
    type Error = ConvertError;
    fn try_from(rule: v1::policy_set::Rule) -> Result<Self, ConvertError> {
        Ok(Self { domain: rule.domain, user: rule.user, policy: missing(rule.policy, "rule.policy")?.try_into()? })
    }
}

impl From<&Policy> for v1::Policy {
    fn from(p: &Policy) -> Self {
        let source = |source: &PeriodSource| match source {
            PeriodSource::Header => v1::PeriodSource::Header.into(),
            PeriodSource::Expires => v1::PeriodSource::Expires.into(),
        };
        let fanout = match p.fanout {
            Fanout::Fifo => v1::Fanout::Fifo,
            Fanout::All => v1::Fanout::All,
        };
        let end_on = match p.end_on {
            EndOn::ReferSent => v1::EndOn::ReferSent,
            EndOn::Established => v1::EndOn::Established,
        };
        Self {
            enabled: p.enabled,
            period_header: p.period_header.clone(),
            period_from: p.period_from.iter().map(source).collect(),
            period_default_ms: millis(p.period_default),
            period_min_ms: millis(p.period_min),
            period_max_ms: millis(p.period_max),
            offline_codes: p.offline_codes.iter().map(|&code| code.into()).collect(),
            forward_expires: p.forward_expires,
            settle_ms: millis(p.settle),
            fanout: fanout.into(),
            recall_timeout_ms: millis(p.recall_timeout),
            end_on: end_on.into(),
            ladder: p.ladder.iter().map(|rung| u32::from(*rung)).collect(),
            max_attempts: p.max_attempts,
            retry_initial_ms: millis(p.retry_initial),
            retry_max_ms: millis(p.retry_max),
            turn_max_ms: millis(p.turn_max),
            max_per_caller: p.max_per_caller,
            max_per_callee: p.max_per_callee,
            credentials: p.credentials.clone(),
            trace_ratio: p.trace_ratio,
            display_text: p.display_text.clone(),
            probe_ms: p.probe.map(millis),
            alert_info: p.alert_info.clone(),
            answer_after: p.answer_after,
            on_decline: match p.on_decline {
                OnDecline::Cancel => v1::OnDecline::Cancel.into(),
                OnDecline::Retry => v1::OnDecline::Retry.into(),
            },
            message: p.message.clone().into_iter().collect(),
            language: p.language.clone(),
        }
    }
}

impl TryFrom<v1::Policy> for Policy {
    type Error = ConvertError;
    fn try_from(p: v1::Policy) -> Result<Self, ConvertError> {
        let source = |source: i32| match v1::PeriodSource::try_from(source).unwrap_or_default() {
            v1::PeriodSource::Unspecified => Err(ConvertError::Missing("policy.period_from")),
            v1::PeriodSource::Header => Ok(PeriodSource::Header),
            v1::PeriodSource::Expires => Ok(PeriodSource::Expires),
        };
        Ok(Self {
            enabled: p.enabled,
            period_from: p.period_from.into_iter().map(source).collect::<Result<_, _>>()?,
            period_header: p.period_header,
            period_default: Duration::from_millis(p.period_default_ms),
            period_min: Duration::from_millis(p.period_min_ms),
            period_max: Duration::from_millis(p.period_max_ms),
            offline_codes: p.offline_codes.into_iter().map(|code| status(code, "policy.offline_codes")).collect::<Result<_, _>>()?,
            forward_expires: p.forward_expires,
            settle: Duration::from_millis(p.settle_ms),
            fanout: match v1::Fanout::try_from(p.fanout).unwrap_or_default() {
                v1::Fanout::Unspecified => return Err(ConvertError::Missing("policy.fanout")),
                v1::Fanout::Fifo => Fanout::Fifo,
                v1::Fanout::All => Fanout::All,
            },
            recall_timeout: Duration::from_millis(p.recall_timeout_ms),
            end_on: match v1::EndOn::try_from(p.end_on).unwrap_or_default() {
                v1::EndOn::Unspecified => return Err(ConvertError::Missing("policy.end_on")),
                v1::EndOn::ReferSent => EndOn::ReferSent,
                v1::EndOn::Established => EndOn::Established,
            },
            ladder: p.ladder.into_iter().map(|rung| narrow(rung, "policy.ladder")).collect::<Result<_, _>>()?,
            max_attempts: p.max_attempts,
            retry_initial: Duration::from_millis(p.retry_initial_ms),
            retry_max: Duration::from_millis(p.retry_max_ms),
            turn_max: Duration::from_millis(p.turn_max_ms),
            max_per_caller: p.max_per_caller,
            max_per_callee: p.max_per_callee,
            credentials: p.credentials,
            trace_ratio: p.trace_ratio,
            display_text: p.display_text,
            probe: p.probe_ms.map(Duration::from_millis),
            alert_info: p.alert_info,
            answer_after: p.answer_after,
            on_decline: match v1::OnDecline::try_from(p.on_decline).unwrap_or_default() {
                v1::OnDecline::Unspecified => return Err(ConvertError::Missing("policy.on_decline")),
                v1::OnDecline::Cancel => OnDecline::Cancel,
                v1::OnDecline::Retry => OnDecline::Retry,
            },
            message: p.message.into_iter().collect(),
            language: p.language,
        })
    }
}
