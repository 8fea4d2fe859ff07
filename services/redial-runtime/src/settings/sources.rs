//! Where values come from, and which of them wins.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};

use super::problem::{Problem, Stop};
use super::values::{boolean, check, is_list, takes_value, variable};

/// Everything that a process was given.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Arguments after the program's (or the subcommand's) name.
    pub args: Vec<OsString>,
    pub environment: BTreeMap<String, OsString>,
}

impl Sources {
    /// These arguments and the environment of this process.
    #[must_use]
    pub fn of_process(args: impl IntoIterator<Item = OsString>) -> Self {
        let environment = std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().map(|name| (name, value))).collect();
        Self { args: args.into_iter().collect(), environment }
    }

    /// A command line that holds the winning value of every key, for clap to turn into the settings.
    pub(super) fn resolve(&self, command: &Command) -> Result<Vec<OsString>, Stop> {
        let mut given = Given::new(command);
        given.take_arguments(&self.args)?;
        given.take_environment(&self.environment);
        given.take_file();
        given.finish()
    }
}

/// Values by key. A source that names a key replaces what weaker sources say about it, lists included.
struct Given<'a> {
    command: &'a Command,
    values: BTreeMap<String, Vec<String>>,
    problems: Vec<Problem>,
}

impl<'a> Given<'a> {
    fn new(command: &'a Command) -> Self {
        Self { command, values: BTreeMap::new(), problems: Vec::new() }
    }

    fn arg(&self, key: &str) -> Option<&'a Arg> {
        self.command.get_arguments().find(|arg| arg.get_long() == Some(key))
    }

    fn problem(&mut self, key: &str, text: impl Into<String>) {
        self.problems.push(Problem::new(key, text));
    }

    fn take_arguments(&mut self, args: &[OsString]) -> Result<(), Stop> {
        let mut rest = args.iter();
        while let Some(raw) = rest.next() {
            let Some(text) = raw.to_str() else {
                self.problem(&raw.to_string_lossy(), "is not UTF-8");
                continue;
            };
            if matches!(text, "-h" | "--help" | "-V" | "--version") {
                let asked = self.command.clone().no_binary_name(true).try_get_matches_from([text]);
                if let Err(error) = asked
                    && let help @ Stop::Help(_) = Stop::from_clap(&error)
                {
                    return Err(help);
                }
            }
            let Some(flag) = text.strip_prefix("--").filter(|flag| !flag.is_empty()) else {
                self.problem(text, "unexpected argument; settings are given as --NAME VALUE");
                continue;
            };
            let (key, inline) = flag.split_once('=').map_or((flag, None), |(key, value)| (key, Some(value.to_owned())));
            let Some(arg) = self.arg(key) else {
                self.problem(key, "unknown setting");
                // A value that follows an unknown flag is most likely its own.
                if inline.is_none() && rest.as_slice().first().is_some_and(|next| !next.to_string_lossy().starts_with('-')) {
                    rest.next();
                }
                continue;
            };
            let value = match inline {
                Some(value) => value,
                None if !takes_value(arg) => "true".to_owned(),
                None => match rest.next().map(|next| next.to_str()) {
                    Some(Some(value)) if !value.starts_with("--") => value.to_owned(),
                    _ => {
                        self.problem(key, "needs a value");
                        continue;
                    }
                },
            };
            let values = self.values.entry(key.to_owned()).or_default();
            if !values.is_empty() && takes_value(arg) && !is_list(arg) {
                self.problem(key, "given more than once");
                continue;
            }
            values.push(value);
        }
        Ok(())
    }

    fn take_environment(&mut self, environment: &BTreeMap<String, OsString>) {
        for arg in self.command.get_arguments() {
            let Some(key) = arg.get_long() else { continue };
            let Some(value) = environment.get(&variable(key)) else { continue };
            if self.values.contains_key(key) {
                continue;
            }
            let Some(text) = value.to_str() else {
                self.problem(key, format!("{} is not UTF-8", variable(key)));
                continue;
            };
            let values = if is_list(arg) {
                text.split([',', ' ']).filter(|v| !v.is_empty()).map(str::to_owned).collect()
            } else {
                vec![text.to_owned()]
            };
            self.values.insert(key.to_owned(), values);
        }
    }

    fn take_file(&mut self) {
        let Some(path) = self.values.get("config").and_then(|values| values.first()).map(PathBuf::from) else { return };
        match read_table(&path) {
            Ok(table) => self.take_table(&table),
            Err(text) => self.problem("config", text),
        }
    }

    fn take_table(&mut self, table: &toml::Table) {
        for (key, value) in table {
            let Some(arg) = self.arg(key).filter(|_| key != "config") else {
                self.problem(key, "unknown setting");
                continue;
            };
            let found = match value {
                toml::Value::Array(items) if is_list(arg) => items.iter().map(scalar).collect(),
                other => scalar(other).map(|one| vec![one]),
            };
            match found {
                Some(values) if !self.values.contains_key(key) => drop(self.values.insert(key.clone(), values)),
                // Overruled, but still wrong when it is wrong.
                Some(values) => self.check_all(arg, key, &values),
                None => self.problem(key, format!("expected a value, found {}", value.type_str())),
            }
        }
    }

    fn check_all(&mut self, arg: &Arg, key: &str, values: &[String]) {
        for value in values {
            if let Err(problem) = check(arg, key, value) {
                self.problems.push(problem);
            }
        }
    }

    fn finish(mut self) -> Result<Vec<OsString>, Stop> {
        let mut line: Vec<OsString> = vec![self.command.get_name().into()];
        for (key, values) in std::mem::take(&mut self.values) {
            let Some(arg) = self.arg(&key) else { continue };
            self.check_all(arg, &key, &values);
            if takes_value(arg) {
                line.extend(values.iter().map(|value| OsString::from(format!("--{key}={value}"))));
            } else if values.last().and_then(|value| boolean(value)) == Some(true) {
                line.push(format!("--{key}").into());
            }
        }
        for arg in self.command.get_arguments().filter(|arg| arg.is_required_set()) {
            let Some(key) = arg.get_long() else { continue };
            let flag = OsString::from(format!("--{key}="));
            if !line.iter().any(|one| one.to_string_lossy().starts_with(&*flag.to_string_lossy())) {
                self.problem(key, format!("is required: --{key} or {}", variable(key)));
            }
        }
        if self.problems.is_empty() { Ok(line) } else { Err(Stop::Problems(self.problems)) }
    }
}

fn read_table(path: &Path) -> Result<toml::Table, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.parse::<toml::Table>().map_err(|error| {
        let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or(&text).lines().count().max(1));
        format!("{} line {line}: {}", path.display(), error.message())
    })
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}
