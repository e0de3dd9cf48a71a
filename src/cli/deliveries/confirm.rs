//! Asks for confirmation before many deliveries are changed: a number to type on a terminal, `--yes` and `--reason` elsewhere.
use std::io::{IsTerminal as _, Write as _};

use crate::cli::error::{Error, Exit};

/// The options that confirm a change.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct ConfirmArgs {
    /// The reason, for the audit log.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Does not ask for confirmation.
    #[arg(long)]
    yes: bool,
}

impl ConfirmArgs {
    /// Returns the reason, once the change of `count` deliveries is confirmed.
    ///
    /// # Errors
    /// Exit 2 if there is no terminal and an option is missing, 1 if the number was not typed.
    pub(super) fn ask(&self, count: u64) -> Result<String, Error> {
        let (stdin, stderr) = (std::io::stdin(), std::io::stderr());
        if stdin.is_terminal() && stderr.is_terminal() {
            return self.ask_by(count, &mut |question| {
                write!(stderr.lock(), "{question}")?;
                stderr.lock().flush()?;
                let mut answer = String::new();
                let read = stdin.read_line(&mut answer)?;
                Ok((read > 0).then(|| answer.trim().to_owned()))
            });
        }
        match &self.reason {
            Some(reason) if self.yes => Ok(reason.clone()),
            Some(_) | None => Err(Error::usage(
                "nothing was changed: without a terminal, the change must be confirmed by options",
            )
            .hint("--yes --reason \"…\"")),
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
