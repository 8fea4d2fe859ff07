//! What edges report about recalls and calls. Every report is noted; one about an older state of the watch changes nothing.

use futures_util::future::join_all;
use redial_core::link::{CallResult, RecallResult, Reply};
use redial_core::machine::Input;
use redial_core::store::StoreError;
use redial_core::watch::State;
use redial_core::{EdgeGateway, Pair, UnixMillis, Watch, WatchStore};
use rustc_hash::FxHashMap;

use super::carry::Outcome;
use super::wave::{Lot, Report};
use super::{AGAIN, Engine, story};
use crate::metrics::{Kind, RecallStep};
use crate::timers::Wake;

impl<S: WatchStore, G: EdgeGateway> Engine<S, G> {
    pub(super) async fn report(&self, now: UnixMillis, lot: Lot<Report>) -> Vec<(u64, Reply)> {
        if lot.is_empty() {
            return Vec::new();
        }
        self.metrics.requests(Kind::Report, lot.ids.len());
        let mut of_pair: FxHashMap<Pair, Vec<(u64, Report)>> = FxHashMap::default();
        for (id, report) in lot.ids.into_iter().zip(lot.events) {
            self.count(&report);
            of_pair.entry(report.pair().clone()).or_default().push((id, report));
        }
        let (pairs, reports): (Vec<Pair>, Vec<_>) = of_pair.into_iter().unzip();
        let loaded = self.store.load(&pairs).await;
        self.note(now, &loaded);
        let Ok(records) = loaded else { return self.failed(Kind::Report, reports.into_iter().flatten().map(|(id, _)| id)) };
        let done = pairs.iter().zip(records).zip(reports).map(|((pair, record), reports)| self.report_in_order(now, pair, record, reports));
        join_all(done).await.into_iter().flatten().collect()
    }

    async fn report_in_order(
        &self,
        now: UnixMillis,
        pair: &Pair,
        mut record: Option<Watch>,
        reports: Vec<(u64, Report)>,
    ) -> Vec<(u64, Reply)> {
        let mut replies = Vec::with_capacity(reports.len());
        for (id, report) in reports {
            let result = self.take_in(now, pair, record.take(), &report).await;
            self.note(now, &result);
            match result {
                Ok(()) => replies.push((id, Reply::Noted)),
                Err(_) => replies.extend(self.failed(Kind::Report, [id])),
            }
        }
        replies
    }

    async fn take_in(&self, now: UnixMillis, pair: &Pair, record: Option<Watch>, report: &Report) -> Result<(), StoreError> {
        let input = match report {
            Report::Recall(r, _) => Input::Recall { fence: r.fence, rung: r.rung, result: r.result },
            Report::Call(r, _) => Input::Call { fence: r.fence, result: r.result },
        };
        let said = |result| matches!(report, Report::Call(r, _) if r.result == result);
        let record = record.map(|watch| story::continued(watch, report.trace()));
        let outcome = self.apply(now, pair, record, input).await;
        if outcome.is_err() && said(CallResult::Established) {
            // Whoever has been connected must not be recalled: the edge does not say it again.
            self.schedule(now.after(AGAIN), Wake::Connected(pair.clone(), report.fence()));
        }
        match outcome? {
            // The answer ended the watch and kept the turn for the length of the call. A watch that the pair has armed since, or that is
            // back in the queue, has no use for the turn either.
            Outcome::Gone => {
                if said(CallResult::Ended) {
                    self.turn_over(now, pair).await?;
                } else {
                    self.metrics.stale_report();
                }
            }
            Outcome::Unchanged(watch) if said(CallResult::Ended) && watch.state == State::Armed => self.turn_over(now, pair).await?,
            Outcome::Unchanged(_) | Outcome::Stale => self.metrics.stale_report(),
            Outcome::Stepped(_) | Outcome::Ended(_) | Outcome::TurnTaken { .. } | Outcome::Elsewhere => {}
        }
        Ok(())
    }

    async fn turn_over(&self, now: UnixMillis, pair: &Pair) -> Result<(), StoreError> {
        self.store.release_turn(pair).await?;
        self.schedule(now, Wake::Serve(pair.callee.clone()));
        Ok(())
    }

    fn count(&self, report: &Report) {
        if let Report::Recall(r, _) = report {
            let step = match r.result {
                RecallResult::Accepted => RecallStep::Accepted,
                RecallResult::Refused(_) => RecallStep::Refused,
                RecallResult::Unreachable => RecallStep::Unreachable,
                RecallResult::Silent => RecallStep::Silent,
                RecallResult::Notified(_) => RecallStep::Notified,
                RecallResult::Unanswered => RecallStep::Unanswered,
                RecallResult::Declined(_) => RecallStep::Declined,
            };
            self.metrics.recall(r.rung, step);
        }
    }
}
