//! `hookgate events list` and `show`: the events that were published for a tenant.
use std::time::SystemTime;

use clap::builder::NonEmptyStringValueParser;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::deliveries::DeliveryState;
use crate::cli::context;
use crate::cli::deliveries::show::print_raw;
use crate::cli::error::{Error, Exit};
use crate::cli::outbound_attempts::{self, Attempt, Of};
use crate::cli::outbound_client::{OutboundArgs, OutboundClient, within};
use crate::cli::outbound_list::{ListArgs, foot, list};
use crate::cli::policy::quoted;
use crate::cli::table::{Align, Cell, Table};
use crate::cli::term::{self, BOLD, DIM, GREEN, Look, PLAIN, RED, YELLOW};

/// The largest number of attempts that are shown.
const ATTEMPTS: u64 = 50;

/// Arguments of `events list`.
#[derive(Debug, clap::Args)]
pub(super) struct ListEventsArgs {
    /// The tenant.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    tenant: String,
    /// Only events of this type.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only the event with this key.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    #[command(flatten)]
    list: ListArgs,
    /// Prints times in UTC also on a terminal.
    #[arg(long)]
    utc: bool,
    #[command(flatten)]
    outbound: OutboundArgs,
}

/// Arguments of `events show`.
#[derive(Debug, clap::Args)]
pub(super) struct ShowEventArgs {
    /// The tenant.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    tenant: String,
    /// The event, `msg_…`.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    event: String,
    /// Prints only its body.
    #[arg(long, conflicts_with = "json")]
    data: bool,
    /// Prints a JSON object.
    #[arg(long)]
    json: bool,
    /// Prints times in UTC also on a terminal.
    #[arg(long)]
    utc: bool,
    #[command(flatten)]
    outbound: OutboundArgs,
}

/// An event, as the API shows it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) key: Option<String>,
    #[serde(rename = "type")]
    pub(super) event_type: Option<String>,
    pub(super) accepted_at: String,
    pub(super) size: u64,
    pub(super) targets: Vec<Target>,
}

/// The state of an event at an endpoint.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Target {
    pub(super) endpoint: String,
    pub(super) state: DeliveryState,
    #[serde(default)]
    pub(super) attempts: u64,
    pub(super) next_at: Option<String>,
    #[serde(default)]
    pub(super) paused: bool,
}

/// Runs `events list`.
pub(super) fn list_events(args: &ListEventsArgs) -> Result<Exit, Error> {
    let client = args.outbound.client()?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    let conditions = [("type", &args.event_type), ("key", &args.key)];
    query.extend_pairs(
        conditions
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_ref()?))),
    );
    let target = format!("{}?{}", within(&args.tenant, &["events"]), query.finish());
    let target = target.trim_end_matches('?');
    let found = context::block_on(args.list.get::<Event>(&client, target, "events"))??;
    let Some(found) = found else {
        return Ok(Exit::DONE);
    };
    if let Some(first) = found.items.first() {
        let look = Look::of_stdout_in(args.utc);
        term::print(&render_list(&found.items, context::now(), &look))?;
        term::say(&foot(&found, "event"));
        term::say(&format!(
            "next: hookgate events show {} {}{}",
            term::clean(&quoted(&args.tenant)),
            term::clean(&first.id),
            client.options()
        ));
    } else {
        term::say(&foot(&found, "event"));
    }
    Ok(Exit::DONE)
}

/// Renders the table of events.
pub(super) fn render_list(events: &[Event], now: SystemTime, look: &Look) -> String {
    let columns = [
        ("EVENT", Align::Left),
        ("TYPE", Align::Left),
        ("ACCEPTED", Align::Left),
        ("SIZE", Align::Right),
        ("KEY", Align::Left),
    ];
    let mut table = Table::new(&columns, 0);
    let or_none = |text: &Option<String>| {
        text.as_deref().map_or_else(
            || Cell::styled(look.none(), DIM),
            |text| term::clean(text).into(),
        )
    };
    for event in events {
        table.row([
            Cell::styled(term::clean(&event.id), BOLD),
            or_none(&event.event_type),
            time(Some(&event.accepted_at), now, look).into(),
            term::size(event.size).into(),
            or_none(&event.key),
        ]);
    }
    table.render(look)
}

fn time(text: Option<&str>, now: SystemTime, look: &Look) -> String {
    text.and_then(term::moment)
        .map_or_else(|| look.none().to_owned(), |at| look.time(at, now))
}

/// Runs `events show`.
pub(super) fn show_event(args: &ShowEventArgs) -> Result<Exit, Error> {
    let client = args.outbound.client()?;
    context::block_on(show(&client, args))?
}

