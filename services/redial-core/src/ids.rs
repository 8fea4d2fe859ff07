//! Newtypes for everything that could be swapped by mistake.

use std::fmt;
use std::sync::Arc;

/// Number of shards that AoRs are spread over; the shard is the Redis Cluster hash tag.
pub const SHARDS: u16 = 1024;

/// Address-of-record in canonical form: `user@host`, user unescaped once and re-escaped minimally, host lower case,
/// no port, no parameters (RFC 3261 section 10.3 step 5). Built by `sip_core::uri`; this type only carries it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Aor(Arc<str>);

impl Aor {
    /// Takes a string that is already canonical.
    #[must_use]
    pub fn new(canonical: impl Into<Arc<str>>) -> Self {
        Self(canonical.into())
    }
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The part after the last `@`.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or(&*self.0, |(_, host)| host)
    }
    /// The part before the last `@`; empty when there is none.
    #[must_use]
    pub fn user(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(user, _)| user)
    }
    #[must_use]
    pub fn shard(&self) -> Shard {
        Shard::of(self)
    }
}

impl AsRef<str> for Aor {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One of [`SHARDS`] groups of AoRs. FNV-1a of the AoR: stable across versions and machines, because it is part of stored keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(pub u16);

impl Shard {
    #[must_use]
    pub fn of(aor: &Aor) -> Self {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in aor.as_str().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self(((hash >> 32) ^ hash) as u16 % SHARDS)
    }
}

/// The two ends of a watch. There is at most one watch per pair.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    pub callee: Aor,
    pub caller: Aor,
}

/// Generation of a watch record: grows by one with every change, so a late writer or a stale report is recognised.
/// The first fence of a record is its arming time in milliseconds, so a watch armed again never repeats a fence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

impl Fence {
    /// The fence of no record.
    pub const GONE: Self = Self(0);
}

/// Name of one edge process, unique among all that are attached (host name, pod name or a given name).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeId(Arc<str>);

impl EdgeId {
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a message reached an edge, in that edge's own words (`udp/0/192.0.2.7:5060`). Opaque to everybody else:
/// it is stored with a binding and handed back to the same edge.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow(Arc<str>);

impl Flow {
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
