//! The table of routes of `hookgate status`.
use std::time::{Duration, SystemTime};

use crate::api::status::{RouteStatus, SecretStatus, Status};
use crate::cli::table::{Align, Cell, Table};
use crate::cli::term::{self, BOLD, DIM, GREEN, Look, PLAIN, RED, YELLOW, moment};

/// A secret that matched within this time is shown as one that matches; one that expires within it is shown, too.
const LATELY: Duration = Duration::from_secs(7 * 86_400);

/// Renders a row for each route.
pub(super) fn render(status: &Status, now: SystemTime, look: &Look) -> String {
    let mut columns = vec![
        ("ROUTE", Align::Left),
        ("ACTION", Align::Left),
        ("1 H: RECEIVED", Align::Right),
        ("OK", Align::Right),
        ("REFUSED", Align::Right),
        ("DUP", Align::Right),
        ("WAITING", Align::Right),
        ("DEAD", Align::Right),
        ("LAST", Align::Right),
        ("SECRETS", Align::Left),
    ];
    let with_late = status.routes.iter().any(|route| route.late_retries > 0);
    if with_late {
        columns.insert(6, ("LATE RETRIES", Align::Right));
    }
    let mut table = Table::new(&columns, 2);
    let number = |number: u64, style| {
        Cell::styled(term::count(number), if number == 0 { DIM } else { style })
    };
    let or_none = |count: Option<u64>, style| {
        count.map_or_else(
            || Cell::styled(look.none(), DIM),
            |count| number(count, style),
        )
    };
    for route in &status.routes {
        let refused: u64 = route.hour.refused.values().sum();
        let last = route.last_at.as_deref().and_then(moment);
        let last = last.map_or_else(
            || look.none().to_owned(),
            |at| term::age(now.duration_since(at).unwrap_or_default()),
        );
        let mut cells = vec![
            Cell::styled(term::clean(&route.name), BOLD),
            action(route),
            number(route.hour.received, PLAIN),
            number(route.hour.forwarded + route.hour.accepted, PLAIN),
            number(refused, RED),
            number(route.hour.duplicates, PLAIN),
            or_none(route.waiting, PLAIN),
            or_none(route.dead, RED),
            last.into(),
            secrets(route, now, look),
        ];
        if with_late {
            cells.insert(6, number(route.late_retries, PLAIN));
        }
        table.row(cells);
    }
    table.render(look)
}

/// Returns the action of a route, or that it lets unverified requests through.
fn action(route: &RouteStatus) -> Cell {
    match route.mode.as_str() {
        "observe" => Cell::styled("observes", YELLOW),
        "none" if route.action != "pass" => Cell::styled("unverified", YELLOW),
        _ => term::clean(&route.action).into(),
    }
}

/// Describes which secrets match. A secret that matched nothing for long while another matches can be removed.
fn secrets(route: &RouteStatus, now: SystemTime, look: &Look) -> Cell {
    let age = |secret: &SecretStatus| {
        secret
            .last_match_at
            .as_deref()
            .and_then(moment)
            .map(|at| now.duration_since(at).unwrap_or_default())
    };
    let matching: Vec<&SecretStatus> = route
        .secrets
        .iter()
        .filter(|secret| age(secret).is_some_and(|age| age < LATELY))
        .collect();
    let unused = route
        .secrets
        .iter()
        .find(|secret| secret.state == "removable");
    let soon = route.secrets.iter().find(|secret| {
        secret
            .expires
            .as_deref()
            .and_then(moment)
            .is_some_and(|at| at < now + LATELY)
    });
    match (route.secrets.as_slice(), matching.as_slice(), unused) {
        ([], ..) => Cell::styled(look.none(), DIM),
        (_, [_, ..], Some(unused)) => Cell::styled(
            format!(
                "{} unused for {}",
                term::clean(&unused.name),
                term::age(age(unused).unwrap_or_default())
            ),
            GREEN,
        ),
        _ if soon.is_some() => Cell::styled(
            format!(
                "{} expired or expires soon",
                term::clean(soon.map_or("", |secret| &secret.name))
            ),
            YELLOW,
        ),
        ([only], ..) => term::clean(&only.name).into(),
        (_, [one, other, ..], None) => format!(
            "{} and {} match",
            term::clean(&one.name),
            term::clean(&other.name)
        )
        .into(),
        (_, [one], None) => format!("{} matches", term::clean(&one.name)).into(),
        (all, [], _) => Cell::styled(format!("none of {} matched yet", all.len()), DIM),
    }
}
