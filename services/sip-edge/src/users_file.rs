//! The users file on disk: read at start, read again when it changes or on SIGHUP. A bad file never replaces a good one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::signal::unix::{SignalKind, signal};

use crate::users::{LineError, Users};

/// How often the file's time of change is looked at.
const POLL: Duration = Duration::from_secs(2);

/// Why the file gives no users.
#[derive(Debug, thiserror::Error)]
pub enum UsersFileError {
    #[error("{0}")]
    Read(#[from] std::io::Error),
    #[error("{} bad lines, the first: {}", .0.len(), .0.first().map(ToString::to_string).unwrap_or_default())]
    Lines(Vec<LineError>),
}

/// A users file and what it last said.
#[derive(Debug)]
pub struct UsersFile {
    path: PathBuf,
    seen: Option<SystemTime>,
    users: Arc<ArcSwap<Users>>,
}

impl UsersFile {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read or has bad lines.
    pub fn open(path: &Path) -> Result<Self, UsersFileError> {
        let seen = changed_at(path);
        let users = read(path)?;
        Ok(Self { path: path.to_owned(), seen, users: Arc::new(ArcSwap::from_pointee(users)) })
    }

    /// The users, replaced in place when the file changes.
    #[must_use]
    pub fn users(&self) -> Arc<ArcSwap<Users>> {
        Arc::clone(&self.users)
    }

    /// Reads the file again; on an error the last good users stay and every bad line is logged.
    pub fn reload(&mut self) {
        self.seen = changed_at(&self.path);
        let path = self.path.display();
        match read(&self.path) {
            Ok(users) => {
                tracing::info!(%path, users = users.len(), "users file read");
                self.users.store(Arc::new(users));
            }
            Err(UsersFileError::Read(error)) => tracing::error!(%path, %error, "users file unreadable, the last good one stays"),
            Err(UsersFileError::Lines(errors)) => {
                for error in &errors {
                    tracing::error!(%path, %error, "bad line in the users file");
                }
                tracing::error!(%path, bad = errors.len(), "users file not taken, the last good one stays");
            }
        }
    }

    /// Follows the file for ever.
    pub async fn follow(mut self) {
        let mut hangup = signal(SignalKind::hangup()).ok();
        let mut tick = tokio::time::interval(POLL);
        loop {
            let asked = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            let asked = tokio::select! {
                _ = asked => true,
                _ = tick.tick() => false,
            };
            if asked || changed_at(&self.path) != self.seen {
                self.reload();
            }
        }
    }
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn read(path: &Path) -> Result<Users, UsersFileError> {
    Users::parse(&std::fs::read_to_string(path)?).map_err(UsersFileError::Lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_file_keeps_the_last_good_one() {
        let path = std::env::temp_dir().join(format!("sip-edge-users-{}", std::process::id()));
        let line = |user: &str| format!("{user}:example.com:{}\n", "0".repeat(32));
        std::fs::write(&path, line("alice")).unwrap();
        let mut file = UsersFile::open(&path).unwrap();
        let users = file.users();
        assert_eq!(users.load().len(), 1);
        std::fs::write(&path, "nonsense\nalice:example.com:12\n").unwrap();
        file.reload();
        assert_eq!(users.load().len(), 1);
        assert!(matches!(UsersFile::open(&path), Err(UsersFileError::Lines(lines)) if lines.len() == 2));
        std::fs::remove_file(&path).unwrap();
        file.reload();
        assert_eq!(users.load().len(), 1);
        std::fs::write(&path, line("alice") + &line("bob")).unwrap();
        file.reload();
        assert_eq!(users.load().len(), 2);
    }
}
