//! `hookgate status`: what the gateway is refusing and why, and what needs attention.
mod attention;
mod database;
mod details;
mod routes;
mod sending;

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::api::status::{LedgerStatus, Status, StoreStatus};
use crate::cli::ask::GateArgs;
use crate::cli::clock_skew::drift;
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::policy::quoted;
use crate::cli::status::attention::attention;
use crate::cli::status::details::Details;
use crate::cli::term::{self, BOLD, GREEN, Look, Sign, YELLOW};
use crate::clock::{Clock as _, SystemClock};

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    gate: GateArgs,
    /// Prints the JSON of the admin API.
    #[arg(long)]
    json: bool,
}

/// Runs `status`.
pub(super) fn status(args: &StatusArgs) -> Result<Exit, Error> {
    let asked = args.gate.ask("/-/status");
    let config = args.gate.config.as_deref();
    let (text, status): (String, Status) = asked.map_err(|error| unanswered(error, config))?;
    let now = SystemClock.now().wall;
    let details = context::block_on(Details::of(&args.gate.client()?, &status))?;
    if args.json {
        term::print_line(&text)?;
    } else {
        term::print(&render(&status, &details, now, &Look::of_stdout()))?;
    }
    Ok(if attention(&status, &details, now).is_empty() {
        Exit::DONE
    } else {
        Exit::NO
    })
}

/// Adds to the error that no gateway answers how to find out whether one waits for its database: then its admin listener is not up yet.
fn unanswered(error: Error, config: Option<&Path>) -> Error {
    let Some(path) = config.filter(|_| error.exit == Exit::UNREACHED) else {
        return error;
    };
    let store = context::written(path).ok().and_then(|file| file.store);
    if store.is_none_or(|store| store.postgres.is_none()) {
        return error;
    }
    error
        .why("It may not be running, or wait for its database: then it has no admin listener yet.")
        .hint(format!(
            "hookgate doctor --config {}",
            quoted(&path.display().to_string())
        ))
}

/// Renders the whole page.
fn render(status: &Status, details: &Details, now: SystemTime, look: &Look) -> String {
    let mut lines = attention(status, details, now);
    let mut page = head(status, lines.len(), look);
    lines.extend(attention::ending(status));
    if !lines.is_empty() {
        page.push('\n');
        page.push_str(&attention::render(&lines, now, look));
    }
    if !status.routes.is_empty() {
        page.push('\n');
        page.push_str(&routes::render(status, now, look));
    }
    page.push('\n');
    page.push_str(&foot(status));
    if let Some(outbound) = &status.outbound {
        page.push_str(&sending::failing(outbound, now, look));
    }
    page
}

fn head(status: &Status, count: usize, look: &Look) -> String {
    let config = &status.config;
    let state = match count {
        0 => format!(
            "{GREEN}{} nothing needs attention{GREEN:#}",
            look.bare_sign(Sign::Good)
        ),
        1 => format!("{YELLOW}! 1 thing needs attention{YELLOW:#}"),
        _ => format!("{YELLOW}! {count} things need attention{YELLOW:#}"),
    };
    format!(
        "{BOLD}hookgate {}{BOLD:#}   up {}   config generation {}, {}, {} old   {state}\n",
        term::clean(&status.version),
        term::long_age(Duration::from_secs(status.uptime_seconds)),
        term::count(config.generation),
        term::clean(&config.hash),
        term::age(Duration::from_secs(config.age_seconds)),
    )
}

fn foot(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        text.push_str(&format!("  {name:<8} {}\n", term::clean(&value)));
    };
    if status.clock.samples > 0 {
        line(
            "clock",
            format!(
                "{}, by {}",
                drift(status.clock.skew_seconds),
                term::counted(status.clock.samples, "signed timestamp")
            ),
        );
    }
    let is_shared = status.store.postgres.is_some();
    line("ledger", ledger(&status.ledger, is_shared));
    line("store", store(&status.store));
    if let Some(spool) = &status.store.spool {
        line("spool", database::spool(spool));
    }
    if let Some(outbound) = &status.outbound {
        line("sending", sending::summary(outbound));
    }
    text
}

/// Describes the ledger: `10,204 IDs of 10,000,000, 1 MiB`. The one of a shared store has no bound, and is counted by estimate.
fn ledger(ledger: &LedgerStatus, is_shared: bool) -> String {
    let (ids, size) = (
        term::counted(ledger.entries, "ID"),
        term::size(ledger.bytes),
    );
    let unsaved = |place| match ledger.unsaved {
        0 => String::new(),
        unsaved => format!("; {} not yet {place}", term::count(unsaved)),
    };
    if is_shared {
        format!("about {ids} in the database, {size}{}", unsaved("there"))
    } else {
        let most = term::count(ledger.capacity);
        format!("{ids} of {most}, {size}{}", unsaved("on disk"))
    }
}

/// Describes the store: `412 MiB of 8 GiB in /var/lib/hookgate; last fsync 2 ms`.
fn store(store: &StoreStatus) -> String {
    if let Some(postgres) = &store.postgres {
        return database::line(postgres, store.last_fsync);
    }
    let Some(path) = &store.path else {
        return "in memory: a restart forgets which IDs were delivered".to_owned();
    };
    let of = store
        .free
        .map(|free| format!(" of {}", term::size(store.bytes.saturating_add(free))))
        .unwrap_or_default();
    let fsync = store
        .last_fsync
        .map(|took| format!("; last fsync {}", term::took(took)))
        .unwrap_or_default();
    if store.bytes == 0 {
        format!("{path}{fsync}")
    } else {
        format!("{}{of} in {path}{fsync}", term::size(store.bytes))
    }
}

#[cfg(test)]
mod tests;
