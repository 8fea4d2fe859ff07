//! Which of several pods behind one address handles a server transaction, when every one of its datagrams may reach another pod.

use super::EdgeTag;
use crate::message::Message;

/// A number that is the same on every pod for all requests of a call before its dialog has a token of ours: the INVITE, its retransmissions, its ACK
/// and CANCEL, and the INVITE that comes again with credentials, all of one Call-ID (RFC 3261 sections 8.1.3.5, 9.1 and 17.1.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u64);

impl Share {
    /// `seed` is the same on all pods and known to nobody else, so that nobody can aim at one pod. None: no Call-ID.
    #[must_use]
    pub fn of(request: Message<'_>, seed: u64) -> Option<Self> {
        Some(Self(add(seed, request.call_id()?.bytes())))
    }

    /// The pod that all pick who know the same `edges`, in whatever order: highest random weight (Thaler and Ravishankar, 1998). One that comes or goes
    /// moves its own share only. None: there is none.
    #[must_use]
    pub fn pick(self, edges: &[EdgeTag]) -> Option<EdgeTag> {
        edges.iter().copied().max_by_key(|edge| (mix(self.0 ^ mix(u64::from(edge.0))), edge.0))
    }

    /// Which of `count` equal workers; independent of the pod. `count` 0 counts as 1.
    #[must_use]
    pub fn worker(self, count: u8) -> u8 {
        (mix(self.0) % u64::from(count.max(1))) as u8
    }
}

/// 64-bit FNV-1a, because pods of different builds must agree; the mark keeps parts apart.
fn add(hash: u64, part: impl IntoIterator<Item = u8>) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    step(part.into_iter().fold(hash ^ 0xcbf2_9ce4_8422_2325, step), 0xff)
}

/// The finaliser of murmur3: FNV leaves inputs that differ in their last byte with nearly the same high bits.
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MessageBuf;
    use proptest::prelude::*;

    const INVITE: &str = "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP Phone.example.com;branch=z9hG4bKabc;rport\r\nMax-Forwards: 70\r\n\
        To: <sip:bob@example.com>\r\nFrom: <sip:alice@example.com>;tag=a1\r\nCall-ID: c1@x\r\nCSeq: 7 INVITE\r\nContent-Length: 0\r\n\r\n";

    fn share(text: &str) -> Share {
        Share::of(MessageBuf::parse(text.as_bytes().to_vec()).unwrap().view(), 9).unwrap()
    }

    #[test]
    fn everything_of_a_call_has_the_same_share() {
        for method in ["ACK", "CANCEL"] {
            let other = INVITE.replace("INVITE", method).replace("bob@example.com>\r\nFrom", "bob@example.com>;tag=ours\r\nFrom");
            assert_eq!(share(&other), share(INVITE), "{other}");
        }
        assert_eq!(share(&INVITE.replace("z9hG4bKabc", "z9hG4bKabd").replace("CSeq: 7", "CSeq: 8")), share(INVITE), "with credentials");
        assert_ne!(share(&INVITE.replace("c1@x", "c2@x")), share(INVITE));
        assert_ne!(Share::of(MessageBuf::parse(INVITE.into()).unwrap().view(), 8), Some(share(INVITE)), "nobody without the seed can tell");
    }

    #[test]
    fn shares_are_even_over_pods_and_workers() {
        let edges = [EdgeTag(1), EdgeTag(2), EdgeTag(77)];
        let (mut pods, mut workers) = ([0; 3], [0; 3]);
        for n in 0..9000 {
            let share = Share(add(9, format!("z9hG4bK-{n}").into_bytes()));
            pods[edges.iter().position(|edge| share.pick(&edges) == Some(*edge)).unwrap()] += 1;
            workers[usize::from(share.worker(3))] += 1;
        }
        assert!(pods.iter().chain(&workers).all(|count| (2700..3300).contains(count)), "{pods:?} {workers:?}");
        assert_eq!(share(INVITE).pick(&[]), None);
        assert_eq!(share(INVITE).worker(0), 0);
    }

    proptest! {
        #[test]
        fn a_pod_that_goes_moves_its_own_share_only(hash: u64, tags in prop::collection::btree_set(1_u32.., 2..8), gone: prop::sample::Index) {
            let edges: Vec<EdgeTag> = tags.into_iter().map(EdgeTag).collect();
            let before = Share(hash).pick(&edges).unwrap();
            let mut rest = edges.clone();
            let gone = rest.remove(gone.index(edges.len()));
            rest.reverse();
            let after = Share(hash).pick(&rest).unwrap();
            prop_assert!(after == before || before == gone);
        }
    }
}
