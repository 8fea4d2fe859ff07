//! The credentials file: who we are for phones that challenge a recall. Read at the start and again when it changes; a bad new version is
//! reported and the last good one stays. Passwords are never printed: not of a bad file either.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fmt, io};

use redial_core::link::Credentials;
use redial_runtime::settings::Problem;
use tokio::sync::watch;
use toml::{Table, Value};

/// How often the file's modification time is looked at: a Secret changes by renaming a link, as a ConfigMap does.
const LOOK: Duration = Duration::from_secs(2);

/// Entries by name: what a policy's `credentials` names.
pub type CredentialSet = BTreeMap<String, Credentials>;

/// Why a credentials file was not taken.
#[derive(Debug)]
pub enum BadCredentials {
    Unreadable(PathBuf, io::Error),
    /// Every key that is wrong, and what is wrong with it.
    Wrong(PathBuf, Vec<(String, &'static str)>),
}

impl fmt::Display for BadCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Wrong(path, errors) => {
                write!(f, "{}:", path.display())?;
                errors.iter().try_for_each(|(key, problem)| write!(f, " {key}: {problem};"))
            }
        }
    }
}

impl std::error::Error for BadCredentials {}

/// One problem for every key, for a start that is refused.
#[must_use]
pub fn problems(bad: &BadCredentials) -> Vec<Problem> {
    match bad {
        BadCredentials::Unreadable(..) => vec![Problem::new("credentials", bad.to_string())],
        BadCredentials::Wrong(path, errors) => {
            let name = format!("credentials {}", path.display());
            errors.iter().map(|(key, problem)| Problem::new(name.clone(), format!("{key}: {problem}"))).collect()
        }
    }
}

/// Reads and checks a credentials file: tables `[name]` with `username` and `password`.
///
/// # Errors
/// When the file cannot be read or any key in it is wrong.
pub fn read(path: &Path) -> Result<CredentialSet, BadCredentials> {
    let text = std::fs::read_to_string(path).map_err(|error| BadCredentials::Unreadable(path.into(), error))?;
    parse(&text).map_err(|errors| BadCredentials::Wrong(path.into(), errors))
}

fn parse(text: &str) -> Result<CredentialSet, Vec<(String, &'static str)>> {
    // The parser's own message would quote the line, password and all.
    let table: Table = text.parse().map_err(|_: toml::de::Error| vec![("the file".to_owned(), "is no TOML")])?;
    let (mut set, mut errors) = (CredentialSet::new(), Vec::new());
    for (name, entry) in table {
        let Value::Table(mut entry) = entry else {
            errors.push((name, "expected a table with username and password"));
            continue;
        };
        let mut text = |key: &str| match entry.remove(key) {
            Some(Value::String(text)) if !text.is_empty() => text,
            Some(_) => {
                errors.push((format!("{name}.{key}"), "expected a string that is not empty"));
                String::new()
            }
            None => {
                errors.push((format!("{name}.{key}"), "is missing"));
                String::new()
            }
        };
        let credentials = Credentials { username: text("username"), password: text("password") };
        errors.extend(entry.keys().map(|key| (format!("{name}.{key}"), "unknown key")));
        set.insert(name, credentials);
    }
    if errors.is_empty() { Ok(set) } else { Err(errors) }
}

/// The credentials in force and where they come from.
#[derive(Debug)]
pub struct CredentialFile {
    path: PathBuf,
    seen: Option<(SystemTime, u64)>,
    current: watch::Sender<Arc<CredentialSet>>,
}

impl CredentialFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// As [`read`].
    pub fn open(path: &Path) -> Result<(Self, watch::Receiver<Arc<CredentialSet>>), BadCredentials> {
        let seen = stamp(path);
        let (current, credentials) = watch::channel(Arc::new(read(path)?));
        Ok((Self { path: path.into(), seen, current }, credentials))
    }

    /// Follows the file until the caller stops polling.
    pub async fn follow(mut self) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.reload_if_changed();
        }
    }

    fn reload_if_changed(&mut self) {
        let now = stamp(&self.path);
        if now == self.seen {
            return;
        }
        self.seen = now;
        match read(&self.path) {
            Ok(set) => {
                tracing::info!(file = %self.path.display(), entries = set.len(), "credentials read");
                self.current.send_replace(Arc::new(set));
            }
            Err(error) => tracing::error!(%error, "credentials not read, the last good ones stay"),
        }
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_and_every_bad_key_is_named_without_its_value() {
        let set = parse("[redial]\nusername = \"r\"\npassword = \"s3cret\"\n").unwrap();
        assert_eq!(set["redial"], Credentials { username: "r".to_owned(), password: "s3cret".to_owned() });
        assert!(!format!("{set:?}").contains("s3cret"));
        let errors = parse("plain = 1\n[a]\nusername = 7\nextra = \"s3cret\"\n[b]\nusername=\"b\"\npassword=\"\"\n").unwrap_err();
        let keys: Vec<_> = errors.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["a.username", "a.password", "a.extra", "b.password", "plain"]);
        let bad = BadCredentials::Wrong("f".into(), parse("[a]\npassword = \"s3cret\n").unwrap_err());
        assert!(!bad.to_string().contains("s3cret"), "{bad}");
    }

    #[test]
    fn a_bad_new_version_leaves_the_last_good_one() {
        let path = std::env::temp_dir().join(format!("redial-credentials-{}.toml", std::process::id()));
        std::fs::write(&path, "[a]\nusername='u'\npassword='p'\n").unwrap();
        let (mut file, current) = CredentialFile::open(&path).unwrap();
        std::fs::write(&path, "[a]\nusername='u'\n").unwrap();
        file.reload_if_changed();
        assert_eq!(current.borrow()["a"].password, "p");
        std::fs::write(&path, "[a]\nusername='u'\npassword='changed'\n").unwrap();
        file.reload_if_changed();
        assert_eq!(current.borrow()["a"].password, "changed");
    }
}
