//! Certificates and keys from files (PEM, RFC 7468), read and checked before anything is started.

use std::path::Path;

use rustls::pki_types::pem::PemObject as _;
pub use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A file's bytes, for whoever reads them himself, and what is in them.
#[derive(Debug)]
pub struct Pem<T> {
    pub bytes: Vec<u8>,
    pub found: T,
}

/// One certificate or more.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn certificates(path: &Path) -> Result<Pem<Vec<CertificateDer<'static>>>, String> {
    read(path, |bytes| {
        let found: Vec<_> = CertificateDer::pem_slice_iter(bytes).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        if found.is_empty() { Err("holds no certificate (PEM)".to_owned()) } else { Ok(found) }
    })
}

/// A private key: the first of the file.
///
/// # Errors
/// As [`certificates`].
pub fn key(path: &Path) -> Result<Pem<PrivateKeyDer<'static>>, String> {
    read(path, |bytes| PrivateKeyDer::from_pem_slice(bytes).map_err(|_| "holds no private key (PEM)".to_owned()))
}

fn read<T>(path: &Path, parse: impl Fn(&[u8]) -> Result<T, String>) -> Result<Pem<T>, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string());
    let pem = bytes.and_then(|bytes| parse(&bytes).map(|found| Pem { bytes, found }));
    pem.map_err(|wrong| format!("{}: {wrong}", path.display()))
}
