//! Which replica an AoR (or whatever else has a name) prefers: highest random weight (Thaler and Ravishankar, 1998).
//!
//! For locality only. Every edge computes the same order from the same names, and a replica that joins or leaves moves only its own
//! share; correctness never depends on it, because any replica can process any event.

use crate::Aor;

/// `replicas` in the order in which `aor` prefers them; equal names stay next to each other.
#[must_use]
pub fn order<'a, S: AsRef<str>>(aor: &Aor, replicas: &'a [S]) -> Vec<&'a str> {
    let mut weighed: Vec<(u64, &str)> = replicas.iter().map(|r| (weight(aor.as_str(), r.as_ref()), r.as_ref())).collect();
    weighed.sort_unstable_by(|a, b| b.cmp(a));
    weighed.into_iter().map(|(_, name)| name).collect()
}

/// Index of the replica that `key` prefers among those that `usable` accepts. Allocates nothing.
#[must_use]
pub fn pick<S: AsRef<str>>(key: &(impl AsRef<str> + ?Sized), replicas: &[S], usable: impl Fn(usize) -> bool) -> Option<usize> {
    (0..replicas.len()).filter(|&i| usable(i)).max_by_key(|&i| (weight(key.as_ref(), replicas[i].as_ref()), replicas[i].as_ref()))
}

/// FNV-1a over the key, a separator and the name, then the murmur3 finaliser: FNV alone leaves names that differ in the last byte
/// with nearly the same weight.
fn weight(key: &str, replica: &str) -> u64 {
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

    fn aor(n: u32) -> Aor {
        Aor::new(format!("user{n}@example.com"))
    }

    #[test]
    fn shares_are_even() {
        let replicas = ["redial-0", "redial-1", "redial-2"];
        let mut counts = [0u32; 3];
        for n in 0..9000 {
            counts[pick(&aor(n), &replicas, |_| true).unwrap()] += 1;
        }
        assert!(counts.iter().all(|&c| (2700..3300).contains(&c)), "{counts:?}");
    }

    #[test]
    fn nobody_usable_is_none() {
        assert_eq!(pick(&aor(1), &["a", "b"], |_| false), None);
        assert_eq!(pick(&aor(1), &[] as &[&str], |_| true), None);
    }

    proptest! {
        #[test]
        fn pick_is_the_head_of_order(n in 0u32..10_000, names in proptest::collection::btree_set("[a-z]{1,6}", 1..8)) {
            let names: Vec<String> = names.into_iter().collect();
            let order = order(&aor(n), &names);
            prop_assert_eq!(order.len(), names.len());
            prop_assert_eq!(Some(order[0]), pick(&aor(n), &names, |_| true).map(|i| names[i].as_str()));
        }

        #[test]
        fn order_does_not_depend_on_the_list(n in 0u32..10_000, names in proptest::collection::btree_set("[a-z]{1,6}", 1..8)) {
            let names: Vec<String> = names.into_iter().collect();
            let reversed: Vec<String> = names.iter().rev().cloned().collect();
            prop_assert_eq!(order(&aor(n), &names), order(&aor(n), &reversed));
        }

        #[test]
        fn removing_a_replica_moves_only_its_own_share(n in 0u32..10_000, names in proptest::collection::btree_set("[a-z]{1,6}", 2..8), gone in 0usize..8) {
            let names: Vec<String> = names.into_iter().collect();
            let gone = gone % names.len();
            let before = order(&aor(n), &names);
            let mut rest = names.clone();
            let removed = rest.remove(gone);
            let after = order(&aor(n), &rest);
            let expected: Vec<&str> = before.into_iter().filter(|r| *r != removed).collect();
            prop_assert_eq!(after, expected);
        }
    }
}
