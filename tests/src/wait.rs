//! The one place of the tests that reads a clock and sleeps.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything may take on a slow, busy machine before a test gives up on it. Passing tests never wait this long.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[must_use]
#[allow(clippy::disallowed_methods, reason = "tests watch real processes in real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Polls `condition` until it yields a value.
/// # Errors
/// Names `what` when `limit` has passed, or passes on the condition's own error.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = now() + limit;
    let mut pause = Duration::from_millis(5);
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if now() >= deadline {
            bail!("waited {limit:?} for {what}");
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
