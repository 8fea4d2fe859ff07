//! Cuts a batch into waves: inside one, no AoR is touched by requests of different kinds, so the kinds may run at the same time and each
//! in one pipeline. Nearly every batch is one wave.

use redial_core::link::{CallReport, Event, ProbeReport, RecallReport, Register, Request, Route};
use redial_core::{Aor, Fence, Pair, TraceContext};
use rustc_hash::FxHashMap;

/// Requests of one kind and, in the same order, their ids.
#[derive(Debug)]
pub(super) struct Lot<T> {
    pub(super) ids: Vec<u64>,
    pub(super) events: Vec<T>,
}

impl<T> Default for Lot<T> {
    fn default() -> Self {
        Self { ids: Vec::new(), events: Vec::new() }
    }
}

impl<T> Lot<T> {
    fn push(&mut self, id: u64, event: T) {
        self.ids.push(id);
        self.events.push(event);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// What an edge reports about a watch.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Report {
    Recall(RecallReport, Option<TraceContext>),
    Call(CallReport, Option<TraceContext>),
}

impl Report {
    pub(super) fn fence(&self) -> Fence {
        match self {
            Self::Recall(report, _) => report.fence,
            Self::Call(report, _) => report.fence,
        }
    }

    pub(super) fn pair(&self) -> &Pair {
        match self {
            Self::Recall(report, _) => &report.pair,
            Self::Call(report, _) => &report.pair,
        }
    }

    /// The span that the report is part of, if it is traced.
    pub(super) fn trace(&self) -> Option<TraceContext> {
        match self {
            Self::Recall(_, trace) | Self::Call(_, trace) => *trace,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Wave {
    pub(super) registers: Lot<Register>,
    pub(super) routes: Lot<Route>,
    pub(super) locates: Lot<Aor>,
    pub(super) reports: Lot<Report>,
    pub(super) probes: Lot<ProbeReport>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Touch {
    Binds,
    Looks,
}

pub(super) fn split(batch: Vec<Request>) -> Vec<Wave> {
    let mixed = {
        let binds = batch.iter().filter(|r| matches!(r.event, Event::Register(_))).count();
        binds > 0 && binds < batch.len()
    };
    let mut waves = Vec::with_capacity(1);
    let mut wave = Wave::default();
    let mut touched: FxHashMap<Aor, Touch> = FxHashMap::default();
    for request in batch {
        if mixed && conflicts(&mut touched, &request.event) {
            waves.push(std::mem::take(&mut wave));
            touched.clear();
            conflicts(&mut touched, &request.event);
        }
        match request.event {
            Event::Register(e) => wave.registers.push(request.id, e),
            Event::Route(e) => wave.routes.push(request.id, e),
            Event::Locate(e) => wave.locates.push(request.id, e.aor),
            Event::RecallReport(e) => wave.reports.push(request.id, Report::Recall(e, request.trace)),
            Event::ProbeReport(e) => wave.probes.push(request.id, e),
            Event::CallReport(e) => wave.reports.push(request.id, Report::Call(e, request.trace)),
        }
    }
    waves.push(wave);
    waves
}

/// Notes what `event` touches; true when the wave holds something that must come before it.
fn conflicts(touched: &mut FxHashMap<Aor, Touch>, event: &Event) -> bool {
    let mut touch = |aor: &Aor, how: Touch| touched.insert(aor.clone(), how).is_some_and(|before| before != how);
    match event {
        Event::Register(e) => touch(&e.aor, Touch::Binds),
        Event::Route(e) => touch(&e.callee, Touch::Looks) | e.caller.as_ref().is_some_and(|caller| touch(caller, Touch::Looks)),
        Event::Locate(e) => touch(&e.aor, Touch::Looks),
        // The fence, not the order, tells whether a report is current.
        Event::RecallReport(_) | Event::CallReport(_) | Event::ProbeReport(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use redial_core::link::{BindingChange, Locate};

    use super::*;

    fn register(id: u64, aor: &str) -> Request {
        let event = Event::Register(Register { aor: Aor::new(aor), call_id: "c".into(), cseq: 1, change: BindingChange::Fetch });
        Request { id, timeout: Duration::from_secs(1), event, trace: None }
    }

    fn locate(id: u64, aor: &str) -> Request {
        Request { id, timeout: Duration::from_secs(1), event: Event::Locate(Locate { aor: Aor::new(aor) }), trace: None }
    }

    fn ids(waves: &[Wave]) -> Vec<(Vec<u64>, Vec<u64>)> {
        waves.iter().map(|w| (w.registers.ids.clone(), w.locates.ids.clone())).collect()
    }

    #[test]
    fn unrelated_requests_are_one_wave() {
        let waves = split(vec![register(1, "a"), locate(2, "b"), register(3, "c"), register(4, "a")]);
        assert_eq!(ids(&waves), [(vec![1, 3, 4], vec![2])]);
    }

    #[test]
    fn requests_of_one_aor_keep_their_order_across_kinds() {
        let waves = split(vec![register(1, "a"), locate(2, "a"), locate(3, "a"), register(4, "a"), locate(5, "b")]);
        assert_eq!(ids(&waves), [(vec![1], vec![]), (vec![], vec![2, 3]), (vec![4], vec![5])]);
    }
}
