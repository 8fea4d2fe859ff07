//! Policy: every choice an operator has about watches, by domain and user pattern.

use std::time::Duration;

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
    /// Forward the INVITE's Expires header to the callee. Default false.
    pub forward_expires: bool,
    /// Time between the callee's REGISTER and the recall. Default 1 s.
    pub settle: Duration,
    pub fanout: Fanout,
    /// How long after an accepted recall the caller's INVITE may take. Default 20 s.
    pub recall_timeout: Duration,
    pub end_on: EndOn,
    /// Rungs of the recall ladder, in order. Default 1, 2.
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
