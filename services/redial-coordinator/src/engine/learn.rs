//! Which rung of the ladder connects which kind of phone: learned from every watch that a recall has connected, and tried first with the
//! next phone of that kind.

use std::time::Duration;

use redial_core::store::{Lesson, StoreError};
use redial_core::watch::State;
use redial_core::{Binding, EdgeGateway, UnixMillis, Watch, WatchStore};

use super::Engine;

/// How long a lesson counts. A phone that was updated meanwhile costs one attempt: the next one starts with the first rung.
const VALID: Duration = Duration::from_secs(30 * 86_400);

/// Longest User-Agent that is told apart, in bytes.
const MAX_AGENT: usize = 128;

impl<S: WatchStore, G: EdgeGateway> Engine<S, G> {
    /// The rung that has connected a phone like the one that this recall goes to.
    pub(super) async fn learned(&self, now: UnixMillis, watch: &Watch, caller: &[Binding]) -> Result<Option<u8>, StoreError> {
        match self.agent(watch, caller) {
            Some(agent) => self.store.learned(now, &agent).await,
            None => Ok(None),
        }
    }

    /// `watch` was connected. Learning is an extra: that the store does not take it changes nothing.
    pub(super) async fn learn(&self, now: UnixMillis, watch: &Watch) {
        let (State::Calling { rung, .. } | State::Recalling { rung, .. } | State::Claimed { rung, .. }) = watch.state else { return };
        // Rung 0: the caller dialled without having been asked. One rung leaves nothing to be learned.
        if rung == 0 || self.policies().for_callee(&watch.pair.callee).ladder.len() < 2 {
            return;
        }
        let found = self.store.bindings(now, std::slice::from_ref(&watch.pair.caller)).await;
        self.note(now, &found);
        let bindings = found.ok().and_then(|mut found| found.pop()).unwrap_or_default();
        if let Some(agent) = self.agent(watch, &bindings) {
            let learned = self.store.learn(now, &Lesson { agent, rung, until: now.after(VALID) }).await;
            self.note(now, &learned);
        }
    }

    /// User-Agent of the contact that is asked first.
    fn agent(&self, watch: &Watch, caller: &[Binding]) -> Option<String> {
        let binding = self.ranked(watch, caller).into_iter().next()?;
        let text = &binding.user_agent;
        let end = (0..=text.len().min(MAX_AGENT)).rev().find(|at| text.is_char_boundary(*at))?;
        (end > 0).then(|| text[..end].to_owned())
    }
}
