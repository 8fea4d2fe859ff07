//! Which shards this replica sweeps.
//!
//! With peers, each shard is swept by the one that rendezvous hashing picks, so a replica that comes or goes moves only its share. Nothing
//! depends on it: two replicas that look at one watch are kept apart by its fence, and a shard that nobody has would be found by whoever
//! looks at the shards of others, which everybody does now and then. That is how the share of a replica that died and is still listed is
//! swept. Whoever does not know the members, or is not one of them, sweeps everything.

use redial_core::ids::SHARDS;
use redial_core::{Shard, rendezvous};
use redial_runtime::discovery::{Found, Member};

/// The shards of others are looked at once in so many sweeps, a part of them with each.
const OTHERS: u16 = 4;

/// The part of the sweep that this replica does.
#[derive(Debug)]
pub(crate) struct Share {
    me: String,
    peers: Option<Found>,
    /// By shard.
    mine: Vec<bool>,
    turn: u16,
    /// Everything has been counted once.
    begun: bool,
}

impl Share {
    pub(crate) fn new(me: &str, peers: Option<Found>) -> Self {
        Self { me: me.to_owned(), peers, mine: vec![true; usize::from(SHARDS)], turn: 0, begun: false }
    }

    /// What the next sweep covers: the own share and a part of the others', or everything at first.
    pub(crate) fn next(&mut self) -> Vec<Shard> {
        self.update();
        let (turn, all) = (self.turn, !std::mem::replace(&mut self.begun, true));
        self.turn = (turn + 1) % OTHERS;
        (0..SHARDS).filter(|shard| all || self.owns(*shard) || shard % OTHERS == turn).map(Shard).collect()
    }

    /// Whether this replica answers for the shard.
    pub(crate) fn owns(&self, shard: u16) -> bool {
        self.mine.get(usize::from(shard)).copied().unwrap_or(true)
    }

    /// Waits until others have come or gone; the shards that this replica has taken over, which nobody may have looked at for a while.
    pub(crate) async fn taken_over(&mut self) -> Vec<Shard> {
        let Some(peers) = &mut self.peers else { return std::future::pending().await };
        let open = tokio::select! {
            changed = peers.members.changed() => changed.is_ok(),
            changed = peers.known.changed() => changed.is_ok(),
        };
        if !open {
            // Nobody looks for members any more.
            self.peers = None;
        }
        let before = self.mine.clone();
        self.update();
        (0..SHARDS).filter(|shard| self.owns(*shard) && !before[usize::from(*shard)]).map(Shard).collect()
    }

    fn update(&mut self) {
        let Some(peers) = &mut self.peers else { return self.mine.fill(true) };
        let known = *peers.known.borrow_and_update();
        let members = peers.members.borrow_and_update().clone();
        self.mine = shares(&self.me, if known { &members } else { &[] });
    }
}

/// The shards that `me` has among `members`: all when it is none of them.
fn shares(me: &str, members: &[Member]) -> Vec<bool> {
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let known = names.contains(&me);
    let picked = |shard: u16| rendezvous::pick(&shard.to_string(), &names, |_| true).is_none_or(|i| names[i] == me);
    (0..SHARDS).map(|shard| !known || picked(shard)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::watch;

    use super::*;

    fn members(names: &[&str]) -> Arc<[Member]> {
        names.iter().map(|name| Member { name: (*name).into(), addr: "127.0.0.1:7070".parse().expect("an address") }).collect()
    }

    fn owned(share: &Share) -> Vec<u16> {
        (0..SHARDS).filter(|shard| share.owns(*shard)).collect()
    }

    #[tokio::test]
    async fn everything_without_peers_and_while_they_are_unknown() {
        let mut alone = Share::new("a", None);
        assert_eq!((alone.next().len(), alone.next().len()), (1024, 1024));
        let (list, (known, is_known)) = (watch::channel(members(&["a", "b"])), watch::channel(false));
        let mut share = Share::new("a", Some(Found { members: list.1, known: is_known }));
        assert_eq!(share.next().len(), 1024);
        known.send_replace(true);
        assert!(share.taken_over().await.is_empty());
        assert!(owned(&share).len() < 600);
        known.send_replace(false);
        assert_eq!(share.taken_over().await.len() + owned(&shared("a", &["a", "b"])).len(), 1024, "while they may be others by now");
        known.send_replace(true);
        list.0.send_replace(members(&["b", "c"]));
        assert_eq!(share.next().len(), 1024, "not one of them");
    }

    fn shared(me: &str, names: &[&str]) -> Share {
        let mut share = Share::new(me, None);
        share.mine = shares(me, &members(names));
        share
    }

    #[test]
    fn every_shard_has_one_owner_and_a_loss_moves_only_what_was_lost() {
        let three = ["a", "b", "c"].map(|me| owned(&shared(me, &["a", "b", "c"])));
        let mut all = three.concat();
        all.sort_unstable();
        assert_eq!(all, (0..SHARDS).collect::<Vec<_>>());
        for (me, before) in ["a", "b"].iter().zip(&three) {
            let after = owned(&shared(me, &["a", "b"]));
            assert!(before.iter().all(|shard| after.contains(shard)), "{me} keeps what it had");
            assert!(after.len() > before.len() + 100);
        }
    }

    #[tokio::test]
    async fn the_shards_of_others_are_looked_at_now_and_then() {
        let (_list, list) = watch::channel(members(&["a", "b"]));
        let (_known, known) = watch::channel(true);
        let mut share = Share::new("a", Some(Found { members: list, known }));
        assert_eq!(share.next().len(), 1024, "the first sweep counts everything");
        let mine = owned(&shared("a", &["a", "b"]));
        let mut seen = [0; SHARDS as usize];
        for _ in 0..OTHERS {
            share.next().iter().for_each(|shard| seen[usize::from(shard.0)] += 1);
        }
        for shard in 0..SHARDS {
            assert_eq!(seen[usize::from(shard)], if mine.contains(&shard) { OTHERS } else { 1 }, "{shard}");
        }
    }
}
