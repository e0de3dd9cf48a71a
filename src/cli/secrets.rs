//! `hookgate secrets`: which secrets match, and which are safe to remove.
use std::time::{Duration, SystemTime};

use crate::api::secrets::{RouteSecrets, SecretUse, Secrets};
use crate::cli::ask::GateArgs;
use crate::cli::error::{Error, Exit};
use crate::cli::table::{Align, Cell, Table};
use crate::cli::term::{self, BOLD, DIM, GREEN, Look, PLAIN, YELLOW, moment};
use crate::clock::{Clock as _, SystemClock};
use crate::config::diagnostic::instead_of;

/// Arguments of `secrets`.
#[derive(Debug, clap::Args)]
pub(super) struct SecretsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Shows for each secret how often and when it matched, and whether it is safe to remove.
    #[command(
        after_help = "Examples:\n  hookgate secrets status\n  hookgate secrets status --route github --json"
    )]
    Status(StatusArgs),
}

/// Arguments of `secrets status`.
#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// Shows only this route.
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    #[command(flatten)]
    gate: GateArgs,
    /// Prints one JSON object for each route.
    #[arg(long)]
    json: bool,
}

/// Runs `secrets`.
pub(super) fn secrets(args: &SecretsArgs) -> Result<Exit, Error> {
    let Action::Status(args) = &args.action;
    let (_, secrets): (String, Secrets) = args.gate.ask("/-/secrets")?;
    let routes = chosen(&secrets, args.route.as_deref())?;
    if args.json {
        for route in &routes {
            let line = serde_json::to_string(route);
            let unwritten = |error| Error::no("the secrets cannot be written").cause(error);
            term::print_line(&line.map_err(unwritten)?)?;
        }
    } else {
        term::print(&render(&secrets, &routes, &Look::of_stdout()))?;
    }
    let needs_attention = routes.iter().any(|route| {
        let mut secrets = route.secrets.iter();
        secrets.any(|secret| secret.needs_attention)
    });
    Ok(if needs_attention {
        Exit::NO
    } else {
        Exit::DONE
    })
}

/// Returns the routes to show.
fn chosen<'a>(secrets: &'a Secrets, named: Option<&str>) -> Result<Vec<&'a RouteSecrets>, Error> {
    let Some(name) = named else {
        return Ok(secrets.routes.iter().collect());
    };
    let found = secrets.routes.iter().find(|route| route.route == name);
    let names = secrets.routes.iter().map(|route| route.route.as_str());
    found.map(|route| vec![route]).ok_or_else(|| {
        let error = Error::usage(format!("the gateway has no route `{name}` that verifies"));
        match instead_of(name, names) {
            Some(instead) => error.why(instead),
            None => error,
        }
    })
}

/// Renders the whole page.
fn render(secrets: &Secrets, routes: &[&RouteSecrets], look: &Look) -> String {
    let now = moment(&secrets.now).unwrap_or_else(|| SystemClock.now().wall);
    let mut table = Table::new(
        &[
            ("ROUTE", Align::Left),
            ("SECRET", Align::Left),
            ("SOURCE", Align::Left),
            ("ACTIVE", Align::Left),
            ("MATCHES", Align::Right),
            ("LAST", Align::Right),
            ("VERDICT", Align::Left),
        ],
        0,
    );
    for route in routes {
        for (index, secret) in route.secrets.iter().enumerate() {
            let name = if index == 0 { route.route.as_str() } else { "" };
            row(&mut table, name, secret, now, look);
        }
        if route.by_account {
            let none = || Cell::styled(look.none(), DIM);
            let name = Cell::styled(term::clean(&route.route), BOLD);
            let text = "its secrets are found by account, and are not listed".into();
            table.row([name, none(), none(), none(), none(), none(), text]);
        }
    }
    let mut page = if routes.is_empty() {
        "no route has secrets\n".to_owned()
    } else {
        table.render(look)
    };
    if !secrets.stored {
        let up = moment(&secrets.started_at).map(|at| now.duration_since(at).unwrap_or_default());
        page.push_str(&format!(
            "since the gateway started {} ago: without a store, a restart forgets matches\n",
            term::age(up.unwrap_or_default())
        ));
    }
    page
}

