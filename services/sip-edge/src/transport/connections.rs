//! The connections that phones have to this edge, by listener and address: what workers send by. Shared by all workers and connections, bounded.

use std::collections::hash_map;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::{FxHashMap, FxHasher};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::counters::{Counters, Refused};
use crate::endpoint::Peer;
use crate::endpoint::config::Transport;

const SHARDS: usize = 64;
/// What waits for one peer that reads slowly. More than the answers that one turn of a worker makes, so that a server that asks much at once by one connection
/// is not taken for one.
const MAX_MESSAGES: usize = 1024;
const MAX_BYTES: usize = 1 << 20;

type Key = (u8, SocketAddr);

#[derive(Debug)]
pub(crate) struct Connections {
    shards: Vec<Mutex<FxHashMap<Key, Entry>>>,
    per_address: Mutex<FxHashMap<IpAddr, usize>>,
    open: AtomicUsize,
    serial: AtomicU64,
    ended: Notify,
    max: usize,
    max_per_address: usize,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct Entry {
    serial: u64,
    /// The only sender: without the entry, the connection ends when its queue is empty.
    queue: mpsc::Sender<Vec<u8>>,
    queued: Arc<AtomicUsize>,
    hang_up: CancellationToken,
}

/// A connection's own half of its entry. Dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Connection {
    table: Arc<Connections>,
    key: Key,
    transport: Transport,
    serial: u64,
    pub(super) queue: Option<mpsc::Receiver<Vec<u8>>>,
    pub(super) queued: Arc<AtomicUsize>,
    /// The phone does not read what is sent to it.
    pub(super) hang_up: CancellationToken,
}

impl Connections {
    pub(crate) fn new(max: usize, max_per_address: usize, counters: Arc<Counters>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let (per_address, open, serial) = (Mutex::default(), AtomicUsize::new(0), AtomicU64::new(0));
        Self { shards, per_address, open, serial, ended: Notify::new(), max, max_per_address, counters }
    }

    /// Takes in a connection from `addr`. None: there are too many, all in all or from there.
    pub(super) fn admit(self: &Arc<Self>, listener: u8, transport: Transport, addr: SocketAddr) -> Option<Connection> {
        if self.open.fetch_add(1, Relaxed) >= self.max {
            self.open.fetch_sub(1, Relaxed);
            self.counters.streams.refused[Refused::Full as usize].add(1);
            return None;
        }
        let mut per_address = locked(&self.per_address);
        let of_address = per_address.entry(addr.ip()).or_default();
        if *of_address >= self.max_per_address {
            drop(per_address);
            self.open.fetch_sub(1, Relaxed);
            self.counters.streams.refused[Refused::AddressFull as usize].add(1);
            return None;
        }
        *of_address += 1;
        drop(per_address);
        let (queue, receiver) = mpsc::channel(MAX_MESSAGES);
        let (key, serial) = ((listener, addr), self.serial.fetch_add(1, Relaxed));
        let (queued, hang_up) = (Arc::<AtomicUsize>::default(), CancellationToken::new());
        // One with the same key came to another address of ours, and is as good as gone: its phone uses this one.
        self.shard(&key).insert(key, Entry { serial, queue, queued: Arc::clone(&queued), hang_up: hang_up.clone() });
        let counts = &self.counters.streams;
        counts.accepted[transport as usize].add(1);
        counts.open[transport as usize].add(1);
        Some(Connection { table: Arc::clone(self), key, transport, serial, queue: Some(receiver), queued, hang_up })
    }

    /// Queues a message. False: there is no such connection, or it was so slow that it has been given up.
    pub(crate) fn send(&self, to: Peer, bytes: Vec<u8>) -> bool {
        let key = (to.listener, to.addr);
        let mut shard = self.shard(&key);
        let hash_map::Entry::Occupied(entry) = shard.entry(key) else {
            self.counters.streams.unreachable.add(1);
            return false;
        };
        let connection = entry.get();
        let length = bytes.len();
        if connection.queued.fetch_add(length, Relaxed) + length <= MAX_BYTES && connection.queue.try_send(bytes).is_ok() {
            return true;
        }
        connection.hang_up.cancel();
        entry.remove();
        self.counters.streams.dropped.add(1);
        false
    }

    /// Closes every connection once what it has been given is sent.
    pub(crate) fn close(&self) {
        self.shards.iter().for_each(|shard| locked(shard).clear());
    }

