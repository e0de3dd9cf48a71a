//! `hookgate deliveries show`: one delivery with all its attempts.
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, SystemTime};

use super::list::{is_event, json, max_attempts, next, style};
use super::raw;
use crate::api::deliveries::{Delivery, DeliveryDetails, DeliveryState, Target};
use crate::cli::admin_client::{AdminClient, escaped};
use crate::cli::ask::GateArgs;
use crate::cli::context;
use crate::cli::deliveries::attempts;
use crate::cli::error::{Error, Exit};
use crate::cli::policy::quoted;
use crate::cli::term::{self, BOLD, DIM, Look, Sign};

/// Arguments of `deliveries show`.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// The provider's ID of the delivery, or the gateway's.
    id: String,
    /// Prints only its body.
    #[arg(long, group = "as_what")]
    body: bool,
    /// Prints its request as raw HTTP.
    #[arg(long, group = "as_what")]
    http: bool,
    /// Prints a curl command that sends its request again.
    #[arg(long, group = "as_what")]
    curl: bool,
    /// Prints a JSON object.
    #[arg(long, group = "as_what")]
    json: bool,
    /// Prints times in UTC also on a terminal.
    #[arg(long)]
    utc: bool,
}

/// Runs `deliveries show`.
pub(super) fn show(gate: &GateArgs, args: &ShowArgs) -> Result<Exit, Error> {
    let client = gate.client()?;
    context::block_on(async {
        let shown = find(&client, &args.id).await?;
        let id = escaped(&shown.delivery.id);
        if args.body {
            print_raw(
                &client
                    .bytes(&format!("/-/deliveries/{id}/body?raw=true"))
                    .await?,
            )?;
        } else if args.http {
            print_raw(&client.bytes(&format!("/-/deliveries/{id}/http")).await?)?;
        } else if args.curl {
            term::print_line(&raw::curl(
                &client.bytes(&format!("/-/deliveries/{id}/http")).await?,
                shown.request.tls,
            )?)?;
        } else if args.json {
            term::print_line(&json(&shown)?)?;
        } else {
            term::print(&render(
                &shown,
                context::now(),
                &Look::of_stdout_in(args.utc),
            ))?;
            hint(&shown, &args.id, client.options());
        }
        Ok(Exit::DONE)
    })?
}

/// Gets the delivery with this ID.
pub(super) async fn find(client: &AdminClient, id: &str) -> Result<DeliveryDetails, Error> {
    let none = || {
        Error::no(format!("there is no delivery {id}"))
            .hint(format!("hookgate deliveries list{}", client.options()))
    };
    client
        .find(&format!("/-/deliveries/{}", escaped(id)))
        .await?
        .ok_or_else(none)
}

/// Prints bytes unchanged, but escaped on a terminal.
pub(in crate::cli) fn print_raw(bytes: &[u8]) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    if stdout.is_terminal() {
        stdout.write_all(term::clean_body(bytes).as_bytes())?;
        stdout.write_all(b"\n")?;
    } else {
        stdout.write_all(bytes)?;
    }
    Ok(stdout.flush()?)
}

/// Prints the command to run next, with the options that found the gateway.
fn hint(shown: &DeliveryDetails, asked: &str, options: &str) {
    if shown.same_id_count > 0 {
        let older = if shown.same_id_count == 1 {
            "1 older delivery has".to_owned()
        } else {
            format!("{} older deliveries have", term::count(shown.same_id_count))
        };
        term::say(&format!(
            "{older} this ID: hookgate deliveries list --id {}{options}",
            term::clean(&quoted(asked))
        ));
    } else if shown
        .delivery
        .targets
        .iter()
        .any(|target| matches!(target.state, DeliveryState::Dead | DeliveryState::Cancelled))
    {
        term::say(&format!(
            "next: hookgate deliveries replay {}{options}",
            term::clean(&quoted(asked))
        ));
    }
}

