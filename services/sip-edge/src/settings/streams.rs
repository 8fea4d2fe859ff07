//! Settings of phones that come by connections.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use redial_runtime::settings::{Problem, duration};

use super::ListenAddr;
use crate::app::StreamsConfig;
use crate::endpoint::config::Transport;
use crate::transport::tls::{TlsError, TlsFiles};

#[derive(Clone, Debug, Args)]
pub struct StreamSettings {
    /// Certificate for tls listeners, with its chain, in PEM; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate, in PEM; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Connections that may be open at once; more are closed at once
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: u32,
    /// Connections that may be open from one address; phones behind one NAT share it
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections_per_ip: u32,
    /// A connection by which nothing has come for so long is closed; longer than phones wait between two registrations
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = duration)]
    pub connection_idle: Duration,
    /// How long a message by a connection may take to be complete or to be taken; the first one from the start, TLS handshake included
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration)]
    pub connection_message: Duration,
}

impl StreamSettings {
    /// Reads certificate and key where a listener needs them.
    pub(super) fn checked(&self, listen: &[ListenAddr], problems: &mut Vec<Problem>) -> StreamsConfig {
        for (key, time) in [("connection-idle", self.connection_idle), ("connection-message", self.connection_message)] {
            if time.is_zero() {
                problems.push(Problem::new(key, "must be longer than 0s"));
            }
        }
        StreamsConfig {
            tls: self.tls(listen.iter().any(|listen| listen.transport == Transport::Tls), problems),
            max_connections: self.max_connections as usize,
            connections_per_ip: self.connections_per_ip as usize,
            idle: self.connection_idle,
            message: self.connection_message,
        }
    }

    fn tls(&self, wanted: bool, problems: &mut Vec<Problem>) -> Option<TlsFiles> {
        let mut problem = |key: &str, text: String| problems.push(Problem::new(key, text));
        let files = [("tls-cert", &self.tls_cert), ("tls-key", &self.tls_key)];
        if !wanted {
            for (key, _) in files.iter().filter(|(_, file)| file.is_some()) {
                problem(key, "is for nobody: no listener is tls:ADDRESS:PORT".to_owned());
            }
            return None;
        }
        for (key, _) in files.iter().filter(|(_, file)| file.is_none()) {
            problem(key, "is needed by a tls listener".to_owned());
        }
        let (cert, key) = (self.tls_cert.as_ref()?, self.tls_key.as_ref()?);
        match TlsFiles::open(cert, key) {
            Ok(files) => return Some(files),
            Err(error @ (TlsError::Certificate(..) | TlsError::Pair(_))) => problem("tls-cert", error.to_string()),
            Err(error @ TlsError::Key(..)) => problem("tls-key", error.to_string()),
        }
        None
    }
}
