//! The users file: `user:realm:hash` lines as htdigest writes them; a 32-digit hash is MD5, a 64-digit one SHA-256.

/// Every user's HA1 values.
#[derive(Debug, Default)]
pub struct Users {}
