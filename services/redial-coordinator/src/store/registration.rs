//! What a REGISTER does to the bindings of an AoR (RFC 3261 section 10.3 steps 6 and 7), the same for both stores.

use redial_core::link::{BindingChange, ContactChange, Register};
use redial_core::{Binding, BindingId, UnixMillis};

/// Contacts that one AoR may have; the one that expires first gives way. Phones that forget to remove old contacts would otherwise
/// grow the answer to every REGISTER beyond what fits a datagram.
pub(super) const MAX_BINDINGS: usize = 32;

/// What a REGISTER finds and leaves.
#[derive(Debug, PartialEq)]
pub(super) struct Registration {
    /// Live bindings afterwards, best first.
    pub live: Vec<Binding>,
    /// Stored before and to be removed: expired, or more than [`MAX_BINDINGS`]. Never one that the REGISTER itself put.
    pub drop: Vec<BindingId>,
}

/// The bindings of an AoR after `op`, given those `stored` before; `None` when `op` is out of order and must change nothing.
pub(super) fn apply(now: UnixMillis, op: &Register, stored: &[Binding]) -> Option<Registration> {
    if stored.iter().any(|old| old.expires_at > now && out_of_order(op, old)) {
        return None;
    }
    let untouched = |b: &&Binding| match &op.change {
        BindingChange::Fetch => true,
        BindingChange::RemoveAll => false,
        BindingChange::Each(changes) => !changes.iter().any(|c| *id_of(c) == b.id),
    };
    let mut live: Vec<Binding> = stored.iter().filter(untouched).cloned().collect();
    if let BindingChange::Each(changes) = &op.change {
        for change in changes {
            live.retain(|b| b.id != *id_of(change));
            if let ContactChange::Put(binding) = change {
                live.push(binding.clone());
            }
        }
    }
    live.retain(|b| b.expires_at > now);
    while live.len() > MAX_BINDINGS {
        let oldest = live.iter().enumerate().filter(|(_, b)| !puts(op, &b.id)).min_by_key(|(_, b)| b.expires_at);
        let Some((at, _)) = oldest else { break };
        live.swap_remove(at);
    }
    sort(&mut live);
    let gone = |old: &&Binding| !puts(op, &old.id) && !live.iter().any(|b| b.id == old.id);
    let drop = stored.iter().filter(gone).map(|old| old.id.clone()).collect();
    Some(Registration { live, drop })
}

/// Best first: highest q, then the one registered for longest, then by name so that every replica agrees.
pub(super) fn sort(bindings: &mut [Binding]) {
    bindings.sort_unstable_by(|a, b| (b.q, b.expires_at, &a.id).cmp(&(a.q, a.expires_at, &b.id)));
}

/// Whether `op` is older than what it would change in `old`. The identical request again is in order: its answer was lost.
fn out_of_order(op: &Register, old: &Binding) -> bool {
    if old.call_id != op.call_id || op.cseq > old.cseq {
        return false;
    }
    match &op.change {
        BindingChange::Fetch => false,
        BindingChange::RemoveAll => true,
        BindingChange::Each(changes) => changes.iter().any(|change| match change {
            ContactChange::Put(new) => new.id == old.id && !(op.cseq == old.cseq && same_contact(new, old)),
            ContactChange::Remove(id) => *id == old.id,
        }),
    }
}

/// Equal but for what each arrival sets anew: the expiry time and the way it came.
fn same_contact(a: &Binding, b: &Binding) -> bool {
    (&a.uri, &a.params, a.q) == (&b.uri, &b.params, b.q)
}

fn id_of(change: &ContactChange) -> &BindingId {
    match change {
        ContactChange::Put(binding) => &binding.id,
        ContactChange::Remove(id) => id,
    }
}