    /// Waits until none is left.
    pub(crate) async fn closed(&self) {
        loop {
            let ended = self.ended.notified();
            if self.open.load(Relaxed) == 0 {
                return;
            }
            ended.await;
        }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, FxHashMap<Key, Entry>> {
        locked(&self.shards[spread(key, SHARDS)])
    }

    fn forget(&self, key: &Key, serial: u64) {
        let mut shard = self.shard(key);
        if shard.get(key).is_some_and(|entry| entry.serial == serial) {
            shard.remove(key);
        }
    }
}

impl Connection {
    pub(super) fn table(&self) -> &Arc<Connections> {
        &self.table
    }

    /// Nobody sends by it any more; what is queued is still sent.
    pub(super) fn close(&self) {
        self.table.forget(&self.key, self.serial);
    }

    /// The one of `workers` that has all of this connection's messages.
    pub(super) fn worker(&self, workers: usize) -> usize {
        spread(&self.key, workers)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
        let mut per_address = locked(&self.table.per_address);
        if let hash_map::Entry::Occupied(mut entry) = per_address.entry(self.key.1.ip()) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
        drop(per_address);
        self.table.open.fetch_sub(1, Relaxed);
        self.table.ended.notify_waiters();
        self.table.counters.streams.open[self.transport as usize].sub(1);
    }
}

/// The same for the same connection.
fn spread(key: &Key, over: usize) -> usize {
    let mut hasher = FxHasher::default();
    key.hash(&mut hasher);
    (hasher.finish() >> 32) as usize % over.max(1)
}

/// A panic while it was locked leaves it usable: at most a connection is not found.
fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use sip_core::routing::EdgeTag;

    use super::*;

    fn table(max: usize, max_per_address: usize) -> Arc<Connections> {
        Arc::new(Connections::new(max, max_per_address, Arc::default()))
    }

    fn admit(table: &Arc<Connections>, addr: &str) -> Option<Connection> {
        table.admit(1, Transport::Tcp, addr.parse().unwrap())
    }

    fn peer(addr: &str) -> Peer {
        Peer { edge: EdgeTag::HERE, listener: 1, addr: addr.parse().unwrap() }
    }

    #[test]
    fn connections_are_counted_all_in_all_and_by_address() {
        let table = table(3, 2);
        let one = admit(&table, "192.0.2.1:1").unwrap();
        let _two = admit(&table, "192.0.2.1:2").unwrap();
        assert!(admit(&table, "192.0.2.1:3").is_none(), "of this address");
        let _three = admit(&table, "192.0.2.2:1").unwrap();
        assert!(admit(&table, "192.0.2.3:1").is_none(), "all in all");
        drop(one);
        assert!(admit(&table, "192.0.2.1:4").is_some());
        let counts = &table.counters.streams;
        assert_eq!((counts.open[Transport::Tcp as usize].value(), counts.accepted[Transport::Tcp as usize].value()), (2, 4));
        assert_eq!(Refused::ALL.map(|why| counts.refused[why as usize].value()), [1, 1]);
    }

    #[test]
    fn a_slow_reader_has_a_bounded_queue_and_is_given_up() {
        let table = table(9, 9);
        let mut slow = admit(&table, "192.0.2.1:1").unwrap();
        let fits = (0..2000).take_while(|_| table.send(peer("192.0.2.1:1"), vec![0; 100])).count();
        assert_eq!((fits, slow.hang_up.is_cancelled(), table.counters.streams.dropped.value()), (MAX_MESSAGES, true, 1));
        assert!(!table.send(peer("192.0.2.1:1"), b"x".to_vec()), "gone");
        assert_eq!(table.counters.streams.unreachable.value(), 1);
        assert!(slow.queue.as_mut().unwrap().try_recv().is_ok());

        let large = admit(&table, "192.0.2.1:2").unwrap();
        let fits = (0..1000).take_while(|_| table.send(peer("192.0.2.1:2"), vec![0; 60_000])).count();
        assert_eq!((fits, large.hang_up.is_cancelled()), (17, true));
    }

    #[test]
    fn a_connection_that_ends_late_takes_no_newer_one_with_it() {
        let table = table(9, 9);
        let old = admit(&table, "192.0.2.1:1").unwrap();
        let _new = admit(&table, "192.0.2.1:1").unwrap();
        drop(old);
        assert!(table.send(peer("192.0.2.1:1"), b"x".to_vec()));
    }
}
