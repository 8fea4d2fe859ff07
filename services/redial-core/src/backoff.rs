//! How long to wait between recalls that fail.

use std::time::Duration;

/// The wait after the `failures`-th failure in a row (the first is 1): `initial`, doubled each time, never more than `max`.
#[must_use]
pub fn delay(initial: Duration, max: Duration, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1);
    let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
    initial.saturating_mul(factor).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn doubles_from_initial_up_to_max() {
        let waits: Vec<u64> = (0..8).map(|n| delay(30 * S, 600 * S, n).as_secs()).collect();
        assert_eq!(waits, [30, 30, 60, 120, 240, 480, 600, 600]);
    }

    #[test]
    fn zero_initial_stays_zero() {
        assert_eq!(delay(Duration::ZERO, 600 * S, 40), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn never_shrinks_and_never_exceeds_max(initial in 0u64..u64::MAX, max in 0u64..u64::MAX, n in 0u32..200) {
            let (initial, max) = (Duration::from_millis(initial), Duration::from_millis(max));
            let wait = delay(initial, max, n);
            prop_assert!(wait <= max);
            prop_assert!(wait <= delay(initial, max, n + 1));
        }
    }
}