/// Whether the last word of `op` about `id` is a Put.
pub(super) fn puts(op: &Register, id: &BindingId) -> bool {
    match &op.change {
        BindingChange::Each(changes) => changes.iter().rev().find(|c| id_of(c) == id).is_some_and(|c| matches!(c, ContactChange::Put(_))),
        BindingChange::Fetch | BindingChange::RemoveAll => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redial_core::{Aor, EdgeId, Flow};

    const NOW: UnixMillis = UnixMillis(1000);

    fn binding(id: &str, cseq: u32, expires_at: u64) -> Binding {
        Binding {
            id: BindingId(id.to_owned()),
            uri: format!("sip:{id}"),
            params: String::new(),
            q: 1000,
            expires_at: UnixMillis(expires_at),
            call_id: "c".to_owned(),
            cseq,
            path: vec![],
            edge: EdgeId::new("e"),
            flow: Flow::new("f"),
            user_agent: String::new(),
            probed: false,
        }
    }

    fn op(cseq: u32, change: BindingChange) -> Register {
        Register { aor: Aor::new("bob@example.com"), call_id: "c".to_owned(), cseq, change }
    }

    fn put(cseq: u32, id: &str, expires_at: u64) -> Register {
        op(cseq, BindingChange::Each(vec![ContactChange::Put(binding(id, cseq, expires_at))]))
    }

    fn remove(cseq: u32, id: &str) -> Register {
        op(cseq, BindingChange::Each(vec![ContactChange::Remove(BindingId(id.to_owned()))]))
    }

    fn live(r: Option<Registration>) -> Option<Vec<String>> {
        r.map(|r| r.live.into_iter().map(|b| b.id.0).collect())
    }

    #[test]
    fn call_id_and_cseq_keep_the_order() {
        let stored = [binding("a", 5, 9000)];
        assert_eq!(live(apply(NOW, &put(6, "a", 9000), &stored)), Some(vec!["a".to_owned()]));
        assert_eq!(live(apply(NOW, &put(5, "a", 9500), &stored)), Some(vec!["a".to_owned()]), "the identical request again");
        let mut other = put(5, "a", 9000);
        if let BindingChange::Each(changes) = &mut other.change
            && let ContactChange::Put(b) = &mut changes[0]
        {
            b.q = 1;
        }
        assert_eq!(apply(NOW, &other, &stored), None);
        assert_eq!(apply(NOW, &put(4, "a", 9000), &stored), None);
        assert_eq!(apply(NOW, &remove(5, "a"), &stored), None);
        assert_eq!(apply(NOW, &op(5, BindingChange::RemoveAll), &stored), None);
        assert_eq!(live(apply(NOW, &op(6, BindingChange::RemoveAll), &stored)), Some(vec![]));
        assert_eq!(live(apply(NOW, &op(1, BindingChange::Fetch), &stored)), Some(vec!["a".to_owned()]));
        assert_eq!(live(apply(NOW, &put(4, "b", 9000), &stored)).map(|l| l.len()), Some(2), "another contact");
        assert_eq!(live(apply(NOW, &put(1, "a", 9000), &[binding("a", 5, 1000)])).map(|l| l.len()), Some(1), "the old one has expired");
    }

    #[test]
    fn expired_bindings_are_neither_live_nor_kept() {
        let r = apply(NOW, &put(1, "b", 9000), &[binding("a", 5, 1000)]).unwrap();
        assert_eq!((r.live.len(), r.drop), (1, vec![BindingId("a".to_owned())]));
    }

    #[test]
    fn too_many_contacts_push_out_the_one_that_expires_first() {
        let stored: Vec<Binding> = (0..MAX_BINDINGS).map(|n| binding(&format!("b{n}"), 1, 5000 + n as u64)).collect();
        let r = apply(NOW, &put(2, "new", 2000), &stored).unwrap();
        assert_eq!((r.live.len(), r.drop), (MAX_BINDINGS, vec![BindingId("b0".to_owned())]));
        assert!(r.live.iter().any(|b| b.id.0 == "new"));
    }

    #[test]
    fn best_first() {
        let mut list = vec![binding("a", 1, 5), binding("b", 1, 9), Binding { q: 500, ..binding("c", 1, 99) }];
        sort(&mut list);
        assert_eq!(list.iter().map(|b| b.id.0.as_str()).collect::<Vec<_>>(), ["b", "a", "c"]);
    }
}
