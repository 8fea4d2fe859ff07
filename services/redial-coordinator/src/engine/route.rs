//! INVITE: where does it go, and if nowhere, is the caller remembered?

use std::time::Duration;

use futures_util::future::join_all;
use redial_core::link::{NotWatched, Offline, Reply, RequestedPeriod, Route, RouteStage, Routed, Target, WatchRef};
use redial_core::machine::Input;
use redial_core::store::{ArmOutcome, Lookup, LookupOp, StoreError, Turn};
use redial_core::watch::State;
use redial_core::{Aor, Binding, EdgeGateway, EndReason, Fence, Pair, PolicySet, UnixMillis, Watch, WatchStore, period};

use super::Engine;
use super::carry::Outcome;
use super::wave::Lot;
use crate::metrics::{Kind, Unsure};
use crate::timers::Wake;

/// What a look at the stored state makes of one INVITE.
enum Next {
    Done(Routed),
    /// Store this watch, then grant the period.
    Arm {
        watch: Watch,
        period: Duration,
    },
}

impl<S: WatchStore, G: EdgeGateway> Engine<S, G> {
    pub(super) async fn route(&self, now: UnixMillis, lot: Lot<Route>) -> Vec<(u64, Reply)> {
        if lot.is_empty() {
            return Vec::new();
        }
        self.metrics.requests(Kind::Route, lot.ids.len());
        let ops: Vec<LookupOp> = lot.events.iter().map(|r| LookupOp { callee: r.callee.clone(), caller: r.caller.clone() }).collect();
        let result = self.store.lookup(now, &ops).await;
        self.note(now, &result);
        let Ok(found) = result else { return self.failed(Kind::Route, lot.ids) };
        let policies = self.policies();
        let mut decided = Vec::with_capacity(lot.ids.len());
        let mut watched = Vec::new();
        for ((id, route), found) in lot.ids.into_iter().zip(lot.events).zip(found) {
            let stored = found.watch.is_some();
            let decision = self.decide(now, &policies, route, found);
            if stored {
                watched.push(async move { (id, decision.await) });
            } else {
                // Asks the store nothing, so there is nothing to do side by side.
                decided.push((id, decision.await));
            }
        }
        decided.extend(join_all(watched).await);

        let mut replies = Vec::with_capacity(decided.len());
        let mut arming = Vec::new();
        let mut watches = Vec::new();
        for (id, decided) in decided {
            self.note(now, &decided);
            match decided {
                Ok(Next::Done(routed)) => replies.push((id, self.routed(routed))),
                Ok(Next::Arm { watch, period }) => {
                    arming.push((id, period));
                    watches.push(watch);
                }
                Err(_) => replies.extend(self.failed(Kind::Route, [id])),
            }
        }
        replies.extend(self.arm(now, &policies, arming, &watches).await);
        replies
    }

    fn routed(&self, routed: Routed) -> Reply {
        if let Routed::Offline(Offline::NotWatched(why)) = routed {
            self.metrics.refused(why);
        }
        Reply::Routed(routed)
    }

    async fn decide(&self, now: UnixMillis, policies: &PolicySet, route: Route, found: Lookup) -> Result<Next, StoreError> {
        let refusal = proof(&route, &found).err();
        // A server upstream that has the call knows better than the bindings here where the callee is.
        if found.callee_bindings.is_empty() && route.stage != RouteStage::Ringing {
            return match refusal {
                Some(why) => Ok(not_watched(&route.callee, route.caller.as_ref(), why)),
                None => self.offline(now, policies, route, found).await,
            };
        }
        if route.stage == RouteStage::Offline {
            let caller = route.caller.as_ref().map(Aor::as_str);
            tracing::debug!(callee = route.callee.as_str(), caller, why = "callee_registered", "not remembered");
        }
        // Only a proven caller's call may end a watch: anybody can write a name into From.
        let report = if refusal.is_none() { self.between(now, &route, &found).await } else { Vec::new() };
        let targets = match route.stage {
            RouteStage::Lookup => targets(&found.callee_bindings),
            // For nobody else: the server may have said so without asking who calls.
            RouteStage::Offline if refusal.is_none() => targets(found.callee_bindings.iter().filter(|b| b.probed)),
            RouteStage::Offline | RouteStage::Ringing => Vec::new(),
        };
        Ok(Next::Done(Routed::Online { targets, report }))
    }