fn render(shown: &DeliveryDetails, now: SystemTime, look: &Look) -> String {
    let delivery = &shown.delivery;
    let name = delivery
        .event_type
        .as_deref()
        .or(delivery.delivery_id.as_deref())
        .unwrap_or(&delivery.id);
    let mut text = format!(
        "{BOLD}{}{BOLD:#}   {} {}",
        term::clean(name),
        term::clean(&delivery.origin.kind),
        term::clean(&delivery.origin.name)
    );
    let is_event = is_event(delivery);
    for target in delivery.targets.iter().filter(|_| !is_event) {
        let style = style(target.state);
        write!(text, "   {style}{}{style:#}", state(target, now, look)).ok();
    }
    text.push_str("\n\n");
    let mut line = |what: &str, description: String, command: &str| {
        let command = if command.is_empty() {
            String::new()
        } else {
            format!("     {DIM}{command}{DIM:#}")
        };
        writeln!(text, "  {what:<9} {}{command}", term::clean(&description)).ok();
    };
    if is_event {
        line("id", delivery.id.clone(), "");
        line("key", delivery.delivery_id.clone().unwrap_or_default(), "");
        let at = term::moment(&delivery.received_at);
        let at = at.map_or_else(|| delivery.received_at.clone(), |at| precise(at, now, look));
        line("published", at, "");
    } else {
        let ids: Vec<_> = delivery
            .delivery_id
            .iter()
            .chain([&delivery.id])
            .cloned()
            .collect();
        line("id", ids.join(", in the gateway "), "");
        if let Some(account) = &delivery.account {
            line("account", account.clone(), "");
        }
        line("received", received(shown, now, look), "");
        line("verified", verified(shown), "");
    }
    let body = &shown.body;
    let kind = body
        .content_type
        .as_deref()
        .map(|kind| format!(", {kind}"))
        .unwrap_or_default();
    let hash: String = body.sha256.chars().take(8).collect();
    line(
        "body",
        format!("{}{kind}, sha256 {hash}…", term::size(body.size)),
        if is_event {
            "--body prints it"
        } else {
            "--body prints it, --http all"
        },
    );
    if is_event {
        text.push_str(&endpoints(delivery, now, look));
    }
    if !shown.attempts.is_empty() {
        text.push('\n');
        text.push_str(&attempts::render(&shown.attempts, now, look));
    }
    text
}

/// Renders a line for each endpoint of an event.
fn endpoints(event: &Delivery, now: SystemTime, look: &Look) -> String {
    if event.targets.is_empty() {
        return "\n  no endpoint wants it\n".to_owned();
    }
    let lines = event.targets.iter().map(|target| {
        let style = style(target.state);
        format!(
            "  {}   {style}{}{style:#}\n",
            term::clean(&target.target),
            state(target, now, look)
        )
    });
    format!("\n{}", lines.collect::<String>())
}

/// Describes the state: `◷ retrying, next attempt in 1 m 48 s, 4 of 12 attempts`.
fn state(target: &Target, now: SystemTime, look: &Look) -> String {
    let sign = match target.state {
        DeliveryState::Delivered => look.bare_sign(Sign::Good),
        DeliveryState::Dead | DeliveryState::Cancelled => look.bare_sign(Sign::Bad),
        DeliveryState::Parked => look.bare_sign(Sign::Warning),
        DeliveryState::Pending | DeliveryState::Retrying => {
            if look.utf8 {
                "◷"
            } else {
                "~"
            }
        }
    };
    let mut description = format!("{sign} {}", target.state.word());
    match next(target, now, look).as_deref() {
        Some("now") => description.push_str(", attempt in progress"),
        Some("in line") => description.push_str(", waiting for earlier deliveries"),
        Some("paused") => description.push_str(", waiting until its endpoint is resumed"),
        Some("due") => description.push_str(", next attempt is due"),
        Some(wait) => description.push_str(&format!(", next attempt in {wait}")),
        None => {}
    }
    if let Some(reason) = &target.reason {
        let words = match reason.as_str() {
            "attempts" => "all attempts failed".to_owned(),
            "age" => "it is too old".to_owned(),
            "paused" => "its endpoint was paused for too long".to_owned(),
            "removed" => "its endpoint was removed".to_owned(),
            other => format!("ended by {}", term::clean(other)),
        };
        description.push_str(&format!(", {words}"));
    }
    if target.state == DeliveryState::Parked {
        description.push_str(", the config no longer has its route");
    }
    match max_attempts(target) {
        Some(most) if target.attempt_count > 0 => {
            description.push_str(&format!(", {} of {most} attempts", target.attempt_count));
        }
        None if target.attempt_count > 0 => description.push_str(&format!(
            ", {} attempt{}",
            target.attempt_count,
            if target.attempt_count == 1 { "" } else { "s" }
        )),
        Some(_) | None => {}
    }
    description
}

