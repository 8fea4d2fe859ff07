//! What is wrong with the settings.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::EXIT_USAGE;

/// One bad setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The flag's name without dashes, or whatever was found in its place.
    pub key: String,
    pub text: String,
}

impl Problem {
    /// A problem with `key`.
    pub fn new(key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { key: key.into(), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.text)
    }
}

/// Why a process does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Help or version was asked for.
    Help(String),
    /// Every bad key.
    Problems(Vec<Problem>),
}

impl Stop {
    /// Prints it where it belongs and says how to exit.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        match self {
            Self::Help(text) => {
                // A reader that closed the pipe early has read enough.
                let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
                ExitCode::SUCCESS
            }
            Self::Problems(problems) => {
                for problem in problems {
                    eprintln!("{problem}");
                }
                ExitCode::from(EXIT_USAGE)
            }
        }
    }

    pub(super) fn from_clap(error: &clap::Error) -> Self {
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Self::Help(error.render().to_string()),
            _ => Self::Problems(vec![Problem::new(key_of(error), text_of(error))]),
        }
    }
}

fn key_of(error: &clap::Error) -> String {
    let shown = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(arg)) => arg.as_str(),
        Some(ContextValue::Strings(args)) => args.first().map_or("", String::as_str),
        _ => "",
    };
    shown.split([' ', '=']).next().unwrap_or_default().trim_start_matches('-').to_owned()
}

/// The reason alone, without clap's decoration around it.
pub(super) fn text_of(error: &clap::Error) -> String {
    if let Some(source) = std::error::Error::source(error) {
        return source.to_string();
    }
    if let (ErrorKind::InvalidValue, Some(ContextValue::Strings(valid))) = (error.kind(), error.get(ContextKind::ValidValue)) {
        return format!("expected one of {}", valid.join(", "));
    }
    let rendered = error.to_string();
    rendered.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}
