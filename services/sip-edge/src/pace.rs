//! Space between the turns of a busy worker, so that one wake-up serves several datagrams and replies.

use std::time::{Duration, Instant};

/// Turns that need no space to the one before: the messages of a lone call and the coordinator's answers never wait.
const FREE: u32 = 8;

/// At most one turn per linger on average, after [`FREE`] at any distance (the generic cell rate algorithm, ITU-T I.371).
#[derive(Debug)]
pub(crate) struct Pace {
    linger: Duration,
    /// When the next turn would come if all had kept their distance.
    due: Instant,
}

impl Pace {
    pub(crate) fn new(now: Instant, linger: Duration) -> Self {
        Self { linger, due: now }
    }

    /// A turn began at `now`; how long to wait before the next one.
    pub(crate) fn pause(&mut self, now: Instant) -> Duration {
        self.due = self.due.max(now) + self.linger;
        (self.due - now).saturating_sub(self.linger * FREE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_millis(1);

    /// Pauses of `turns` that take no time and come as soon as they may, but not before `apart` after the last.
    fn pauses(turns: usize, apart: Duration) -> Vec<Duration> {
        let mut now = redial_runtime::clock::instant();
        let mut pace = Pace::new(now, LINGER);
        let mut pauses = Vec::new();
        for _ in 0..turns {
            let pause = pace.pause(now);
            pauses.push(pause);
            now += pause.max(apart);
        }
        pauses
    }

    #[test]
    fn a_few_turns_never_wait() {
        assert_eq!(pauses(FREE as usize, Duration::ZERO), [Duration::ZERO; FREE as usize]);
    }

    #[test]
    fn many_turns_come_one_per_linger() {
        assert!(pauses(100, Duration::from_micros(10))[20..].iter().all(|pause| *pause <= LINGER && *pause > LINGER / 2));
    }

    #[test]
    fn slow_turns_never_wait() {
        assert!(pauses(100, LINGER).iter().all(Duration::is_zero));
    }
}
