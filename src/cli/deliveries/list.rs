//! `hookgate deliveries list`: one line for each delivery.
use std::time::{Duration, SystemTime};

use anstyle::Style;

use super::pages::Pages;
use crate::api::deliveries::{Delivery, DeliveryState, Order, Target};
use crate::cli::ask::GateArgs;
use crate::cli::context;
use crate::cli::deliveries::filter_args::FilterArgs;
use crate::cli::error::{Error, Exit};
use crate::cli::table::{Align, Cell, Table};
use crate::cli::term::{self, BOLD, DIM, GREEN, Look, PLAIN, RED, YELLOW};

/// Arguments of `deliveries list`.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// The largest number of deliveries.
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: u64,
    /// Lists the oldest first.
    #[arg(long)]
    oldest: bool,
    /// Prints one JSON object for each delivery.
    #[arg(long)]
    json: bool,
    /// Prints times in UTC also on a terminal.
    #[arg(long)]
    utc: bool,
}

/// Runs `deliveries list`.
pub(super) fn list(gate: &GateArgs, args: &ListArgs) -> Result<Exit, Error> {
    let (client, now) = (gate.client()?, context::now());
    let order = if args.oldest {
        Order::Oldest
    } else {
        Order::Newest
    };
    let mut pages = Pages::new(&client, args.filter.to_filter(now), order);
    let mut found = Vec::new();
    context::block_on(async {
        while count(&found) < args.limit
            && let Some(page) = pages.next(args.limit - count(&found)).await?
        {
            if args.json {
                page.iter().try_for_each(print)?;
            }
            found.extend(page);
        }
        Ok::<(), Error>(())
    })??;
    if args.json {
        return Ok(Exit::DONE);
    }
    let look = Look::of_stdout_in(args.utc);
    found
        .iter_mut()
        .for_each(|delivery| keep_states(delivery, &args.filter.state));
    if !found.is_empty() {
        let is_of_one = args.filter.route.is_some() || args.filter.tenant.is_some();
        term::print(&render(&found, !is_of_one, now, &look))?;
    }
    term::say(&foot(&found, pages.is_over(), order, &look, now));
    Ok(Exit::DONE)
}

/// Leaves out the targets at which a delivery is in none of these states. If that is each of the targets that the gateway returns, all stay.
fn keep_states(delivery: &mut Delivery, states: &[DeliveryState]) {
    let is_meant = |target: &Target| states.contains(&target.state);
    if delivery.targets.iter().any(is_meant) {
        delivery.targets.retain(is_meant);
    }
}

fn count(found: &[Delivery]) -> u64 {
    u64::try_from(found.len()).unwrap_or(u64::MAX)
}

fn print(delivery: &Delivery) -> Result<(), Error> {
    term::print_line(&json(delivery)?)
}

/// Renders a value as one line of JSON.
pub(super) fn json(what: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(what)
        .map_err(|error| Error::no("the answer cannot be written").cause(error))
}

/// Returns the colour of a state.
pub(super) fn style(state: DeliveryState) -> Style {
    match state {
        DeliveryState::Pending => PLAIN,
        DeliveryState::Retrying | DeliveryState::Parked => YELLOW,
        DeliveryState::Dead => RED,
        DeliveryState::Cancelled => DIM,
        DeliveryState::Delivered => GREEN,
    }
}

/// Returns the time until the next attempt: `due` if that has passed.
pub(super) fn next(target: &Target, now: SystemTime, look: &Look) -> Option<String> {
    if target.leased {
        return Some("now".to_owned());
    }
    if target.paused {
        return Some("paused".to_owned());
    }
    match target.state {
        DeliveryState::Dead
        | DeliveryState::Cancelled
        | DeliveryState::Delivered
        | DeliveryState::Parked => None,
        DeliveryState::Pending | DeliveryState::Retrying => Some(match target.next_at.as_deref() {
            Some(at) => term::moment(at).map_or_else(
                || look.none().to_owned(),
                |at| match at.duration_since(now) {
                    Ok(left) if left >= Duration::from_secs(1) => term::wait(left),
                    // it waits for its turn, or for the upstream
                    Ok(_) | Err(_) => "due".to_owned(),
                },
            ),
            None => "in line".to_owned(),
        }),
    }
}

