//! Both stores against one conformance suite, and what only Redis has: outages, expiry notifications, keys.

mod books;
mod conformance;
mod expiry;
mod memory;
mod redis_server;
mod redis_store;
