//! File descriptors: every connection of a phone takes one, and what a process is started with is often 1024.

use rustix::process::{Resource, getrlimit, setrlimit};

/// What else this process opens: sockets of workers, links, the admin server's connections, files that are read again.
const OTHERS: u64 = 512;

/// Raises the soft limit to the hard one, which anybody may, and says so where that is too few for so many connections: more are then refused by
/// the kernel instead of by us.
pub(crate) fn raise(connections: usize) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it may not be raised it stays as it is.
    let _ = setrlimit(Resource::Nofile, limit);
    let needed = connections as u64 + OTHERS;
    if let Some(limit) = getrlimit(Resource::Nofile).current.filter(|limit| *limit < needed) {
        tracing::warn!(
            limit,
            needed,
            "too few file descriptors for max-connections; raise the hard limit (ulimit -n) or lower the setting"
        );
    }
}
