//! What an edge says.

use std::time::Duration;

use redial_core::link::{
    BindingChange, CallReport, CallResult, ContactChange, Event, Locate, ProbeReport, RecallReport, RecallResult, Register, Request,
    RequestedPeriod, Route, RouteStage,
};
use redial_core::{Aor, BindingId, EdgeId, Fence, Flow, Pair, TraceContext};

use super::{ConvertError, each, into_each, millis, missing, narrow, status, traceparent};
use crate::v1;

impl From<Request> for v1::Request {
    fn from(r: Request) -> Self {
        Self { id: r.id, timeout_ms: millis(r.timeout), event: Some(r.event.into()), traceparent: traceparent(r.trace) }
    }
}

impl TryFrom<v1::Request> for Request {
    type Error = ConvertError;
    fn try_from(r: v1::Request) -> Result<Self, ConvertError> {
        let event = missing(r.event, "request.event")?.try_into()?;
        Ok(Self { id: r.id, timeout: Duration::from_millis(r.timeout_ms), event, trace: TraceContext::parse(&r.traceparent) })
    }
}

impl From<Event> for v1::request::Event {
    fn from(e: Event) -> Self {
        match e {
            Event::Register(e) => Self::Register(e.into()),
            Event::Route(e) => Self::Route(e.into()),
            Event::Locate(e) => Self::Locate(v1::Locate { aor: e.aor.as_str().into() }),
            Event::RecallReport(e) => Self::RecallReport(e.into()),
            Event::CallReport(e) => Self::CallReport(e.into()),
            Event::ProbeReport(e) => Self::ProbeReport(v1::ProbeReport { aor: e.aor.as_str().into(), binding: e.binding.0 }),
        }
    }
}

impl TryFrom<v1::request::Event> for Event {
    type Error = ConvertError;
    fn try_from(e: v1::request::Event) -> Result<Self, ConvertError> {
        use v1::request::Event as Wire;
        Ok(match e {
            Wire::Register(e) => Self::Register(e.try_into()?),
            Wire::Route(e) => Self::Route(e.try_into()?),
            Wire::Locate(e) => Self::Locate(Locate { aor: Aor::new(e.aor) }),
            Wire::RecallReport(e) => Self::RecallReport(e.try_into()?),
            Wire::CallReport(e) => Self::CallReport(e.try_into()?),
            Wire::ProbeReport(e) => Self::ProbeReport(ProbeReport { aor: Aor::new(e.aor), binding: BindingId(e.binding) }),
        })
    }
}

impl From<Pair> for v1::Pair {
    fn from(p: Pair) -> Self {
        Self { callee: p.callee.as_str().into(), caller: p.caller.as_str().into() }
    }
}

impl From<v1::Pair> for Pair {
    fn from(p: v1::Pair) -> Self {
        Self { callee: Aor::new(p.callee), caller: Aor::new(p.caller) }
    }
}

impl From<Register> for v1::Register {
    fn from(r: Register) -> Self {
        use v1::register::{Change, Contacts, Fetch, RemoveAll};
        let change = match r.change {
            BindingChange::Fetch => Change::Fetch(Fetch {}),
            BindingChange::RemoveAll => Change::RemoveAll(RemoveAll {}),
            BindingChange::Each(changes) => Change::Contacts(Contacts { changes: into_each(changes) }),
        };
        Self { aor: r.aor.as_str().into(), call_id: r.call_id, cseq: r.cseq, change: Some(change) }
    }
}

impl TryFrom<v1::Register> for Register {
    type Error = ConvertError;
    fn try_from(r: v1::Register) -> Result<Self, ConvertError> {
        use v1::register::Change;
        let change = match missing(r.change, "register.change")? {
            Change::Fetch(_) => BindingChange::Fetch,
            Change::RemoveAll(_) => BindingChange::RemoveAll,
            Change::Contacts(c) => BindingChange::Each(each(c.changes)?),
        };
        Ok(Self { aor: Aor::new(r.aor), call_id: r.call_id, cseq: r.cseq, change })
    }
}

impl From<ContactChange> for v1::ContactChange {
    fn from(c: ContactChange) -> Self {
        use v1::contact_change::Change;
        let change = match c {
            ContactChange::Put(binding) => Change::Put(binding.into()),
            ContactChange::Remove(id) => Change::Remove(id.0),
        };
        Self { change: Some(change) }
    }
}

impl TryFrom<v1::ContactChange> for ContactChange {
    type Error = ConvertError;
    fn try_from(c: v1::ContactChange) -> Result<Self, ConvertError> {
        use v1::contact_change::Change;
        Ok(match missing(c.change, "contact_change.change")? {
            Change::Put(record) => Self::Put(record.try_into()?),
            Change::Remove(id) => Self::Remove(BindingId(id)),
        })
    }
}

