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

/// Slots are used again; each use has its own generation.
#[derive(Debug)]
pub(crate) struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// First generation of a new slot: differs between workers and starts, so that an id of an earlier process is not ours.
    salt: u32,
}

impl<T> Table<T> {
    pub(crate) fn new(salt: u32) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), salt }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The id that the next [`Self::insert`] will use.
    pub(crate) fn next_id(&self) -> Id {
        match self.free.last() {
            Some(&slot) => Id { slot, generation: self.slots.get(slot as usize).map_or(self.salt, |s| s.generation) },
            None => Id { slot: self.slots.len() as u32, generation: self.salt },
        }
    }

    pub(crate) fn insert(&mut self, entry: T) -> Id {
        let id = self.next_id();
        match self.slots.get_mut(id.slot as usize) {
            Some(slot) => {
                slot.entry = Some(entry);
                self.free.pop();
            }
            None => self.slots.push(Slot { generation: id.generation, entry: Some(entry) }),
        }
        id
    }

    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        self.slots.get(id.slot as usize).filter(|s| s.generation == id.generation)?.entry.as_ref()
    }

    pub(crate) fn at(&mut self, id: Id) -> Option<&mut T> {
        self.slots.get_mut(id.slot as usize).filter(|s| s.generation == id.generation)?.entry.as_mut()
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let slot = self.slots.get_mut(id.slot as usize).filter(|s| s.generation == id.generation)?;
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
    fn ids_survive_the_trip_through_a_number() {
        let mut table = Table::new(u32::MAX);
        let id = table.insert(());
        assert_eq!(Id::from_u64(id.to_u64()), id);
    }
}
