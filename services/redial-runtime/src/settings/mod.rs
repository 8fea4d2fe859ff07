//! One reader for every binary's settings: flag, then environment (`REDIAL_<NAME>`), then TOML file (`--config FILE`), then default.
//!
//! A setting is declared once, as a field of a clap `Args` struct with a long flag. The flag's name is its key in the file, and
//! `REDIAL_` with the name in capitals is its environment variable. Every bad key is reported, not just the first, and nothing is corrected.
//! An unknown variable is not an error: orchestrators put their own `REDIAL_*` variables into the environment.

mod problem;
mod sources;
mod values;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Command};

pub use problem::{Problem, Stop};
pub use sources::Sources;
pub use values::duration;

/// EX_USAGE of sysexits.h: the settings are wrong, nothing was started.
pub const EXIT_USAGE: u8 = 64;

/// Reads the settings of this process; a problem is printed and becomes the exit code.
///
/// # Errors
/// The exit code to return from main: 0 after `--help`, [`EXIT_USAGE`] when a key is bad.
pub fn read<T: Args>(about: Command) -> Result<T, ExitCode> {
    read_after::<T>(about, std::env::args_os().skip(1))
}

/// The same for a subcommand: `args` are those after its name.
///
/// # Errors
/// As [`read`].
pub fn read_after<T: Args>(about: Command, args: impl IntoIterator<Item = OsString>) -> Result<T, ExitCode> {
    read_from(about, &Sources::of_process(args)).map_err(|stop| stop.report())
}

/// Reads settings from given sources.
///
/// # Errors
/// [`Stop::Problems`] names every bad key; [`Stop::Help`] is the text that `--help` or `--version` asked for.
pub fn read_from<T: Args>(about: Command, sources: &Sources) -> Result<T, Stop> {
    // Augmenting puts the struct's own documentation in the place of the program's.
    let purpose = about.get_about().cloned().unwrap_or_default();
    let command = values::with_environment(T::augment_args(about).about(purpose));
    let resolved = sources.resolve(&command)?;
    let matches = values::strict(&command).try_get_matches_from(resolved).map_err(|error| Stop::from_clap(&error))?;
    T::from_arg_matches(&matches).map_err(|error| Stop::from_clap(&error))
}

#[cfg(test)]
mod tests;
