//! Asks before much is changed: a number to type on a terminal, `--yes` and `--reason` elsewhere.
use std::io::{IsTerminal as _, Write as _};

use crate::cli::error::{Error, Exit};

/// That it is meant, and why.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Sure {
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Asks nothing.
    #[arg(long)]
    yes: bool,
}

impl Sure {
    /// The reason, once it is certain that `count` deliveries shall be changed.
    ///
    /// # Errors
    /// Exit 2 where nobody can be asked and not all is said, 1 if the number was not typed.
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
                "nothing was changed: there is no terminal to ask on",
            )
            .hint("--yes --reason \"…\"")),
        }
    }

    fn ask_by(
        &self,
        count: u64,
        ask: &mut dyn FnMut(&str) -> std::io::Result<Option<String>>,
    ) -> Result<String, Error> {
        let gone = || Error::new(Exit::NO, "nothing was changed");
        let reason = match &self.reason {
            Some(reason) => reason.clone(),
            None => ask("Reason: ")?
                .filter(|reason| !reason.is_empty())
                .ok_or_else(|| gone().why("A reason is kept with each change."))?,
        };
        if !self.yes
            && ask(&format!("Type {count} to go on: "))?.as_deref() != Some(&count.to_string())
        {
            return Err(gone());
        }
        Ok(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sure: &Sure, typed: &[&str], expect: Option<&str>) {
        let mut typed = typed.iter();
        let answer = sure.ask_by(1204, &mut |_| {
            Ok(typed.next().map(|text| (*text).to_owned()))
        });
        assert_eq!(answer.ok().as_deref(), expect);
        assert_eq!(typed.next(), None, "all was asked");
    }

    #[test]
    fn the_number_is_typed_and_a_reason_is_given() {
        let said = |reason: Option<&str>, yes| Sure {
            reason: reason.map(str::to_owned),
            yes,
        };
        check(
            &said(None, false),
            &["app was down", "1204"],
            Some("app was down"),
        );
        check(&said(Some("so"), false), &["1204"], Some("so"));
        check(&said(Some("so"), true), &[], Some("so"));
        check(&said(None, true), &["why"], Some("why"));
        check(&said(None, false), &[""], None);
        check(&said(Some("so"), false), &["1203"], None);
        check(&said(Some("so"), false), &["yes"], None);
        check(&said(Some("so"), false), &[], None);
    }
}