    /// The watches between the two, with the fences that the call's reports will name. A store that takes no changes does not keep the
    /// call from going through (P6): an answer to it is understood by any fence that the watch has had.
    async fn between(&self, now: UnixMillis, route: &Route, found: &Lookup) -> Vec<WatchRef> {
        let named =
            |watch: &Watch| WatchRef { pair: watch.pair.clone(), fence: watch.fence, trace: watch.trace.map(|trace| trace.current()) };
        let mut report = Vec::new();
        if let Some(watch) = &found.watch {
            let input = if route.period == RequestedPeriod::OptOut { Input::Cancel } else { Input::CallSeen };
            let seen = self.apply(now, &watch.pair, Some(watch.clone()), input).await;
            self.note(now, &seen);
            match seen {
                Ok(Outcome::Stepped(watch) | Outcome::Unchanged(watch)) => report.push(named(&watch)),
                Ok(_) => {}
                Err(_) => report.push(named(watch)),
            }
        }
        report.extend(found.reverse.iter().map(named));
        report
    }

    /// A proven caller, and nobody at home.
    async fn offline(&self, now: UnixMillis, policies: &PolicySet, route: Route, found: Lookup) -> Result<Next, StoreError> {
        let Some(caller) = route.caller else { return Ok(not_watched(&route.callee, None, NotWatched::CallerNotRegistered)) };
        let pair = Pair { callee: route.callee, caller };
        let policy = policies.for_callee(&pair.callee);
        let Some(period) = period::granted(policy, route.period) else {
            if found.watch.is_some() {
                self.apply(now, &pair, found.watch, Input::Cancel).await?;
            }
            return Ok(not_watched(&pair.callee, Some(&pair.caller), NotWatched::OptedOut));
        };
        if !policy.enabled {
            // A plain 480 means that there is no watch.
            if found.watch.is_some() {
                self.apply(now, &pair, found.watch, Input::Cancel).await?;
            }
            return Ok(not_watched(&pair.callee, Some(&pair.caller), NotWatched::PolicyOff));
        }
        if found.watch.is_some() {
            let input = Input::CalleeOffline { granted: now.after(period) };
            if let Outcome::Stepped(watch) | Outcome::Unchanged(watch) = self.apply(now, &pair, found.watch, input).await? {
                return Ok(Next::Done(granted(watch.deadline.since(now))));
            }
        }
        if self.watches.total() >= policies.max_watches {
            return Ok(not_watched(&pair.callee, Some(&pair.caller), NotWatched::TotalLimit));
        }
        let trace = self.traced(policy, &pair, Fence(now.0));
        let watch = Watch {
            pair,
            fence: Fence(now.0),
            state: State::Armed,
            armed_at: now,
            deadline: now.after(period),
            not_before: now,
            attempts: 0,
            parked: false,
            caller_flow: route.flow,
            caller_seen: 0,
            past: Fence(0),
            trace,
        };
        Ok(Next::Arm { watch, period })
    }

    /// Stores the watches before anybody hears of them (P1).
    async fn arm(&self, now: UnixMillis, policies: &PolicySet, arming: Vec<(u64, Duration)>, watches: &[Watch]) -> Vec<(u64, Reply)> {
        if watches.is_empty() {
            return Vec::new();
        }
        let began = self.began();
        let result = self.store.arm(now, watches).await;
        self.note(now, &result);
        if result.is_err() {
            self.metrics.unsure(Unsure::Armed, watches.len());
        }
        let Ok(outcomes) = result else { return self.failed(Kind::Route, arming.into_iter().map(|(id, _)| id)) };
        let mut replies = Vec::with_capacity(arming.len());
        for (((id, period), watch), outcome) in arming.into_iter().zip(watches).zip(outcomes) {
            let result = self.armed(now, policies, watch, &outcome, period).await;
            self.note(now, &result);
            match result {
                Ok(routed) => {
                    self.tell_armed(began, watch, &routed);
                    replies.push((id, self.routed(routed)));
                }
                Err(_) => replies.extend(self.failed(Kind::Route, [id])),
            }
        }
        replies
    }

