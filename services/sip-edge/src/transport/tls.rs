//! Certificate and key on disk: read at start, read again when they change, as cert-manager renews a mounted Secret. A bad pair never replaces a good one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use redial_runtime::pem::{self, Pem};
use rustls::ServerConfig;
use rustls::crypto::ring;

use crate::counters::Counters;

/// How often the files' times of change are looked at.
const POLL: Duration = Duration::from_secs(2);

/// Why the files give no identity.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{0}")]
    Certificate(String),
    #[error("{0}")]
    Key(String),
    /// The key is another certificate's, or of a kind that is not known.
    #[error("certificate and key are of no use together: {0}")]
    Pair(rustls::Error),
}

/// What is offered to phones, and until when it is valid.
#[derive(Clone, Debug)]
struct Identity {
    config: Arc<ServerConfig>,
    /// Seconds since 1970.
    expires: u64,
}

/// The two files and what they last said.
#[derive(Debug)]
pub struct TlsFiles {
    cert: PathBuf,
    key: PathBuf,
    seen: [Option<SystemTime>; 2],
    expires: u64,
    config: Arc<ArcSwap<ServerConfig>>,
}

impl TlsFiles {
    /// Reads both files: PEM, the certificate with its chain.
    ///
    /// # Errors
    /// Which file is wrong, and why.
    pub fn open(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let seen = [changed_at(cert), changed_at(key)];
        let Identity { config, expires } = read(cert, key)?;
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), seen, expires, config: Arc::new(ArcSwap::new(config)) })
    }

    /// Replaced in place when the files change; connections that are open keep theirs.
    pub(crate) fn config(&self) -> Arc<ArcSwap<ServerConfig>> {
        Arc::clone(&self.config)
    }

    /// Follows the files for ever.
    pub(crate) async fn follow(mut self, counters: Arc<Counters>) {
        counters.streams.certificate_expires.set(self.expires);
        let mut tick = tokio::time::interval(POLL);
        loop {
            tick.tick().await;
            if [changed_at(&self.cert), changed_at(&self.key)] != self.seen {
                self.reload(&counters);
            }
        }
    }

    fn reload(&mut self, counters: &Counters) {
        self.seen = [changed_at(&self.cert), changed_at(&self.key)];
        let cert = self.cert.display();
        match read(&self.cert, &self.key) {
            Ok(identity) => {
                tracing::info!(%cert, expires = identity.expires, "certificate read");
                self.config.store(identity.config);
                counters.streams.certificate_expires.set(identity.expires);
            }
            Err(error) => {
                counters.streams.certificate_errors.add(1);
                tracing::error!(%cert, %error, "certificate not taken, the last good one stays");
            }
        }
    }
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn read(cert: &Path, key: &Path) -> Result<Identity, TlsError> {
    let Pem { found: chain, .. } = pem::certificates(cert).map_err(TlsError::Certificate)?;
    let unread = |error| TlsError::Certificate(format!("{}: {error}", cert.display()));
    let (_, parsed) = x509_parser::parse_x509_certificate(&chain[0]).map_err(unread)?;
    let expires = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    let Pem { found: key, .. } = pem::key(key).map_err(TlsError::Key)?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::Pair)?;
    let config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(TlsError::Pair)?;
    Ok(Identity { config: Arc::new(config), expires })
}
