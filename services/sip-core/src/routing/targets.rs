//! In which order the contacts of an AoR are tried (RFC 3261 section 16.6).

/// Groups of indices into `qs` (preferences in thousandths, absent counted as 1000 by the caller): the contacts of a group are rung together, the
/// groups one after the other by falling preference. Within a group the order of `qs` is kept.
#[must_use]
pub fn target_groups(qs: &[u16]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..qs.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(qs[*at]));
    order.chunk_by(|a, b| qs[*a] == qs[*b]).map(<[usize]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_preference_rings_together_and_higher_first() {
        assert_eq!(target_groups(&[500, 1000, 500, 0]), [vec![1], vec![0, 2], vec![3]]);
        assert_eq!(target_groups(&[1000, 1000]), [vec![0, 1]]);
        assert_eq!(target_groups(&[]), Vec::<Vec<usize>>::new());
    }

    proptest! {
        #[test]
        fn every_contact_is_tried_exactly_once_by_falling_q(qs in prop::collection::vec(0_u16..=10, 0..12)) {
            let groups = target_groups(&qs);
            let mut all: Vec<usize> = groups.iter().flatten().copied().collect();
            prop_assert!(groups.windows(2).all(|w| qs[w[0][0]] > qs[w[1][0]]));
            prop_assert!(groups.iter().all(|g| g.iter().all(|at| qs[*at] == qs[g[0]]) && g.is_sorted()));
            all.sort_unstable();
            prop_assert_eq!(all, (0..qs.len()).collect::<Vec<_>>());
        }
    }
}
