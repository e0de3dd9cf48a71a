//! `hookgate completions`: completion scripts for shells.
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::error::{Error, Exit};
use crate::cli::{Cli, term};

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Runs `completions`.
pub(super) fn completions(args: &CompletionsArgs) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hookgate", &mut script);
    term::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::DONE)
}
