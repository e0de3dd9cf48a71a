//! The part of `hookgate migrate --from` that moves the store of a directory into a database.
use std::path::Path;
use std::sync::Arc;

use crate::app::postgres::options;
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::progress::Progress;
use crate::cli::term::{self, Look, Sign};
use crate::clock::{Clock, SystemClock};
use crate::config::snapshot::{PostgresEngine, Store};
use crate::store::postgres::facts::{Fit, facts};
use crate::store::postgres::transfer::{Counts, Moved, Source, TransferError};

/// A directory whose store is to be moved.
pub(super) struct Directory {
    source: Source,
    name: String,
}

impl Directory {
    /// Opens the store of a directory, and checks that the keys of the config open its secrets.
    pub(super) fn open(path: &Path, store: &Store, dry_run: bool) -> Result<Self, Error> {
        let name = path.display().to_string();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let opened = Source::open(path, &clock, dry_run).and_then(|source| {
            source.check_seals(store.keys.as_deref())?;
            Ok(source)
        });
        let source = opened.map_err(|error| failed(&error, &name))?;
        Ok(Self { source, name })
    }

    /// Shows what would be moved, and what would stop it.
    pub(super) fn plan(self, engine: &PostgresEngine, look: &Look) -> Result<Exit, Error> {
        let counts = self
            .source
            .counts()
            .map_err(|error| failed(&error, &self.name))?;
        let place = place(engine);
        let head = format!(
            "{} to {place}: nothing was moved. Without --dry-run, this is moved:",
            self.name
        );
        term::print(&page(&head, &counts))?;
        let options = options(engine);
        let checked = context::block_on(async {
            // a schema that is not there yet is empty
            match facts(&options).await {
                Ok(found) if found.fit() == Fit::Usable => {
                    self.source.check_target(&options, &place).await
                }
                Ok(_) | Err(_) => self.source.check_mark(&place),
            }
        })?;
        checked.map_err(|error| failed(&error, &self.name))?;
        term::print_line(&format!("{} nothing stops it", look.sign(Sign::Good)))?;
        Ok(Exit::DONE)
    }

    /// Moves the store.
    pub(super) fn transfer(mut self, engine: &PostgresEngine, look: &Look) -> Result<Exit, Error> {
        let (options, place) = (options(engine), place(engine));
        let mut progress = Progress::new();
        let mut show = |rows: &str, number: u64| {
            progress.show(&format!("{} {rows}", term::count(number)));
        };
        let moved = context::block_on(self.source.transfer(&options, &place, &mut show))?;
        progress.end();
        let sign = look.sign(Sign::Good);
        let name = term::clean(&self.name);
        match moved.map_err(|error| failed(&error, &self.name))? {
            Moved::Before => term::print_line(&format!(
                "{sign} {name}: an earlier call moved the store to {place} already"
            ))?,
            Moved::Now(counts) => {
                let head = format!("{sign} {name}: the store is in {place} now");
                term::print(&page(&head, &counts))?;
            }
        }
        term::say("No gateway starts on the directory any more. Start them with this config.");
        Ok(Exit::DONE)
    }
}

/// Returns the name of a database and a schema in it.
pub(super) fn place(engine: &PostgresEngine) -> String {
    format!("{}, schema {}", engine.server, engine.schema)
}

/// Renders a line, and under it the rows of a store by their kinds.
fn page(head: &str, counts: &Counts) -> String {
    let numbers: Vec<_> = counts
        .iter()
        .map(|(_, number)| term::count(*number))
        .collect();
    let width = numbers.iter().map(String::len).max().unwrap_or_default();
    let lines: String = numbers
        .iter()
        .zip(counts)
        .map(|(number, (rows, _))| format!("  {number:>width$}  {rows}\n"))
        .collect();
    format!("{head}\n{lines}")
}

/// Returns the error of a store that was not moved.
fn failed(error: &TransferError, name: &str) -> Error {
    let why = term::clean(&error.to_string());
    let failed = match error {
        TransferError::Held(_) => {
            return Error::new(Exit::STORE_HELD, why).hint("stop the gateway first");
        }
        TransferError::Refused(_) => Error::no("the store was not moved"),
        TransferError::NotReachable(_) => Error::new(
            Exit::UNREACHED,
            "the database cannot be reached, and nothing was moved",
        ),
        TransferError::Unknown(_) => Error::new(
            Exit::UNFINISHED,
            "it is not known whether the store was moved: run the same command again, which finds out",
        ),
    };
    failed.at(name).why(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_lists_rows_by_kind() {
        let counts = vec![("deliveries", 1_204), ("tenants", 3)];
        assert_eq!(
            page("/var/lib/hookgate:", &counts),
            "/var/lib/hookgate:\n  1,204  deliveries\n      3  tenants\n"
        );
    }

    #[test]
    fn each_reason_has_its_exit_code() {
        let exit = |error: fn(String) -> TransferError| failed(&error("why".into()), "x").exit;
        assert_eq!(exit(TransferError::Held), Exit::STORE_HELD);
        assert_eq!(exit(TransferError::Refused), Exit::NO);
        assert_eq!(exit(TransferError::NotReachable), Exit::UNREACHED);
        assert_eq!(exit(TransferError::Unknown), Exit::UNFINISHED);
    }
}
