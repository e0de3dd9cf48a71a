//! `hookgate deliveries list`: one line for each delivery.
use std::time::{Duration, SystemTime};

use anstyle::Style;

use crate::api::deliveries::{Deliveries, Delivery, DeliveryState, Filter, Order, Target};
use crate::cli::admin_client::AdminClient;
use crate::cli::ask::GateArgs;
use crate::cli::context;
use crate::cli::deliveries::filter_args::{self, FilterArgs};
use crate::cli::error::{Error, Exit};
use crate::cli::table::{Align, Cell, Table};
use crate::cli::term::{self, BOLD, DIM, GREEN, Look, PLAIN, RED, YELLOW};

/// The largest number of deliveries in one request.
const PAGE: u64 = 100;

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
    if !found.is_empty() {
        let is_of_one = args.filter.route.is_some() || args.filter.tenant.is_some();
        term::print(&render(&found, !is_of_one, now, &look))?;
    }
    term::say(&foot(count(&found), pages.is_over(), order, &look, now));
    Ok(Exit::DONE)
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

/// The deliveries that a filter finds, page by page.
pub(super) struct Pages<'a> {
    client: &'a AdminClient,
    filter: Filter,
    order: Order,
    after: Option<String>,
    is_over: bool,
}

impl<'a> Pages<'a> {
    pub(super) fn new(client: &'a AdminClient, filter: Filter, order: Order) -> Self {
        Self {
            client,
            filter,
            order,
            after: None,
            is_over: false,
        }
    }

    /// Returns the next page of at most `most`, or `None` at the end. A page can be empty, since a search examines a limited number of deliveries.
    pub(super) async fn next(&mut self, most: u64) -> Result<Option<Vec<Delivery>>, Error> {
        if self.is_over {
            return Ok(None);
        }
        let order = if self.order == Order::Oldest {
            "oldest"
        } else {
            "newest"
        };
        let page: Deliveries = self
            .client
            .get(&filter_args::target(
                &self.filter,
                order,
                most.min(PAGE),
                self.after.as_deref(),
            ))
            .await?;
        self.is_over = page.next.is_none();
        self.after = page.next;
        Ok(Some(page.deliveries))
    }

    /// Returns whether the last page was read.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }
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

/// Renders the last line: `3 of 3, newest first`, and the option for the rest.
fn foot(shown: u64, all: bool, order: Order, look: &Look, now: SystemTime) -> String {
    if shown == 0 {
        return "no delivery matches".to_owned();
    }
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
            "{shown} of {shown}, {order}{zone}",
            shown = term::count(shown)
        )
    } else {
        format!(
            "{} shown, {order}{zone}; for more: --limit {}",
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
        assert_eq!(
            foot(3, true, Order::Newest, &look, now),
            "3 of 3, newest first"
        );
        assert_eq!(
            foot(50, false, Order::Oldest, &look, now),
            "50 shown, oldest first; for more: --limit 500"
        );
        let berlin = Look {
            zone: jiff::tz::TimeZone::fixed(jiff::tz::offset(1)),
            ..look
        };
        assert!(
            foot(1, true, Order::Newest, &berlin, now).contains(", times in +01"),
            "the zone is said once"
        );
    }
}