/// Adds the row of a secret.
fn row(table: &mut Table, route: &str, secret: &SecretUse, now: SystemTime, look: &Look) {
    let last = secret.last_match_at.as_deref().and_then(moment);
    let last = last.map_or_else(
        || Cell::styled(look.none(), DIM),
        |at| term::age(now.duration_since(at).unwrap_or_default()).into(),
    );
    let style = match (secret.needs_attention, secret.state.as_str()) {
        (true, _) => YELLOW,
        (false, "removable") => GREEN,
        (false, _) => PLAIN,
    };
    let sign = if secret.needs_attention { "! " } else { "" };
    table.row([
        Cell::styled(term::clean(route), BOLD),
        term::clean(&secret.name).into(),
        term::clean(&secret.source).into(),
        term::clean(&active(secret, now)).into(),
        Cell::styled(
            term::count(secret.matches),
            if secret.matches == 0 { DIM } else { PLAIN },
        ),
        last,
        Cell::styled(format!("{sign}{}", term::clean(&secret.verdict)), style),
    ]);
}

/// Describes when a secret is active: `always`, `3 d more`, `in 5 h`, `ended`.
fn active(secret: &SecretUse, now: SystemTime) -> String {
    let left = |at: &Option<String>| -> Option<Duration> {
        let at = moment(at.as_deref()?)?;
        Some(at.duration_since(now).unwrap_or_default())
    };
    match (left(&secret.not_before), left(&secret.expires)) {
        (Some(wait), _) if !wait.is_zero() => format!("in {}", term::age(wait)),
        (_, None) => "always".to_owned(),
        (_, Some(Duration::ZERO)) => "ended".to_owned(),
        (_, Some(left)) => format!("{} more", term::age(left)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn look() -> Look {
        Look {
            width: None,
            utf8: true,
            zone: jiff::tz::TimeZone::UTC,
        }
    }

    fn sample(stored: bool) -> Secrets {
        serde_json::from_value(json!({
            "now": "2026-11-24T13:12:00Z", "stored": stored, "started_at": "2026-11-24T10:12:00Z",
            "routes": [
                { "route": "github", "by_account": false, "secrets": [
                    { "name": "2026-11", "source": "file", "not_before": null, "expires": null, "matches": 1_204, "last_match_at": "2026-11-24T13:11:58Z",
                      "watched_seconds": 864_000, "state": "in_use", "verdict": "in use", "needs_attention": false },
                    { "name": "2026-05", "source": "env", "not_before": null, "expires": "2026-12-01T00:00:00Z", "matches": 31,
                      "last_match_at": "2026-11-15T13:12:00Z", "watched_seconds": 864_000, "state": "removable",
                      "verdict": "silent for 9 d while 2026-11 matches: safe to remove", "needs_attention": false },
                ] },
                { "route": "stripe", "by_account": false, "secrets": [
                    { "name": "secret-1", "source": "inline", "not_before": "2026-11-25T00:00:00Z", "expires": null, "matches": 0, "last_match_at": null,
                      "watched_seconds": 0, "state": "not_yet_active", "verdict": "active from 2026-11-25T00:00:00.000Z", "needs_attention": false },
                    { "name": "secret-2", "source": "env", "not_before": null, "expires": "2026-11-27T13:12:00Z", "matches": 7,
                      "last_match_at": "2026-11-24T13:07:00Z", "watched_seconds": 864_000, "state": "only_match",
                      "verdict": "only this secret matches, and it expires in 3 d: give the sender the new one", "needs_attention": true },
                ] },
                { "route": "tenants", "by_account": true, "secrets": [] },
            ],
        }))
        .unwrap()
    }

    #[test]
    fn page_says_what_to_do_with_each_secret() {
        let (plain, stored) = (look(), sample(true));
        let all: Vec<&RouteSecrets> = stored.routes.iter().collect();
        insta::assert_snapshot!(
            "secrets_status",
            anstream::adapter::strip_str(&render(&stored, &all, &look()))
        );
        let memory = sample(false);
        let page = render(&memory, &chosen(&memory, Some("tenants")).unwrap(), &plain);
        assert!(
            page.ends_with(
                "since the gateway started 3 h ago: without a store, a restart forgets matches\n"
            ),
            "{page}"
        );
        assert_eq!(
            chosen(&memory, Some("githup")).unwrap_err().exit,
            Exit::USAGE
        );
        assert_eq!(render(&stored, &[], &plain), "no route has secrets\n");
    }
}
