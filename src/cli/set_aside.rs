//! `hookgate set-aside`: renames a damaged store, with everything in it.
use std::path::PathBuf;

use crate::cli::error::{Error, Exit};
use crate::cli::term;
use crate::clock::{Clock as _, SystemClock};
use crate::store::embedded::sqlite::{Directory, OpenError};

/// Arguments of `set-aside`.
#[derive(Debug, clap::Args)]
pub(super) struct SetAsideArgs {
    /// The directory of the store: `store.path` of the config.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Runs `set-aside`.
pub(super) fn set_aside(args: &SetAsideArgs) -> Result<Exit, Error> {
    if !args.directory.is_dir() {
        return Err(
            Error::no("there is no such directory").at(args.directory.display().to_string())
        );
    }
    let held = Directory::hold(&args.directory).map_err(|error| {
        if matches!(error, OpenError::InUse { .. }) {
            Error::new(Exit::STORE_HELD, error.to_string()).hint("stop the gateway first")
        } else {
            Error::no(error.to_string())
        }
    })?;
    if !held.file().exists() {
        return Err(
            Error::no("this directory has no store").at(args.directory.display().to_string())
        );
    }
    let aside = held
        .set_aside(SystemClock.now().unix_ms() / 1000)
        .map_err(|error| Error::no(error.to_string()))?;
    term::print_line(&format!(
        "the store was renamed to {}; the gateway makes a new one when it starts",
        aside.display()
    ))?;
    Ok(Exit::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::Embedded;
    use std::sync::Arc;

    #[test]
    fn store_is_renamed_and_a_new_one_created() {
        let directory = tempfile::tempdir().unwrap();
        let args = SetAsideArgs {
            directory: directory.path().to_owned(),
        };
        assert!(set_aside(&args).unwrap_err().message.contains("no store"));
        let open = || Embedded::open(directory.path(), 10, Arc::new(SystemClock));
        let running = open().unwrap();
        assert_eq!(set_aside(&args).unwrap_err().exit, Exit::STORE_HELD);
        drop(running);
        std::fs::write(
            directory.path().join("hookgate.db"),
            "no database, but long enough to be one ".repeat(99),
        )
        .unwrap();
        std::fs::write(directory.path().join("has-deliveries"), "").unwrap();
        assert!(open().is_err());
        assert_eq!(set_aside(&args).unwrap(), Exit::DONE);
        assert_eq!(open().unwrap().alarm, None);
        let set_aside_stores = std::fs::read_dir(directory.path()).unwrap();
        let set_aside_stores = set_aside_stores.filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .starts_with("hookgate.db.damaged-")
        });
        assert_eq!(set_aside_stores.count(), 1);
    }
}
