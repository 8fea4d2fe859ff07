//! P6: the store is away for a while.

use std::sync::atomic::Ordering::Relaxed;

use redial_core::EndReason::Connected;
use redial_core::link::*;

use super::bench::{Bench, aor};

#[tokio::test]
async fn p6_everything_is_refused_while_the_store_is_away_and_works_again_after() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.store.down.store(true, Relaxed);
    let batch = vec![b.registration("bob"), Event::Route(Bench::invitation("alice", "carol")), Event::Locate(Locate { aor: aor("alice") })];
    let replies = b.send(batch).await;
    assert_eq!(replies, vec![Reply::Failed(Failure::StoreUnavailable); 3]);
    assert!(b.engine.sweep(b.now).await.is_err());
    assert!(b.metrics.store_error_count() >= 4);
    b.store.down.store(false, Relaxed);
    b.register("bob").await;
    b.advance(1).await;
    let order = b.order();
    b.connect(&order).await;
    assert_eq!((b.ended(Connected), b.all_ended()), (1, 1));
}

#[tokio::test]
async fn p6_a_recall_that_the_outage_interrupted_is_made_after_it() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.register("bob").await;
    b.store.down.store(true, Relaxed);
    b.advance(10).await;
    assert!(b.recalled().is_empty());
    b.store.down.store(false, Relaxed);
    b.sweep().await;
    assert_eq!(b.recalled(), ["alice"]);
}

#[tokio::test]
async fn p6_a_report_that_could_not_be_stored_is_answered_as_failed() {
    let mut b = Bench::new(|_| ());
    b.register("alice").await;
    b.miss("alice", "bob").await;
    b.register("bob").await;
    b.advance(1).await;
    let order = b.order();
    b.store.down.store(true, Relaxed);
    let report = RecallReport { pair: order.pair.clone(), fence: order.fence, rung: order.rung, result: RecallResult::Accepted };
    assert_eq!(b.one(Event::RecallReport(report.clone())).await, Reply::Failed(Failure::StoreUnavailable));
    b.store.down.store(false, Relaxed);
    assert_eq!(b.one(Event::RecallReport(report)).await, Reply::Noted);
    let report = b.dial("alice", "bob").await;
    assert_eq!(report.len(), 1);
}
