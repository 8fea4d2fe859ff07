//! The secret that keys nonces, tags and flow tokens. Every edge of an installation needs the same one.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Fewer bytes could be guessed.
const SHORTEST: usize = 32;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("holds {0} bytes; at least {SHORTEST} are needed")]
    Short(usize),
}

/// The key derived from the file's content, white space at its end left out.
///
/// # Errors
/// The file cannot be read or is too short.
pub fn from_file(path: &Path) -> Result<[u8; 32], SecretError> {
    let content = std::fs::read(path)?;
    let content = content.trim_ascii_end();
    if content.len() < SHORTEST {
        return Err(SecretError::Short(content.len()));
    }
    Ok(Sha256::digest(content).into())
}

/// A key for this process alone.
///
/// # Errors
/// The kernel's random source cannot be read.
pub fn random() -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_secret_is_refused_and_a_final_newline_does_not_count() {
        let path = std::env::temp_dir().join(format!("sip-edge-secret-{}", std::process::id()));
        std::fs::write(&path, "0123456789abcdef0123456789abcde\n").unwrap();
        assert!(matches!(from_file(&path), Err(SecretError::Short(31))));
        std::fs::write(&path, "0123456789abcdef0123456789abcdef\n").unwrap();
        let with_newline = from_file(&path).unwrap();
        std::fs::write(&path, "0123456789abcdef0123456789abcdef").unwrap();
        assert_eq!(with_newline, from_file(&path).unwrap());
        assert_ne!(random().unwrap(), random().unwrap());
    }
}
