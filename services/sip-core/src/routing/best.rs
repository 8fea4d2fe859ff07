//! Which of a fork's final responses goes upstream (RFC 3261 section 16.7 step 6).

/// Index of the best final response among the status codes of all branches, in the order in which they came; None when there is no final one.
///
/// A 6xx wins, else the lowest class. Within 4xx the answers that let the caller send the request again come first (401, 407, 415, 420, 484), and
/// those that only tell of a branch that we gave up (408, 487) come last; within 5xx a 503 comes last, because it says nothing about the callee.
/// The challenges of all branches are to be put into a 401 or 407 by its sender (step 7).
#[must_use]
pub fn best_response(codes: &[u16]) -> Option<usize> {
    codes.iter().enumerate().filter(|(_, code)| (200..=699).contains(*code)).min_by_key(|(at, code)| (rank(**code), *at)).map(|(at, _)| at)
}

/// The status code under which a chosen response goes on: a 503 would make the client avoid us, so it becomes a 500 (step 6).
#[must_use]
pub fn code_upstream(code: u16) -> u16 {
    if code == 503 { 500 } else { code }
}

fn rank(code: u16) -> (u16, u8) {
    let class = match code / 100 {
        6 => 0,
        class => class,
    };
    let within = match code {
        401 | 407 | 415 | 420 | 484 => 0,
        408 | 487 | 503 => 2,
        _ => 1,
    };
    (class, within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn best(codes: &[u16]) -> Option<u16> {
        best_response(codes).map(|at| codes[at])
    }

    #[test]
    fn the_order_of_section_16_7() {
        for (codes, expected) in [
            (&[486_u16, 603, 302][..], Some(603)),
            (&[500, 404, 302], Some(302)),
            (&[486, 200, 404], Some(200)),
            (&[404, 401], Some(401)),
            (&[486, 407, 401], Some(407)),
            (&[480, 484, 486], Some(484)),
            (&[408, 486], Some(486)),
            (&[487, 480], Some(480)),
            (&[487, 408], Some(487)),
            (&[503, 500], Some(500)),
            (&[503], Some(503)),
            (&[180, 100], None),
            (&[180, 404], Some(404)),
            (&[], None),
        ] {
            assert_eq!(best(codes), expected, "{codes:?}");
        }
    }

    #[test]
    fn a_503_goes_upstream_as_500() {
        assert_eq!((code_upstream(503), code_upstream(500), code_upstream(486)), (500, 500, 486));
    }

    proptest! {
        #[test]
        fn the_choice_is_final_and_of_the_right_class(codes in prop::collection::vec(100_u16..700, 0..8)) {
            match best(&codes) {
                Some(code) => {
                    let classes = codes.iter().map(|c| c / 100).filter(|c| *c > 1);
                    let expected = if codes.iter().any(|c| *c >= 600) { Some(6) } else { classes.min() };
                    prop_assert_eq!(Some(code / 100), expected);
                }
                None => prop_assert!(codes.iter().all(|c| *c < 200)),
            }
        }
    }
}