async fn show(client: &OutboundClient, args: &ShowEventArgs) -> Result<Exit, Error> {
    let target = |more: &[&str]| {
        let segments = [&["events", args.event.as_str()], more].concat();
        within(&args.tenant, &segments)
    };
    if args.data {
        print_raw(&client.bytes(&target(&["data"])).await?)?;
        return Ok(Exit::DONE);
    }
    let json: Box<RawValue> = client.get(&target(&[])).await?;
    if args.json {
        term::print_line(json.get())?;
        return Ok(Exit::DONE);
    }
    let event: Event = client.parse(json.get().as_bytes())?;
    let attempts = list(client, &target(&["attempts"]), "attempts", ATTEMPTS).await?;
    let look = Look::of_stdout_in(args.utc);
    term::print(&render(
        &args.tenant,
        &event,
        &attempts.items,
        context::now(),
        &look,
    ))?;
    if let Some(command) = next(&args.tenant, &event) {
        term::say(&format!(
            "next: hookgate endpoints {command}{}",
            client.options()
        ));
    }
    Ok(Exit::DONE)
}

/// Returns the command that sends the event to an endpoint that does not get it.
fn next(tenant: &str, event: &Event) -> Option<String> {
    let of = |endpoint: &str| format!("{} {endpoint}", quoted(tenant));
    let over = event.targets.iter().find(|target| is_over(target));
    let paused = event.targets.iter().find(|target| target.paused);
    let command = match (over, paused) {
        (Some(over), _) => format!("recover {} --id {}", of(&over.endpoint), event.id),
        (None, Some(paused)) => format!("resume {} --waiting all --dry-run", of(&paused.endpoint)),
        (None, None) => return None,
    };
    Some(term::clean(&command))
}

/// Returns whether no attempt follows although the event was not delivered.
fn is_over(target: &Target) -> bool {
    matches!(target.state, DeliveryState::Dead | DeliveryState::Cancelled)
}

/// Renders an event with its state at each endpoint, and its attempts.
pub(super) fn render(
    tenant: &str,
    event: &Event,
    attempts: &[Attempt],
    now: SystemTime,
    look: &Look,
) -> String {
    let mut text = format!(
        "{BOLD}{}{BOLD:#}   {}   {}\n\n",
        term::clean(&event.id),
        term::clean(event.event_type.as_deref().unwrap_or(look.none())),
        term::clean(tenant)
    );
    if let Some(key) = &event.key {
        text.push_str(&format!("  key       {}\n", term::clean(key)));
    }
    text.push_str(&format!(
        "  accepted  {}\n  body      {}     {DIM}--data prints it{DIM:#}\n",
        time(Some(&event.accepted_at), now, look),
        term::size(event.size)
    ));
    if event.targets.is_empty() {
        text.push_str("  endpoints none wanted it\n");
        return text;
    }
    let columns = [
        ("ENDPOINT", Align::Left),
        ("STATE", Align::Left),
        ("ATTEMPTS", Align::Right),
        ("NEXT", Align::Left),
    ];
    let mut table = Table::new(&columns, 2);
    for target in &event.targets {
        let style = match target.state {
            DeliveryState::Pending => PLAIN,
            DeliveryState::Retrying | DeliveryState::Parked => YELLOW,
            DeliveryState::Dead => RED,
            DeliveryState::Cancelled => DIM,
            DeliveryState::Delivered => GREEN,
        };
        table.row([
            term::clean(&target.endpoint).into(),
            Cell::styled(target.state.word(), style),
            term::count(target.attempts).into(),
            if target.paused {
                Cell::styled("waits for `resume`", YELLOW)
            } else {
                time(target.next_at.as_deref(), now, look).into()
            },
        ]);
    }
    text.push('\n');
    text.push_str(&table.render(look));
    if !attempts.is_empty() {
        text.push('\n');
        text.push_str(&outbound_attempts::render(attempts, Of::Event, now, look));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_of_a_paused_endpoint_waits_for_its_resume() {
        let target = |endpoint: &str, state, paused| Target {
            endpoint: endpoint.to_owned(),
            state,
            attempts: 0,
            next_at: None,
            paused,
        };
        let mut event = Event {
            id: "msg_1".to_owned(),
            targets: vec![
                target("ep_1", DeliveryState::Delivered, false),
                target("ep_2", DeliveryState::Pending, true),
            ],
            ..Event::default()
        };
        let look = Look {
            width: None,
            utf8: true,
            zone: jiff::tz::TimeZone::UTC,
        };
        let text = render("acme", &event, &[], SystemTime::UNIX_EPOCH, &look);
        let text = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(text.matches("waits for `resume`").count(), 1, "{text}");
        let command = |event: &Event| next("acme", event).unwrap();
        assert_eq!(command(&event), "resume acme ep_2 --waiting all --dry-run");
        event
            .targets
            .push(target("ep_3", DeliveryState::Dead, false));
        assert_eq!(command(&event), "recover acme ep_3 --id msg_1");
    }
}
