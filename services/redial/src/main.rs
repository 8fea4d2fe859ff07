//! `redial`: the operator's command.

mod binding;
mod check;
mod demo;
mod doctor;
mod operator;
mod output;
mod phone;
mod standalone;
mod story;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use redial_runtime::{clock, settings};

/// Auto-redial for SIP: remembers who called somebody that was offline, and connects them when the callee is back.
#[derive(Debug, Parser)]
#[command(name = "redial", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run registrar, proxy and redial in one process (`redial standalone --help`)
    #[command(disable_help_flag = true)]
    Standalone {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        args: Vec<OsString>,
    },
    /// Play the whole story with two scripted phones over UDP on loopback
    Demo(demo::Options),
    /// Look at watches, or end one
    Watch {
        #[command(subcommand)]
        command: watch::Command,
        #[command(flatten)]
        target: operator::Target,
    },
    /// Look at registrations
    Binding {
        #[command(subcommand)]
        command: binding::Command,
        #[command(flatten)]
        target: operator::Target,
    },
    /// Play the whole story against a running deployment; fails unless the call was connected
    Check(check::Options),
    /// Check that a coordinator has everything that recalls need
    Doctor {
        #[command(flatten)]
        target: operator::Target,
    },
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let usage = error.use_stderr();
            // A closed pipe is no reason to fail.
            let _ = error.print();
            return if usage { ExitCode::from(settings::EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = match cli.command {
        Command::Standalone { args } => return runtime.block_on(standalone::main(args)),
        Command::Demo(options) => runtime.block_on(demo::run(options)),
        Command::Watch { command, target } => runtime.block_on(watch::run(command, &target, clock::unix())),
        Command::Binding { command, target } => runtime.block_on(binding::run(command, &target, clock::unix())),
        Command::Check(options) => runtime.block_on(check::run(options)),
        Command::Doctor { target } => runtime.block_on(doctor::run(&target)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