/// Returns the maximum number of attempts. Past it, the number has attempts that do not count, such as probes, and no maximum is shown.
pub(super) fn max_attempts(target: &Target) -> Option<u32> {
    target
        .max_attempts
        .filter(|most| target.attempt_count <= *most)
}

/// Renders the number of attempts: `4/12`.
pub(super) fn attempts(target: &Target) -> String {
    match max_attempts(target) {
        Some(most) => format!("{}/{most}", target.attempt_count),
        None => target.attempt_count.to_string(),
    }
}

fn render(found: &[Delivery], with_route: bool, now: SystemTime, look: &Look) -> String {
    let mut columns = vec![
        ("ID", Align::Left),
        ("EVENT", Align::Left),
        ("RECEIVED", Align::Left),
        ("STATE", Align::Left),
        ("ATTEMPTS", Align::Right),
        ("LAST", Align::Left),
        ("NEXT", Align::Right),
    ];
    let with_account = found.iter().any(|delivery| delivery.account.is_some());
    if with_account {
        columns.insert(1, ("ACCOUNT", Align::Left));
    }
    let has_events = found.iter().any(is_event);
    if has_events {
        columns.insert(1, ("ENDPOINT", Align::Left));
    }
    if with_route {
        let origin = if has_events { "ORIGIN" } else { "ROUTE" };
        columns.insert(1, (origin, Align::Left));
    }
    let mut table = Table::new(&columns, 0);
    let or_none =
        |text: Option<String>| text.map_or_else(|| Cell::styled(look.none(), DIM), Cell::from);
    for delivery in found {
        // an event that no endpoint wants has no target
        let none = Target {
            state: DeliveryState::Delivered,
            ..Target::default()
        };
        let targets = match delivery.targets.as_slice() {
            [] if is_event(delivery) => std::slice::from_ref(&none),
            targets => targets,
        };
        for target in targets {
            let received = term::moment(&delivery.received_at).map(|at| look.time(at, now));
            let mut cells = vec![
                Cell::styled(term::clean(shown_id(delivery)), BOLD),
                or_none(delivery.event_type.as_deref().map(term::clean)),
                or_none(received),
                state(delivery, target),
                attempts(target).into(),
                or_none(target.last.as_ref().map(|last| term::clean(&last.outcome))),
                or_none(next(target, now, look)),
            ];
            if with_account {
                cells.insert(1, or_none(delivery.account.as_deref().map(term::clean)));
            }
            if has_events {
                let endpoint = is_event(delivery).then(|| term::clean(&target.target));
                cells.insert(1, or_none(endpoint.filter(|name| !name.is_empty())));
            }
            if with_route {
                cells.insert(1, term::clean(&delivery.origin.name).into());
            }
            table.row(cells);
        }
    }
    table.render(look)
}

/// Returns the ID by which people know a delivery: the provider's, or that of an event.
fn shown_id(delivery: &Delivery) -> &str {
    let of_provider = delivery.delivery_id.as_deref();
    of_provider
        .filter(|_| !is_event(delivery))
        .unwrap_or(&delivery.id)
}

/// Returns the state of a delivery at a target. An event that no endpoint wants has none.
fn state(delivery: &Delivery, target: &Target) -> Cell {
    if target.target.is_empty() && is_event(delivery) {
        Cell::styled("no endpoint", DIM)
    } else {
        Cell::styled(target.state.word(), style(target.state))
    }
}

/// Returns whether a delivery is an event that the app published.
pub(super) fn is_event(delivery: &Delivery) -> bool {
    delivery.origin.kind == "tenant"
}

