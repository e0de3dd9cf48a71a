//! `hookgate migrate`: creates or upgrades the schema of a store on PostgreSQL, and moves the store of a directory into it.
use std::path::PathBuf;

use crate::app::postgres::options;
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::move_store::{Directory, place};
use crate::cli::term::{self, Look, Sign};
use crate::config::snapshot::PostgresEngine;
use crate::store::postgres::NoConnection;
use crate::store::postgres::migrate::{MigrateError, Migration, migrate as run};

/// Arguments of `migrate`.
#[derive(Debug, clap::Args)]
pub(super) struct MigrateArgs {
    /// The config whose `store.postgres` names the database.
    #[arg(long, env = "HOOKGATE_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Prints what would be done, and changes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Gives the role ROLE the rights that a gateway needs, and no more.
    #[arg(long, value_name = "ROLE")]
    grant: Option<String>,
    /// Moves the store in DIR, the `store.path` of a gateway that is stopped, into the schema. The schema must be empty.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
}

/// Runs `migrate`.
pub(super) fn migrate(args: &MigrateArgs) -> Result<Exit, Error> {
    let loaded = context::load(&args.config)?;
    let location = args.config.display().to_string();
    let Some(engine) = loaded.snapshot.store.engine.postgres() else {
        return Err(Error::usage("the config has no `store.postgres`")
            .at(location)
            .why("A store in a directory is upgraded when the gateway starts."));
    };
    let directory = match &args.from {
        Some(from) => Some(Directory::open(from, &loaded.snapshot.store, args.dry_run)?),
        None => None,
    };
    let migration = Migration {
        dry_run: args.dry_run,
        grant: args.grant.clone(),
    };
    let done = context::block_on(async { run(&options(engine), &migration).await })?;
    let done = done.map_err(|error| failed(error, engine))?;
    let look = Look::of_stdout();
    term::print(&render(&done, args.dry_run, engine, &look))?;
    match directory {
        Some(directory) if args.dry_run => directory.plan(engine, &look),
        Some(directory) => directory.transfer(engine, &look),
        None => Ok(Exit::DONE),
    }
}

/// Renders what was done, a line each.
fn render(done: &[String], dry_run: bool, engine: &PostgresEngine, look: &Look) -> String {
    let place = term::clean(&place(engine));
    let sign = look.sign(Sign::Good);
    if done.is_empty() {
        return format!("{sign} {place}: nothing to do\n");
    }
    let lines: String = done
        .iter()
        .map(|line| format!("  {}\n", term::clean(line)))
        .collect();
    if dry_run {
        format!("{place}: nothing was changed. To be done:\n{lines}")
    } else {
        format!("{sign} {place}\n{lines}")
    }
}

/// Returns the error of a migration that was not made.
fn failed(error: MigrateError, engine: &PostgresEngine) -> Error {
    match error {
        MigrateError::Refused(why) => Error::no("the schema was not changed")
            .at(engine.server.clone())
            .why(term::clean(&why)),
        MigrateError::NoConnection(NoConnection::Away(why)) => {
            Error::new(Exit::UNREACHED, "the database cannot be reached")
                .at(engine.server.clone())
                .why(term::clean(&why))
        }
        MigrateError::NoConnection(NoConnection::Login(why)) => {
            Error::no("the database refuses the login")
                .at(engine.server.clone())
                .why(term::clean(&why))
                .hint("check the user, the password and the database in `store.postgres`")
        }
        MigrateError::NoConnection(NoConnection::Unusable(why)) => {
            Error::no("there is no connection to the database")
                .at(engine.server.clone())
                .why(term::clean(&why))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::main;

    /// Writes a config whose database is at a port on which nothing listens.
    fn config(directory: &Path, store: &str) -> PathBuf {
        let path = directory.join("config.yaml");
        let text = format!(
            "listen: [{{ address: '127.0.0.1:0' }}]\nstore: {{ {store} }}\nupstreams: {{ app: {{ url: 'http://127.0.0.1:1' }} }}\nroutes: [{{ name: a, path: /a, verify: none, forward: {{ upstream: app }} }}]\n"
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    fn exit(path: &Path, more: &[&str]) -> Exit {
        let arguments = ["hookgate", "migrate", "--config"].iter().copied();
        let arguments = arguments
            .chain([path.to_str().unwrap()])
            .chain(more.iter().copied());
        main(arguments.map(Into::into))
    }

    #[test]
    fn unreachable_database_is_exit_69() {
        let directory = tempfile::tempdir().unwrap();
        let absent =
            "postgres: { url: 'postgres://u@127.0.0.1:1/x?sslmode=disable', timeout: 200ms }";
        let path = config(directory.path(), absent);
        assert_eq!(exit(&path, &[]), Exit::UNREACHED);
        assert_eq!(
            exit(&path, &["--dry-run", "--grant", "gateway"]),
            Exit::UNREACHED
        );
    }

    #[test]
    fn config_without_postgres_is_a_wrong_call() {
        let directory = tempfile::tempdir().unwrap();
        let path = config(directory.path(), "path: store");
        assert_eq!(exit(&path, &[]), Exit::USAGE);
        assert_eq!(exit(&directory.path().join("absent"), &[]), Exit::USAGE);
    }

    #[test]
    fn page_says_what_was_done() {
        let directory = tempfile::tempdir().unwrap();
        let path = config(
            directory.path(),
            "postgres: { url: postgres://u@db-rw/hooks }",
        );
        let loaded = context::load(&path).unwrap();
        let engine = loaded.snapshot.store.engine.postgres().unwrap();
        let look = Look {
            width: None,
            utf8: true,
            zone: jiff::tz::TimeZone::UTC,
        };
        let page = |done: &[String], dry_run| {
            anstream::adapter::strip_str(&render(done, dry_run, engine, &look)).to_string()
        };
        let done = [
            "created schema hookgate, version 1.0",
            "created 27 tables for the next days",
        ]
        .map(str::to_owned);
        assert_eq!(
            page(&[], false),
            "✓ db-rw:5432/hooks, schema hookgate: nothing to do\n"
        );
        assert_eq!(
            page(&done, false),
            "✓ db-rw:5432/hooks, schema hookgate\n  created schema hookgate, version 1.0\n  created 27 tables for the next days\n"
        );
        assert_eq!(
            page(&["create schema hookgate, version 1.0".to_owned()], true),
            "db-rw:5432/hooks, schema hookgate: nothing was changed. To be done:\n  create schema hookgate, version 1.0\n"
        );
    }
}
