//! Which Redis, and by which certificates.

use std::path::{Path, PathBuf};

use clap::Args;
use redial_runtime::settings::Problem;
use redis::{ClientTlsConfig, TlsCertificates};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
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
        let mut take = |key, file: &Option<PathBuf>, check: fn(&[u8]) -> Result<(), String>| {
            let path = file.as_ref()?;
            let problem = |text| Problem::new(key, format!("{}: {text}", path.display()));
            let read = read(path).and_then(|pem| check(&pem).map(|()| pem)).map_err(problem);
            read.map_err(|problem| problems.push(problem)).ok()
        };
        let root_cert = take("redis-ca", &self.redis_ca, |pem| authorities(pem).map(drop));
        let client_cert = take("redis-cert", &self.redis_cert, |pem| chain(pem).map(drop));
        let client_key = take("redis-key", &self.redis_key, |pem| key(pem).map(drop));
        if self.redis_cert.is_some() != self.redis_key.is_some() {
            let alone = if self.redis_cert.is_some() { "redis-cert" } else { "redis-key" };
            problems.push(Problem::new(alone, "redis-cert and redis-key are given together or not at all"));
        }
        let client_tls = client_cert.zip(client_key).map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        if let Some(ours) = &client_tls
            && let Err(text) = belong_together(ours)
        {
            problems.push(Problem::new("redis-key", text));
        }
        if problems.is_empty() { Ok(TlsCertificates { client_tls, root_cert }) } else { Err(problems) }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| error.to_string())
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    if found.is_empty() { Err("holds no certificate (PEM)".to_owned()) } else { Ok(found) }
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in chain(pem)? {
        store.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(store)
}

fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| "holds no private key (PEM)".to_owned())
}

fn belong_together(ours: &ClientTlsConfig) -> Result<(), String> {
    let (chain, key) = (chain(&ours.client_cert)?, key(&ours.client_key)?);
    let client = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(chain, key);
    client.map(drop).map_err(|error| format!("does not fit redis-cert: {error}"))
}
