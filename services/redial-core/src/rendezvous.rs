//! Which replica an AoR (or whatever else has a name) prefers: highest random weight (Thaler and Ravishankar, 1998).
//!
//! For locality only. Every edge computes the same order from the same names, and a replica that joins or leaves moves only its own
//! share; correctness never depends on it, because any replica can process any event.

/// Index of the replica that `key` prefers among those that `usable` accepts. Allocates nothing.
#[must_use]
pub fn pick<S: AsRef<str>>(key: &(impl AsRef<str> + ?Sized), replicas: &[S], usable: impl Fn(usize) -> bool) -> Option<usize> {
    (0..replicas.len()).filter(|&i| usable(i)).max_by_key(|&i| (hash(key.as_ref(), replicas[i].as_ref()), replicas[i].as_ref()))
}

/// How much `key` prefers `replica`; the highest is its choice. Among many keys the shares are as the weights, which are above zero (weighted rendezvous
/// hashing, Schindelhauer and Schomaker, 2005): a replica that leaves, or whose weight changes, moves no key between two others. Equal weights choose as
/// [`pick`] does.
#[must_use]
pub fn score(key: &(impl AsRef<str> + ?Sized), replica: &str, weight: f64) -> f64 {
    // 52 bits and a half: between 0 and 1, and neither of them.
    let uniform = ((hash(key.as_ref(), replica) >> 12) as f64 + 0.5) / (1u64 << 52) as f64;
    -weight / uniform.ln()
}

/// FNV-1a over the key, a separator and the name, then the murmur3 finaliser: FNV alone leaves names that differ in the last byte
/// with nearly the same value.
fn hash(key: &str, replica: &str) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in key.bytes().chain([0xff]).chain(replica.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn user(n: u32) -> String {
        format!("user{n}@example.com")
    }

    /// The replicas, best first.
    fn order<'a>(key: &str, weighted: &'a [(String, u16)]) -> Vec<&'a str> {
        let mut scored: Vec<_> = weighted.iter().map(|(name, weight)| (score(key, name, f64::from(*weight)), name.as_str())).collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        scored.into_iter().map(|(_, name)| name).collect()
    }

    fn weighted(min: usize) -> impl Strategy<Value = Vec<(String, u16)>> {
        proptest::collection::btree_map("[a-z]{1,6}", 1u16..100, min..8).prop_map(|map| map.into_iter().collect())
    }

    #[test]
    fn shares_are_even() {
        let replicas = ["redial-0", "redial-1", "redial-2"];
        let mut counts = [0u32; 3];
        for n in 0..9000 {
            counts[pick(&user(n), &replicas, |_| true).unwrap()] += 1;
        }
        assert!(counts.iter().all(|&c| (2700..3300).contains(&c)), "{counts:?}");
    }

    #[test]
    fn nobody_usable_is_none() {
        assert_eq!(pick("u", &["a", "b"], |_| false), None);
        assert_eq!(pick("u", &[] as &[&str], |_| true), None);
    }

    proptest! {
        #[test]
        fn equal_weights_choose_as_pick_does(n in 0u32..10_000, replicas in weighted(1), weight in 1u16..100) {
            let replicas: Vec<_> = replicas.into_iter().map(|(name, _)| (name, weight)).collect();
            let names: Vec<_> = replicas.iter().map(|(name, _)| name.as_str()).collect();
            prop_assert_eq!(Some(order(&user(n), &replicas)[0]), pick(&user(n), &names, |_| true).map(|i| names[i]));
        }

        #[test]
        fn removing_a_replica_moves_only_its_own_share(n in 0u32..10_000, replicas in weighted(2), gone: prop::sample::Index) {
            let mut rest = replicas.clone();
            let (gone, _) = rest.remove(gone.index(replicas.len()));
            let mut expected = order(&user(n), &replicas);
            expected.retain(|name| *name != gone);
            prop_assert_eq!(order(&user(n), &rest), expected);
        }

        #[test]
        fn a_higher_weight_only_draws_to_itself(n in 0u32..10_000, replicas in weighted(2), which: prop::sample::Index, more in 1u16..100) {
            let mut heavier = replicas.clone();
            let raised = &mut heavier[which.index(replicas.len())];
            raised.1 += more;
            let raised = raised.0.clone();
            let (before, after) = (order(&user(n), &replicas)[0], order(&user(n), &heavier)[0]);
            prop_assert!(after == before || after == raised, "{} to {}", before, after);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn shares_are_as_the_weights(replicas in weighted(2)) {
            const USERS: u32 = 4000;
            let total: u16 = replicas.iter().map(|(_, weight)| weight).sum();
            let first: Vec<_> = (0..USERS).map(|n| order(&user(n), &replicas)[0]).collect();
            for (name, weight) in &replicas {
                let (share, count) = (f64::from(*weight) / f64::from(total), first.iter().filter(|chosen| *chosen == name).count() as f64);
                let expected = f64::from(USERS) * share;
                // Six standard deviations: chance alone is never further off.
                let slack = 10.0 + 6.0 * (expected * (1.0 - share)).sqrt();
                prop_assert!((count - expected).abs() < slack, "{} has {} of {}, and should have {}", name, count, USERS, expected);
            }
        }
    }
}