fn received(shown: &DeliveryDetails, now: SystemTime, look: &Look) -> String {
    let request = &shown.request;
    let at = request
        .received_at
        .as_deref()
        .unwrap_or(&shown.delivery.received_at);
    let mut description =
        term::moment(at).map_or_else(|| at.to_owned(), |at| precise(at, now, look));
    if let Some(client) = &request.client {
        description.push_str(&format!(" from {client}"));
    }
    description.push_str(&format!(", {} {}", request.method, request.path));
    if let Some(answered) = request.response_status {
        description.push_str(&format!(", answered {answered}"));
    }
    description
}

/// Renders a time as a list does, with milliseconds if it is of today.
fn precise(at: SystemTime, now: SystemTime, look: &Look) -> String {
    let short = look.time(at, now);
    let millis = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .subsec_millis();
    if short.matches(':').count() == 2 {
        format!("{short}.{millis:03}")
    } else {
        short
    }
}

fn verified(shown: &DeliveryDetails) -> String {
    let request = &shown.request;
    if !request.verified {
        return "no: its route does not verify, or observed".to_owned();
    }
    let mut description = request
        .secret
        .as_deref()
        .map_or_else(|| "yes".to_owned(), |secret| format!("secret {secret}"));
    let received = term::moment(
        request
            .received_at
            .as_deref()
            .unwrap_or(&shown.delivery.received_at),
    );
    if let Some((signed, received)) = request
        .signed_at
        .as_deref()
        .and_then(term::moment)
        .zip(received)
    {
        description.push_str(&match received.duration_since(signed) {
            Ok(before) => format!("; signed {} before", near(before)),
            Err(after) => format!("; signed {} after", near(after.duration())),
        });
    }
    if let Some(covers) = request
        .covers
        .as_deref()
        .filter(|covers| !covers.is_empty())
    {
        description.push_str(&format!("; covers {covers}"));
    }
    description
}

/// Renders a difference of times in whole seconds, which signed times have.
fn near(duration: Duration) -> String {
    term::wait(Duration::from_secs(
        (duration + Duration::from_millis(500)).as_secs(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::deliveries::tests::fake_gateway as fake;

    #[test]
    fn page_fits_100_columns() {
        let page = render(&fake::shown(), fake::now(), &fake::look());
        let plain = anstream::adapter::strip_str(&page).to_string();
        assert!(
            plain.lines().all(|line| line.chars().count() <= 100),
            "{plain}"
        );
        assert!(plain.contains("\\x1b[2J"), "{plain}");
        insta::assert_snapshot!("show_plain", plain);
        insta::assert_snapshot!("show_coloured", page.replace('\x1b', "^"));
    }

    #[test]
    fn each_state_is_described() {
        let (now, look) = (fake::now(), fake::look());
        let of = |change: &dyn Fn(&mut Target)| {
            let mut target = Target {
                max_attempts: Some(12),
                ..Target::default()
            };
            change(&mut target);
            state(&target, now, &look)
        };
        assert_eq!(of(&|_| {}), "◷ pending, waiting for earlier deliveries");
        assert_eq!(
            of(&|target| target.leased = true),
            "◷ pending, attempt in progress"
        );
        let dead = of(&|target| {
            *target = Target {
                state: DeliveryState::Dead,
                attempt_count: 12,
                reason: Some("attempts".to_owned()),
                ..target.clone()
            }
        });
        assert_eq!(dead, "✕ dead, all attempts failed, 12 of 12 attempts");
        let gone = of(&|target| {
            *target = Target {
                state: DeliveryState::Dead,
                attempt_count: 1,
                reason: Some("410".to_owned()),
                ..target.clone()
            }
        });
        assert_eq!(gone, "✕ dead, ended by 410, 1 of 12 attempts");
        assert!(
            of(&|target| target.state = DeliveryState::Parked).contains("no longer has its route")
        );
    }
}
