//! Checking one value against its declaration.

use std::time::Duration;

use clap::{Arg, ArgAction, Command};

use super::problem::{Problem, text_of};

/// A duration with its unit: `1s`, `500ms`, `1h 30m`, `0s`.
///
/// # Errors
/// A sentence that names the form expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim()).map_err(|_| format!("`{text}` is no duration such as 500ms, 1s or 1h 30m"))
}

/// Gives every flag its environment variable, so that `--help` shows it, and adds `--config`.
pub(super) fn with_environment(command: Command) -> Command {
    let command = command.disable_help_subcommand(true).arg(
        Arg::new("config").long("config").value_name("FILE").help("TOML file with any of these settings; the keys are the flags' names"),
    );
    command.mut_args(|arg| match arg.get_long().map(variable) {
        Some(name) => arg.env(name).hide_env_values(true),
        None => arg,
    })
}

/// The command as it takes the resolved values: flags alone, since environment and file are already merged in.
pub(super) fn strict(command: &Command) -> Command {
    command.clone().mut_args(|arg| arg.env(None::<&'static str>))
}

/// `log-format` is `REDIAL_LOG_FORMAT`.
pub(super) fn variable(long: &str) -> String {
    format!("REDIAL_{}", long.to_uppercase().replace('-', "_"))
}

pub(super) fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

pub(super) fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// Whether a flag without value is on.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" | "" => Some(false),
        _ => None,
    }
}

/// Runs the setting's own parser on one value.
pub(super) fn check(arg: &Arg, key: &str, value: &str) -> Result<(), Problem> {
    if !takes_value(arg) {
        return boolean(value).map(drop).ok_or_else(|| Problem::new(key, format!("`{value}` is neither true nor false")));
    }
    let lone = Arg::new("value")
        .long(key.to_owned())
        .action(ArgAction::Set)
        .num_args(1)
        .allow_hyphen_values(true)
        .value_parser(arg.get_value_parser().clone());
    let outcome = Command::new("check").no_binary_name(true).arg(lone).try_get_matches_from([format!("--{key}={value}")]);
    outcome.map(drop).map_err(|error| Problem::new(key, text_of(&error)))
}
