//! `hookgate completions`: completion scripts for shells.
use clap_complete::Shell;

use crate::cli::error::{Error, Exit};
use crate::cli::term;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Runs `completions`. `command` is the whole command line.
pub(super) fn completions(
    args: &CompletionsArgs,
    command: &mut clap::Command,
) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "hookgate", &mut script);
    term::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::DONE)
}
