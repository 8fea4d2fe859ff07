//! Which Redis, and by which certificates.

use std::path::{Path, PathBuf};

use clap::Args;
use redial_runtime::pem::{self, CertificateDer, Pem, PrivateKeyDer};
use redial_runtime::settings::Problem;
use redis::{ClientTlsConfig, TlsCertificates};
use rustls::{ClientConfig, RootCertStore};

use crate::store::RedisStore;

/// Where bindings and watches are kept.
#[derive(Clone, Debug, Default, Args)]
pub struct RedisSettings {
    /// Redis that holds bindings and watches, as redis://HOST:PORT/DB or rediss://...; without it this process alone has them, and nothing survives it
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,
    /// Certificates (PEM) of who signs that of Redis, with rediss:// [default: the public certificate authorities]
    #[arg(long, value_name = "FILE")]
    pub redis_ca: Option<PathBuf>,
    /// Our own certificate (PEM, with its chain), where Redis asks for one
    #[arg(long, value_name = "FILE")]
    pub redis_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE")]
    pub redis_key: Option<PathBuf>,
}

impl RedisSettings {
    /// What the operator is told that the store is.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        if self.redis.is_some() { "redis" } else { "memory" }
    }

    /// The store, which connects when it is asked something first; none without a URL. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Every key that is wrong: a URL that is none, a file that cannot be read or holds something else, a file without use.
    pub fn open(&self) -> Result<Option<RedisStore>, Vec<Problem>> {
        let files = [("redis-ca", &self.redis_ca), ("redis-cert", &self.redis_cert), ("redis-key", &self.redis_key)];
        let given: Vec<_> = files.iter().filter(|(_, file)| file.is_some()).map(|(key, _)| *key).collect();
        // As the client decides it.
        let is_tls = |url: &String| ["rediss://", "valkeys://"].iter().any(|scheme| url.starts_with(scheme));
        if !given.is_empty() && !self.redis.as_ref().is_some_and(is_tls) {
            return Err(given.into_iter().map(|key| Problem::new(key, "counts only where redis is rediss://...")).collect());
        }
        let Some(url) = &self.redis else { return Ok(None) };
        let store = if given.is_empty() { RedisStore::open(url) } else { RedisStore::open_tls(url, self.certificates()?) };
        store.map(Some).map_err(|error| vec![Problem::new("redis", error.to_string())])
    }

    /// The files, as far as they are found to be what they should. The client would take an empty one, and find a key that does not
    /// belong to its certificate only when it connects.
    fn certificates(&self) -> Result<TlsCertificates, Vec<Problem>> {
        let mut problems = Vec::new();
        let root_cert = self.redis_ca.as_deref().and_then(|path| noted(&mut problems, "redis-ca", authorities(path)));
        let mut alone = |key| problems.push(Problem::new(key, "redis-cert and redis-key are given together or not at all"));
        let client_tls = match (&self.redis_cert, &self.redis_key) {
            (None, None) => None,
            (Some(_), None) => {
                alone("redis-cert");
                None
            }
            (None, Some(_)) => {
                alone("redis-key");
                None
            }
            (Some(cert), Some(key)) => {
                let cert = noted(&mut problems, "redis-cert", pem::certificates(cert));
                let key = noted(&mut problems, "redis-key", pem::key(key));
                cert.zip(key).and_then(|(cert, key)| noted(&mut problems, "redis-key", identity(cert, key)))
            }
        };
        if problems.is_empty() { Ok(TlsCertificates { client_tls, root_cert }) } else { Err(problems) }
    }
}

fn noted<T>(problems: &mut Vec<Problem>, key: &str, outcome: Result<T, String>) -> Option<T> {
    outcome.map_err(|wrong| problems.push(Problem::new(key, wrong))).ok()
}

fn authorities(path: &Path) -> Result<Vec<u8>, String> {
    let Pem { bytes, found } = pem::certificates(path)?;
    let mut store = RootCertStore::empty();
    for certificate in found {
        store.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(bytes)
}

fn identity(cert: Pem<Vec<CertificateDer<'static>>>, key: Pem<PrivateKeyDer<'static>>) -> Result<ClientTlsConfig, String> {
    let client = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(cert.found, key.found);
    client.map_err(|error| format!("does not fit redis-cert: {error}"))?;
    Ok(ClientTlsConfig { client_cert: cert.bytes, client_key: key.bytes })
}
