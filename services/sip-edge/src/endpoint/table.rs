//! A table of entries with ids that are never mistaken for those of an earlier entry.

/// Slot and generation of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    slot: u32,
    generation: u32,
}

impl Id {
    /// As one number, for a Via branch.
    pub(crate) fn to_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    pub(crate) fn from_u64(n: u64) -> Self {
        Self { slot: n as u32, generation: (n >> 32) as u32 }
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    entry: Option<T>,
}

/// Slots that are allocated together.
const CHUNK: usize = 256;

/// Slots are used again; each use has its own generation. The table grows by chunks: to move tens of megabytes of slots to a larger place would
/// hold up every message behind it.
#[derive(Debug)]
pub(crate) struct Table<T> {
    /// All but the last are full.
    chunks: Vec<Vec<Slot<T>>>,
    free: Vec<u32>,
    /// First generation of a new slot: differs between workers and starts, so that an id of an earlier process is not ours.
    salt: u32,
}

impl<T> Table<T> {
    pub(crate) fn new(salt: u32) -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), salt }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots() - self.free.len()
    }

    fn slots(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    fn slot(&self, at: u32) -> Option<&Slot<T>> {
        self.chunks.get(at as usize / CHUNK)?.get(at as usize % CHUNK)
    }

    fn slot_mut(&mut self, at: u32) -> Option<&mut Slot<T>> {
        self.chunks.get_mut(at as usize / CHUNK)?.get_mut(at as usize % CHUNK)
    }

    /// The id that the next [`Self::insert`] will use.
    pub(crate) fn next_id(&self) -> Id {
        match self.free.last() {
            Some(&slot) => Id { slot, generation: self.slot(slot).map_or(self.salt, |s| s.generation) },
            None => Id { slot: self.slots() as u32, generation: self.salt },
        }
    }

    pub(crate) fn insert(&mut self, entry: T) -> Id {
        let id = self.next_id();
        if let Some(slot) = self.slot_mut(id.slot) {
            slot.entry = Some(entry);
            self.free.pop();
            return id;
        }
        let new = Slot { generation: id.generation, entry: Some(entry) };
        match self.chunks.last_mut().filter(|last| last.len() < CHUNK) {
            Some(last) => last.push(new),
            None => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(new);
                self.chunks.push(chunk);
            }
        }
        id
    }

    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        self.slot(id.slot).filter(|s| s.generation == id.generation)?.entry.as_ref()
    }

    pub(crate) fn at(&mut self, id: Id) -> Option<&mut T> {
        self.slot_mut(id.slot).filter(|s| s.generation == id.generation)?.entry.as_mut()
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let slot = self.slot_mut(id.slot).filter(|s| s.generation == id.generation)?;
        let entry = slot.entry.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot);
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_never_finds_the_next_user_of_its_slot() {
        let mut table = Table::new(7);
        let a = table.insert("a");
        assert_eq!(table.remove(a), Some("a"));
        assert_eq!(table.next_id(), table.insert("b"));
        assert_eq!(table.get(a), None);
        assert_eq!(table.remove(a), None);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn every_entry_is_found_over_many_chunks() {
        let mut table = Table::new(0);
        let ids: Vec<Id> = (0..3 * CHUNK).map(|n| table.insert(n)).collect();
        assert!(ids.iter().enumerate().all(|(n, id)| table.get(*id) == Some(&n)));
        assert!(ids.iter().step_by(2).all(|id| table.remove(*id).is_some()));
        assert_eq!(table.len(), 3 * CHUNK / 2);
        assert!((0..2 * CHUNK).all(|n| !ids.contains(&table.insert(n))));
        assert_eq!(table.len(), 3 * CHUNK / 2 + 2 * CHUNK);
        assert!(ids.iter().enumerate().skip(1).step_by(2).all(|(n, id)| table.get(*id) == Some(&n)));
    }

    #[test]
    fn ids_survive_the_trip_through_a_number() {
        let mut table = Table::new(u32::MAX);
        let id = table.insert(());
        assert_eq!(Id::from_u64(id.to_u64()), id);
    }
}
