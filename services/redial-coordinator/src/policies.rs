//! The policy file: read at the start, read again when it changes or on SIGHUP. A bad new version is reported, key by key, and the last
//! good one stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fmt, io};

use redial_core::PolicySet;
use redial_core::policy::PolicyError;
use redial_runtime::settings::Problem;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How often the file's modification time is looked at. ConfigMaps change by renaming a link, so there is nothing cheaper to wait for.
const LOOK: Duration = Duration::from_secs(2);

/// Why a policy file was not taken.
#[derive(Debug)]
pub enum BadPolicies {
    Unreadable(PathBuf, io::Error),
    /// Every key that is wrong.
    Wrong(PathBuf, Vec<PolicyError>),
}

impl fmt::Display for BadPolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Wrong(path, errors) => {
                write!(f, "{}:", path.display())?;
                errors.iter().try_for_each(|error| write!(f, " {error};"))
            }
        }
    }
}

impl std::error::Error for BadPolicies {}

/// Reads and checks a policy file.
///
/// # Errors
/// When the file cannot be read or any key in it is wrong.
pub fn read(path: &Path) -> Result<PolicySet, BadPolicies> {
    let text = std::fs::read_to_string(path).map_err(|error| BadPolicies::Unreadable(path.into(), error))?;
    PolicySet::parse(&text).map_err(|errors| BadPolicies::Wrong(path.into(), errors))
}

/// The set with `settle` in every policy, where one is given.
#[must_use]
pub fn settled(mut set: PolicySet, settle: Option<Duration>) -> PolicySet {
    if let Some(settle) = settle {
        set.default.settle = settle;
        set.rules.iter_mut().for_each(|rule| rule.policy.settle = settle);
    }
    set
}

/// One problem for every key, for a start that is refused.
#[must_use]
pub fn problems(bad: &BadPolicies) -> Vec<Problem> {
    match bad {
        BadPolicies::Unreadable(..) => vec![Problem::new("policy", bad.to_string())],
        BadPolicies::Wrong(path, errors) => {
            errors.iter().map(|error| Problem::new(format!("policy {}", path.display()), error.to_string())).collect()
        }
    }
}

/// The policies in force and where they come from.
#[derive(Debug)]
pub struct PolicyFile {
    path: PathBuf,
    settle: Option<Duration>,
    seen: Option<Stamp>,
    current: watch::Sender<Arc<PolicySet>>,
}

/// What changes when the file does.
type Stamp = (SystemTime, u64);

impl PolicyFile {
    /// Reads the file for the first time. `settle` overrides that of every policy, now and later.
    ///
    /// # Errors
    /// As [`read`].
    pub fn open(path: &Path, settle: Option<Duration>) -> Result<(Self, watch::Receiver<Arc<PolicySet>>), BadPolicies> {
        let seen = stamp(path);
        let (current, policies) = watch::channel(Arc::new(settled(read(path)?, settle)));
        Ok((Self { path: path.into(), settle, seen, current }, policies))
    }

    /// Follows the file until the caller stops polling.
    pub async fn follow(mut self) {
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => Some(hangups),
            Err(error) => {
                tracing::warn!(%error, "SIGHUP not heard, the policy file is still followed");
                None
            }
        };
        loop {
            let hangup = async {
                match &mut hangups {
                    Some(hangups) => hangups.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = hangup => self.reload(),
                () = tokio::time::sleep(LOOK) => self.reload_if_changed(),
            }
        }
    }

    fn reload_if_changed(&mut self) {
        if stamp(&self.path) != self.seen {
            self.reload();
        }
    }

    fn reload(&mut self) {
        self.seen = stamp(&self.path);
        match read(&self.path) {
            Ok(set) => {
                let set = settled(set, self.settle);
                let changed = self.current.send_if_modified(|current| {
                    let differs = **current != set;
                    if differs {
                        *current = Arc::new(set);
                    }
                    differs
                });
                tracing::info!(file = %self.path.display(), changed, "policies read");
            }
            Err(BadPolicies::Wrong(path, errors)) => {
                for error in errors {
                    tracing::error!(file = %path.display(), key = error.key, problem = error.problem, "bad policy, the last good ones stay");
                }
            }
            Err(error) => tracing::error!(%error, "policies not read, the last good ones stay"),
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("redial-policies-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_changed_file_replaces_the_policies() {
        let path = file("good", "maxWatches = 7\n");
        let (mut source, policies) = PolicyFile::open(&path, None).unwrap();
        assert_eq!(policies.borrow().max_watches, 7);
        std::fs::write(&path, "maxWatches = 1234\n").unwrap();
        source.reload_if_changed();
        assert_eq!(policies.borrow().max_watches, 1234);
    }

    #[test]
    fn a_given_settle_overrides_every_policy() {
        let path = file("settle", "[default]\nsettle = \"9s\"\n[[rule]]\ndomain = \"*\"\nsettle = \"8s\"\n");
        let (_, policies) = PolicyFile::open(&path, Some(Duration::ZERO)).unwrap();
        let set = policies.borrow().clone();
        assert_eq!((set.default.settle, set.rules[0].policy.settle), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn a_bad_or_missing_file_leaves_the_last_good_policies() {
        let path = file("bad", "maxWatches = 7\n");
        let (mut source, policies) = PolicyFile::open(&path, None).unwrap();
        std::fs::write(&path, "maxWatches = 0\nnonsense = true\n").unwrap();
        source.reload_if_changed();
        assert_eq!(policies.borrow().max_watches, 7);
        std::fs::remove_file(&path).unwrap();
        source.reload_if_changed();
        assert_eq!(policies.borrow().max_watches, 7);
    }

    #[test]
    fn a_bad_file_at_the_start_names_every_bad_key() {
        let path = file("first", "nonsense = true\nmaxWatches = \"many\"\n");
        let said: Vec<String> = problems(&PolicyFile::open(&path, None).unwrap_err()).iter().map(ToString::to_string).collect();
        for key in ["nonsense", "maxWatches"] {
            assert_eq!(said.iter().filter(|line| line.contains(key)).count(), 1, "{said:?}");
        }
        assert!(matches!(PolicyFile::open(Path::new("/nowhere/at/all"), None), Err(BadPolicies::Unreadable(..))));
    }
}