    async fn armed(
        &self,
        now: UnixMillis,
        policies: &PolicySet,
        watch: &Watch,
        outcome: &ArmOutcome,
        period: Duration,
    ) -> Result<Routed, StoreError> {
        let policy = policies.for_callee(&watch.pair.callee);
        if outcome.expired_before {
            self.count_end(&watch.pair, EndReason::Expired);
        }
        let (granted, trace);
        if outcome.stored {
            let over = if outcome.caller_watches > policy.max_per_caller {
                Some(NotWatched::CallerLimit)
            } else {
                (outcome.callee_watches > policy.max_per_callee).then_some(NotWatched::CalleeLimit)
            };
            let taken_back = match over {
                Some(_) => self.store.end(now, &watch.pair, Some(watch.fence), Turn::Leave).await,
                None => Ok(false),
            };
            // Armed is what somebody will count the end of: also a watch over the caps that could not be taken back, or that another
            // request of the same pair has changed or ended already.
            if !matches!(taken_back, Ok(true)) {
                self.metrics.armed();
                self.watches.armed(watch.pair.callee.shard());
            }
            taken_back?;
            if let Some(why) = over {
                return Ok(refused(&watch.pair.callee, Some(&watch.pair.caller), why));
            }
            self.remind(now, watch.deadline, &watch.pair);
            if let Some(interval) = policy.probe {
                let at = now.after(interval);
                // What is promised does not hang on it: this replica remembers, and at the deadline somebody looks in any case.
                let hastened = self.store.hasten(std::slice::from_ref(&watch.pair), at).await;
                self.note(now, &hastened);
                self.remind(now, at, &watch.pair);
            }
            // Counted above; a line for every missed call would cost more than storing it.
            tracing::debug!(
                callee = watch.pair.callee.as_str(),
                caller = watch.pair.caller.as_str(),
                period_s = period.as_secs(),
                "watch armed"
            );
            granted = period;
            trace = watch.trace.map(|trace| trace.armed);
        } else {
            // Somebody was quicker, with a deadline of its own; or the record cannot be read, and then nobody would ever be recalled (P1).
            let standing = self.load(&watch.pair).await?;
            let standing =
                standing.ok_or_else(|| StoreError::Corrupt(format!("a watch of {} that is there and not there", watch.pair.callee)))?;
            granted = standing.deadline.since(now);
            trace = None;
        }
        // The callee registered while the watch was being written; its REGISTER may have seen nobody waiting.
        if !outcome.callee_bindings.is_empty() {
            self.schedule(now, Wake::CalleeBack(watch.pair.callee.clone()));
        }
        Ok(Routed::Offline(Offline::Granted { period: granted, trace }))
    }
}

/// P7: the caller is registered and has proven to be who From says, by digest or by calling from a flow it registered.
fn proof(route: &Route, found: &Lookup) -> Result<(), NotWatched> {
    if route.caller.as_ref().is_none_or(|caller| *caller == route.callee) || found.caller_bindings.is_empty() {
        return Err(NotWatched::CallerNotRegistered);
    }
    let registered_flow = || found.caller_bindings.iter().any(|b| b.edge == route.edge && b.flow == route.flow);
    if route.authenticated || registered_flow() { Ok(()) } else { Err(NotWatched::CallerNotAuthenticated) }
}

/// Where to send a request for these bindings, best first.
pub(super) fn targets<'a>(bindings: impl IntoIterator<Item = &'a Binding>) -> Vec<Target> {
    let mut targets: Vec<Target> = bindings.into_iter().map(Target::from).collect();
    targets.sort_by_key(|t| std::cmp::Reverse(t.q));
    targets
}

fn granted(period: Duration) -> Routed {
    Routed::Offline(Offline::Granted { period, trace: None })
}

fn not_watched(callee: &Aor, caller: Option<&Aor>, why: NotWatched) -> Next {
    Next::Done(refused(callee, caller, why))
}

/// Counted by reason for everybody; who it was is for whoever asks why.
fn refused(callee: &Aor, caller: Option<&Aor>, why: NotWatched) -> Routed {
    tracing::debug!(callee = callee.as_str(), caller = caller.map(Aor::as_str), why = why.as_str(), "not remembered");
    Routed::Offline(Offline::NotWatched(why))
}
