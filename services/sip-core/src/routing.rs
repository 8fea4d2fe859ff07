//! The decisions of RFC 3261 section 16 as functions over a message. No state, no I/O.
