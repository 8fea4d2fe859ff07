//! Digest access authentication: RFC 7616, RFC 8760; SHA-256 and MD5, qop=auth.
//!
//! Nonces are keyed hashes of time and source, so any edge that shares the secret can check them and no edge keeps a list.
