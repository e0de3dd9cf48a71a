//! Asks for confirmation before many deliveries are changed: a number to type on a terminal, `--yes` and `--reason` elsewhere.
use std::io::{IsTerminal as _, Write as _};

use crate::cli::error::{Error, Exit};

/// The options that confirm a change.
#[derive(Clone, Debug, Default, clap::Args)]
pub(in crate::cli) struct ConfirmArgs {
    /// The reason, for the audit log.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) reason: Option<String>,
    /// Does not ask for confirmation.
    #[arg(long)]
    yes: bool,
}

impl ConfirmArgs {
    /// Returns the reason, once the change of `count` deliveries is confirmed.
    ///
    /// # Errors
    /// Exit 2 if there is no terminal and an option is missing, 1 if the number was not typed.
    pub(in crate::cli) fn ask(&self, count: u64) -> Result<String, Error> {
        if is_interactive() {
            return self.ask_by(count, &mut prompt);
        }
        match &self.reason {
            Some(reason) if self.yes => Ok(reason.clone()),
            None if self.yes => Err(Error::usage(
                "nothing was changed: the audit log needs a reason",
            )
            .hint("--reason \"…\"")),
            Some(_) | None => Err(unconfirmed_by_options("--yes --reason \"…\"")),
        }
    }

    fn ask_by(
        &self,
        count: u64,
        ask: &mut dyn FnMut(&str) -> std::io::Result<Option<String>>,
    ) -> Result<String, Error> {
        let unconfirmed = || Error::new(Exit::NO, "nothing was changed");
        let reason = match &self.reason {
            Some(reason) => reason.clone(),
            None => ask("Reason: ")?
                .filter(|reason| !reason.is_empty())
                .ok_or_else(|| {
                    unconfirmed().why("The audit log needs a reason for each change.")
                })?,
        };
        if !self.yes
            && ask(&format!("Type {count} to continue: "))?.as_deref() != Some(&count.to_string())
        {
            return Err(unconfirmed());
        }
        Ok(reason)
    }
}

/// The option that confirms the removal of one thing.
#[derive(Clone, Debug, Default, clap::Args)]
pub(in crate::cli) struct YesArgs {
    /// Does not ask for confirmation.
    #[arg(long)]
    yes: bool,
}

impl YesArgs {
    /// Returns once the name of the thing was typed, or with `--yes`.
    ///
    /// # Errors
    /// Exit 2 if there is no terminal and no option, 1 if the name was not typed.
    pub(in crate::cli) fn ask(&self, name: &str) -> Result<(), Error> {
        if self.yes {
            return Ok(());
        }
        if !is_interactive() {
            return Err(unconfirmed_by_options("--yes"));
        }
        if prompt(&format!("Type {name} to continue: "))?.as_deref() == Some(name) {
            return Ok(());
        }
        Err(Error::no("nothing was changed"))
    }
}

/// Returns whether a person can be asked.
fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks a question on the terminal. Returns the answer, or `None` at the end of the input.
fn prompt(question: &str) -> std::io::Result<Option<String>> {
    let stderr = std::io::stderr();
    write!(stderr.lock(), "{question}")?;
    stderr.lock().flush()?;
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer)?;
    Ok((read > 0).then(|| answer.trim().to_owned()))
}

fn unconfirmed_by_options(options: &str) -> Error {
    Error::usage("nothing was changed: without a terminal, the change must be confirmed by options")
        .hint(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sure: &ConfirmArgs, typed: &[&str], expect: Option<&str>) {
        let mut typed = typed.iter();
        let answer = sure.ask_by(1204, &mut |_| {
            Ok(typed.next().map(|text| (*text).to_owned()))
        });
        assert_eq!(answer.ok().as_deref(), expect);
        assert_eq!(typed.next(), None, "all was asked");
    }

    #[test]
    fn confirmation_needs_the_number_and_a_reason() {
        let args = |reason: Option<&str>, yes| ConfirmArgs {
            reason: reason.map(str::to_owned),
            yes,
        };
        check(
            &args(None, false),
            &["app was down", "1204"],
            Some("app was down"),
        );
        check(&args(Some("so"), false), &["1204"], Some("so"));
        check(&args(Some("so"), true), &[], Some("so"));
        check(&args(None, true), &["why"], Some("why"));
        check(&args(None, false), &[""], None);
        check(&args(Some("so"), false), &["1203"], None);
        check(&args(Some("so"), false), &["yes"], None);
        check(&args(Some("so"), false), &[], None);
    }
}
