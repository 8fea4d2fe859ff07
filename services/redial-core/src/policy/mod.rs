//! Policy: every choice an operator has about watches, by domain and user pattern.

mod duration;
mod file;
mod pattern;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Aor;

pub use file::PolicyError;

/// The policy of one group of callees.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// False: INVITEs to offline callees get a plain 480.
    pub enabled: bool,
    /// Header that carries the monitoring period in seconds. Default `Redial-Period`.
    pub period_header: String,
    /// Where a period may come from, in this order. Default both.
    pub period_from: Vec<PeriodSource>,
    /// Default 3600 s.
    pub period_default: Duration,
    /// Shorter periods count as absent. Default 60 s.
    pub period_min: Duration,
    /// Longer periods are cut to this. Default 86400 s.
    pub period_max: Duration,
    /// Final answers of a server upstream that say that the callee is offline; none: its answers arm no watch. Default 404, 408, 410, 430, 480, 503.
    pub offline_codes: Vec<u16>,
    /// Forward the INVITE's Expires header to the callee. Default false.
    pub forward_expires: bool,
    /// Time between the callee's REGISTER and the recall. Default 1 s.
    pub settle: Duration,
    pub fanout: Fanout,
    /// How long after an accepted recall the caller's INVITE may take. Default 20 s.
    pub recall_timeout: Duration,
    pub end_on: EndOn,
    /// Rungs of the recall ladder, in order. Default 1, 2, 3.
    pub ladder: Vec<u8>,
    /// Recalls that may fail before the watch ends as failed. Default 5.
    pub max_attempts: u32,
    /// Wait after the first failed recall; doubles each time. Default 30 s.
    pub retry_initial: Duration,
    /// Longest wait between recalls. Default 600 s.
    pub retry_max: Duration,
    /// A callee's turn ends at the latest this long after its call was answered, in case the BYE is never seen. Default 900 s.
    pub turn_max: Duration,
    /// Watches one caller may have. Default 16.
    pub max_per_caller: u32,
    /// Watches one callee may gather. Default 256.
    pub max_per_callee: u32,
    /// Entry of the coordinator's credentials file for callers' phones that challenge a recall. Default none: such a phone counts as
    /// refusing.
    pub credentials: Option<String>,
    /// Share of watches whose story is traced, 0.0 to 1.0; 0 is off. Without an OTLP endpoint nothing is. Default 0.01.
    pub trace_ratio: f64,
    /// How often the last known contact of a watched callee is asked by OPTIONS whether it is there, while its registration has run out. One
    /// request and one answer each time and callee; sent again ten times within 32 s to a phone that is off. Default: never.
    pub probe: Option<Duration>,
    /// Rung 3, the display name of the call: `{callee}` and `{caller}` stand for the addresses. Default `{callee} is back`.
    pub display_text: String,
    /// Rung 3: value of an Alert-Info header (RFC 3261 section 20.4), for phones that ring in another way by it. Default none.
    pub alert_info: Option<String>,
    /// Rung 3: the phone is asked to answer by itself after so many seconds (`answer-after` in Call-Info). Default: it is not asked.
    pub answer_after: Option<u32>,
    pub on_decline: OnDecline,
    /// Rung 4: texts by language tag (RFC 5646), with `{callee}` and `{caller}`. Default English.
    pub message: BTreeMap<String, String>,
    /// Rung 4: which of them is sent. Default `en`.
    pub language: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeriodSource {
    Header,
    Expires,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fanout {
    /// One caller at a time, longest waiting first.
    Fifo,
    /// Every caller at once.
    All,
}

/// What a caller means who is busy or declines the call of rung 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDecline {
    /// Forget it: the watch ends as cancelled.
    Cancel,
    /// Not now: a failed attempt, tried again later.
    Retry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndOn {
    ReferSent,
    Established,
}

/// All policies of an installation: rules tried in order, then the default.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicySet {
    pub default: Policy,
    pub rules: Vec<Rule>,
    /// Watches of all callers together. Default 1,000,000. Enforced against the last sweep's count, so it may be overshot by what arrives in between.
    pub max_watches: u64,
}

/// One `[[rule]]` of the policy file.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Domain of the callee; `*` matches any.
    pub domain: String,
    /// User part of the callee, with `*` for any run of characters.
    pub user: String,
    pub policy: Policy,
}

impl Default for Policy {
    fn default() -> Self {
        const S: Duration = Duration::from_secs(1);
        Self {
            enabled: true,
            period_header: "Redial-Period".to_owned(),
            period_from: vec![PeriodSource::Header, PeriodSource::Expires],
            period_default: 3600 * S,
            period_min: 60 * S,
            period_max: 86_400 * S,
            offline_codes: vec![404, 408, 410, 430, 480, 503],
            forward_expires: false,
            settle: S,
            fanout: Fanout::Fifo,
            recall_timeout: 20 * S,
            end_on: EndOn::Established,
            ladder: vec![1, 2, 3],
            max_attempts: 5,
            retry_initial: 30 * S,
            retry_max: 600 * S,
            turn_max: 900 * S,
            max_per_caller: 16,
            max_per_callee: 256,
            credentials: None,
            trace_ratio: 0.01,
            probe: None,
            display_text: "{callee} is back".to_owned(),
            alert_info: None,
            answer_after: None,
            on_decline: OnDecline::Cancel,
            message: BTreeMap::from([("en".to_owned(), "{callee} can be reached again.".to_owned())]),
            language: "en".to_owned(),
        }
    }
}

impl Default for PolicySet {
    fn default() -> Self {
        Self { default: Policy::default(), rules: Vec::new(), max_watches: 1_000_000 }
    }
}

impl PolicySet {
    /// The policy of the first rule that matches, else the default. Allocates nothing.
    #[must_use]
    pub fn for_callee(&self, callee: &Aor) -> &Policy {
        self.rules.iter().find(|rule| rule.matches(callee)).map_or(&self.default, |rule| &rule.policy)
    }
}

impl Rule {
    /// Domains compare without case, users with (RFC 3261 section 19.1.4).
    #[must_use]
    pub fn matches(&self, callee: &Aor) -> bool {
        (self.domain == "*" || self.domain.eq_ignore_ascii_case(callee.domain())) && pattern::matches(&self.user, callee.user())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(domain: &str, user: &str, max_attempts: u32) -> Rule {
        Rule { domain: domain.to_owned(), user: user.to_owned(), policy: Policy { max_attempts, ..Policy::default() } }
    }

    #[test]
    fn first_matching_rule_wins_then_the_default() {
        let set = PolicySet {
            rules: vec![rule("Example.com", "sales-*", 1), rule("example.com", "*", 2), rule("*", "boss", 3)],
            ..PolicySet::default()
        };
        let attempts = |aor: &str| set.for_callee(&Aor::new(aor)).max_attempts;
        assert_eq!(attempts("sales-1@example.com"), 1);
        assert_eq!(attempts("bob@example.com"), 2);
        assert_eq!(attempts("boss@example.org"), 3);
        assert_eq!(attempts("bob@example.org"), 5);
        assert_eq!(attempts("Boss@example.org"), 5);
    }
}