/// Renders the last line: `3 of 3, newest first`, and the option for the rest. An event has a line for each of its endpoints.
fn foot(found: &[Delivery], all: bool, order: Order, look: &Look, now: SystemTime) -> String {
    let shown = count(found);
    if shown == 0 {
        return "no delivery matches".to_owned();
    }
    let lines = found.iter().map(|delivery| delivery.targets.len().max(1));
    let lines = u64::try_from(lines.sum::<usize>()).unwrap_or(u64::MAX);
    let lines = if lines > shown {
        format!(" in {} lines", term::count(lines))
    } else {
        String::new()
    };
    let order = if order == Order::Oldest {
        "oldest first"
    } else {
        "newest first"
    };
    let zone = jiff::Timestamp::try_from(now).ok().map(|now| {
        now.to_zoned_datetime(look.zone.clone())
            .strftime("%Z")
            .to_string()
    });
    let zone = zone
        .filter(|zone| zone != "UTC" && look.width.is_some())
        .map(|zone| format!(", times in {zone}"))
        .unwrap_or_default();
    if all {
        format!(
            "{shown} of {shown}{lines}, {order}{zone}",
            shown = term::count(shown)
        )
    } else {
        format!(
            "{} shown{lines}, {order}{zone}; for more: --limit {}",
            term::count(shown),
            shown.saturating_mul(10)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::deliveries::tests::fake_gateway as fake;

    #[test]
    fn delivery_whose_time_has_come_is_due() {
        let (mut target, look) = (fake::deliveries().remove(0).targets.remove(0), fake::look());
        target.next_at = Some("2026-11-24T13:07:02.5Z".to_owned());
        assert_eq!(next(&target, fake::now(), &look).as_deref(), Some("due"));
        target.next_at = Some("2026-11-24T13:06:02Z".to_owned());
        assert_eq!(next(&target, fake::now(), &look).as_deref(), Some("due"));
        target.leased = true;
        assert_eq!(next(&target, fake::now(), &look).as_deref(), Some("now"));
    }

    #[test]
    fn attempts_past_the_maximum_are_shown_without_it() {
        let mut target = fake::deliveries().remove(0).targets.remove(0);
        assert_eq!(attempts(&target), "4/12");
        target.attempt_count = 13;
        assert_eq!(attempts(&target), "13");
    }

    #[test]
    fn list_fits_100_columns() {
        let (found, now, look) = (fake::deliveries(), fake::now(), fake::look());
        for with_route in [false, true] {
            let page = render(&found, with_route, now, &look);
            let plain = anstream::adapter::strip_str(&page).to_string();
            assert!(
                plain.lines().all(|line| line.chars().count() <= 100),
                "{plain}"
            );
            let name = if with_route {
                "list_all_routes"
            } else {
                "list"
            };
            insta::assert_snapshot!(format!("{name}_plain"), plain);
            insta::assert_snapshot!(format!("{name}_coloured"), page.replace('\x1b', "^"));
        }
        let found = fake::deliveries();
        assert_eq!(
            foot(&found, true, Order::Newest, &look, now),
            "3 of 3, newest first"
        );
        assert_eq!(
            foot(&found[..2], false, Order::Oldest, &look, now),
            "2 shown, oldest first; for more: --limit 20"
        );
        let berlin = Look {
            zone: jiff::tz::TimeZone::fixed(jiff::tz::offset(1)),
            ..look
        };
        assert!(
            foot(&found, true, Order::Newest, &berlin, now).contains(", times in +01"),
            "the zone is said once"
        );
    }
    #[test]
    fn only_targets_in_the_asked_states_are_listed() {
        let mut event = fake::deliveries().remove(0);
        let target = event.targets.remove(0);
        let states = [
            DeliveryState::Delivered,
            DeliveryState::Dead,
            DeliveryState::Dead,
        ];
        event.targets = states
            .map(|state| Target {
                state,
                ..target.clone()
            })
            .to_vec();
        let kept = |states: &[DeliveryState]| {
            let mut event = event.clone();
            keep_states(&mut event, states);
            event
        };
        assert_eq!(kept(&[]).targets.len(), 3);
        let dead = kept(&[DeliveryState::Dead]);
        assert_eq!(dead.targets, event.targets[1..]);
        assert_eq!(kept(&[DeliveryState::Retrying]).targets.len(), 3);
        assert_eq!(
            foot(&[dead], true, Order::Newest, &fake::look(), fake::now()),
            "1 of 1 in 2 lines, newest first"
        );
    }

    #[test]
    fn event_of_a_paused_endpoint_has_no_next_attempt() {
        let mut target = fake::deliveries().remove(0).targets.remove(0);
        target.paused = true;
        let next = next(&target, fake::now(), &fake::look());
        assert_eq!(next.as_deref(), Some("paused"));
    }
}
