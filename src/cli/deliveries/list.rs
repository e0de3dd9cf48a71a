//! `hookgate deliveries list`: a line a delivery.
use std::time::SystemTime;

use anstyle::Style;

use crate::api::deliveries::{Deliveries, Delivery, DeliveryState, Filter, Order, Target};
use crate::cli::ask::{Door, GateArgs};
use crate::cli::context;
use crate::cli::deliveries::filter_args::{self, Which};
use crate::cli::error::{Error, Exit};
use crate::cli::table::{Align, Cell, Table};
use crate::cli::term::{self, BOLD, DIM, GREEN, Look, PLAIN, RED, YELLOW};

/// Deliveries asked for at a time.
const PAGE: u64 = 100;

/// Arguments of `deliveries list`.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    which: Which,
    /// So many at most.
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: u64,
    /// Oldest first.
    #[arg(long)]
    oldest: bool,
    /// Prints one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Times in UTC, on a terminal, too.
    #[arg(long)]
    utc: bool,
}

/// Runs `deliveries list`.
pub(super) fn list(gate: &GateArgs, args: &ListArgs) -> Result<Exit, Error> {
    let (door, now) = (gate.door()?, super::now());
    let order = if args.oldest {
        Order::Oldest
    } else {
        Order::Newest
    };
    let mut pages = Pages::new(&door, args.which.filter(now), order);
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
        term::print(&render(&found, args.which.route.is_none(), now, &look))?;
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

/// As one line of JSON, as the gate has it.
pub(super) fn json(what: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(what)
        .map_err(|error| Error::no("the answer cannot be written").cause(error))
}

/// The deliveries that a filter finds, page by page.
pub(super) struct Pages<'a> {
    door: &'a Door,
    filter: Filter,
    order: Order,
    after: Option<String>,
    over: bool,
}

impl<'a> Pages<'a> {
    pub(super) fn new(door: &'a Door, filter: Filter, order: Order) -> Self {
        Self {
            door,
            filter,
            order,
            after: None,
            over: false,
        }
    }

    /// The next page of at most so many; it can be empty, for a search looks at so many at a time. `None` at the end.
    pub(super) async fn next(&mut self, most: u64) -> Result<Option<Vec<Delivery>>, Error> {
        if self.over {
            return Ok(None);
        }
        let order = if self.order == Order::Oldest {
            "oldest"
        } else {
            "newest"
        };
        let page: Deliveries = self
            .door
            .get(&filter_args::target(
                &self.filter,
                order,
                most.min(PAGE),
                self.after.as_deref(),
            ))
            .await?;
        self.over = page.next.is_none();
        self.after = page.next;
        Ok(Some(page.deliveries))
    }

    /// Whether all were seen.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }
}

/// The colour of a state.
pub(super) fn style(state: DeliveryState) -> Style {
    match state {
        DeliveryState::Pending => PLAIN,
        DeliveryState::Retrying | DeliveryState::Parked => YELLOW,
        DeliveryState::Dead => RED,
        DeliveryState::Cancelled => DIM,
        DeliveryState::Delivered => GREEN,
    }
}

/// When the next try is.
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
                |at| term::wait(at.duration_since(now).unwrap_or_default()),
            ),
            None => "in line".to_owned(),
        }),
    }
}

/// `4/12`
pub(super) fn attempts(target: &Target) -> String {
    match target.max_attempts {
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
        ("TRIES", Align::Right),
        ("LAST", Align::Left),
        ("NEXT", Align::Right),
    ];
    let with_account = found.iter().any(|delivery| delivery.account.is_some());
    if with_account {
        columns.insert(1, ("ACCOUNT", Align::Left));
    }
    if with_route {
        columns.insert(1, ("ROUTE", Align::Left));
    }
    let mut table = Table::new(&columns, 0);
    let or_none =
        |text: Option<String>| text.map_or_else(|| Cell::styled(look.none(), DIM), Cell::from);
    for delivery in found {
        for target in &delivery.targets {
            let received = term::moment(&delivery.received_at).map(|at| look.time(at, now));
            let mut cells = vec![
                Cell::styled(
                    term::clean(delivery.delivery_id.as_deref().unwrap_or(&delivery.id)),
                    BOLD,
                ),
                or_none(delivery.event_type.as_deref().map(term::clean)),
                or_none(received),
                Cell::styled(target.state.word(), style(target.state)),
                attempts(target).into(),
                or_none(target.last.as_ref().map(|last| term::clean(&last.outcome))),
                or_none(next(target, now, look)),
            ];
            if with_account {
                cells.insert(1, or_none(delivery.account.as_deref().map(term::clean)));
            }
            if with_route {
                cells.insert(1, term::clean(&delivery.origin.name).into());
            }
            table.row(cells);
        }
    }
    table.render(look)
}

/// `3 of 3, newest first`, and what to type for the rest.
fn foot(shown: u64, all: bool, order: Order, look: &Look, now: SystemTime) -> String {
    if shown == 0 {
        return "no delivery is like that".to_owned();
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
            "{} shown, {order}{zone}; there are more: --limit {}",
            term::count(shown),
            shown.saturating_mul(10)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::deliveries::fake;

    #[test]
    fn a_list_at_100_columns() {
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
            "50 shown, oldest first; there are more: --limit 500"
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
