//! From a signal to a bounded end.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that SIGTERM or SIGINT cancels. A second signal ends the process at once, with status 130.
///
/// # Errors
/// When the signal handlers cannot be installed. Must be called inside a tokio runtime with I/O enabled.
pub fn on_signals() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "shutting down");
        cancelled.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("second signal: ending without draining");
        std::process::exit(130);
    });
    Ok(token)
}

/// Waits for `work` at most `grace`. True when it ended by itself.
pub async fn drain(what: &str, grace: Duration, work: impl Future<Output = ()>) -> bool {
    let ended = tokio::time::timeout(grace, work).await.is_ok();
    if ended {
        tracing::info!(what, "drained");
    } else {
        tracing::warn!(what, grace_ms = grace.as_millis(), "grace period over before everything was drained");
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn drain_is_bounded_by_the_grace_period() {
        assert!(!drain("nothing", Duration::from_secs(5), std::future::pending()).await);
        assert!(drain("nothing", Duration::from_secs(5), std::future::ready(())).await);
    }
}
