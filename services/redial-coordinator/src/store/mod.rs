//! The two stores: [`memory`] for one process, [`redis`] for several. Both implement [`redial_core::WatchStore`] and pass the same
//! conformance suite (`tests/stores/conformance`).

mod codec;
pub mod expiry;
mod keys;
pub mod memory;
pub mod redis;
mod registration;

pub use memory::MemoryStore;
pub use redis::RedisStore;