impl From<Route> for v1::Route {
    fn from(r: Route) -> Self {
        use v1::route::{OptOut, Period, Stage};
        Self {
            callee: r.callee.as_str().into(),
            caller: r.caller.map(|aor| aor.as_str().into()),
            authenticated: r.authenticated,
            flow: r.flow.as_str().into(),
            edge: r.edge.as_str().into(),
            period: match r.period {
                RequestedPeriod::Absent => None,
                RequestedPeriod::Seconds(s) => Some(Period::Seconds(s)),
                RequestedPeriod::OptOut => Some(Period::OptOut(OptOut {})),
            },
            stage: match r.stage {
                RouteStage::Lookup => Stage::Lookup.into(),
                RouteStage::Ringing => Stage::Ringing.into(),
                RouteStage::Offline => Stage::Offline.into(),
            },
        }
    }
}

impl TryFrom<v1::Route> for Route {
    type Error = ConvertError;
    fn try_from(r: v1::Route) -> Result<Self, ConvertError> {
        use v1::route::{Period, Stage};
        Ok(Self {
            callee: Aor::new(r.callee),
            caller: r.caller.map(Aor::new),
            authenticated: r.authenticated,
            flow: Flow::new(r.flow),
            edge: EdgeId::new(r.edge),
            period: match r.period {
                None => RequestedPeriod::Absent,
                Some(Period::Seconds(s)) => RequestedPeriod::Seconds(s),
                Some(Period::OptOut(_)) => RequestedPeriod::OptOut,
            },
            stage: match Stage::try_from(r.stage) {
                Ok(Stage::Lookup) => RouteStage::Lookup,
                Ok(Stage::Ringing) => RouteStage::Ringing,
                Ok(Stage::Offline) => RouteStage::Offline,
                Err(unknown) => return Err(ConvertError::Range { field: "route.stage", value: unknown.0.try_into().unwrap_or_default() }),
            },
        })
    }
}

impl From<RecallReport> for v1::RecallReport {
    fn from(r: RecallReport) -> Self {
        use v1::recall_report::{Accepted, Result, Silent, Unanswered, Unreachable};
        let result = match r.result {
            RecallResult::Accepted => Result::Accepted(Accepted {}),
            RecallResult::Refused(code) => Result::Refused(code.into()),
            RecallResult::Unreachable => Result::Unreachable(Unreachable {}),
            RecallResult::Silent => Result::Silent(Silent {}),
            RecallResult::Notified(code) => Result::Notified(code.into()),
            RecallResult::Unanswered => Result::Unanswered(Unanswered {}),
            RecallResult::Declined(code) => Result::Declined(code.into()),
        };
        Self { pair: Some(r.pair.into()), fence: r.fence.0, rung: r.rung.into(), result: Some(result) }
    }
}

impl TryFrom<v1::RecallReport> for RecallReport {
    type Error = ConvertError;
    fn try_from(r: v1::RecallReport) -> Result<Self, ConvertError> {
        use v1::recall_report::Result;
        Ok(Self {
            pair: missing(r.pair, "recall_report.pair")?.into(),
            fence: Fence(r.fence),
            rung: narrow(r.rung, "recall_report.rung")?,
            result: match missing(r.result, "recall_report.result")? {
                Result::Accepted(_) => RecallResult::Accepted,
                Result::Refused(code) => RecallResult::Refused(status(code, "recall_report.refused")?),
                Result::Unreachable(_) => RecallResult::Unreachable,
                Result::Silent(_) => RecallResult::Silent,
                Result::Notified(code) => RecallResult::Notified(status(code, "recall_report.notified")?),
                Result::Unanswered(_) => RecallResult::Unanswered,
                Result::Declined(code) => RecallResult::Declined(status(code, "recall_report.declined")?),
            },
        })
    }
}

impl From<CallReport> for v1::CallReport {
    fn from(r: CallReport) -> Self {
        use v1::call_report::{Cancelled, Ended, Established, Result};
        let result = match r.result {
            CallResult::Established => Result::Established(Established {}),
            CallResult::Failed(code) => Result::Failed(code.into()),
            CallResult::Cancelled => Result::Cancelled(Cancelled {}),
            CallResult::Ended => Result::Ended(Ended {}),
            CallResult::Challenged(code) => Result::Challenged(code.into()),
        };
        Self { pair: Some(r.pair.into()), fence: r.fence.0, result: Some(result) }
    }
}

impl TryFrom<v1::CallReport> for CallReport {
    type Error = ConvertError;
    fn try_from(r: v1::CallReport) -> Result<Self, ConvertError> {
        use v1::call_report::Result;
        Ok(Self {
            pair: missing(r.pair, "call_report.pair")?.into(),
            fence: Fence(r.fence),
            result: match missing(r.result, "call_report.result")? {
                Result::Established(_) => CallResult::Established,
                Result::Failed(code) => CallResult::Failed(status(code, "call_report.failed")?),
                Result::Cancelled(_) => CallResult::Cancelled,
                Result::Ended(_) => CallResult::Ended,
                Result::Challenged(code) => CallResult::Challenged(status(code, "call_report.challenged")?),
            },
        })
    }
}
