//! `hookgate deliveries show`: one delivery, what is known of it, and every try.
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, SystemTime};

use super::list::{json, next, style};
use super::{escaped, raw};
use crate::api::deliveries::{Attempt, DeliveryDetails, DeliveryState, Target};
use crate::cli::ask::{Door, GateArgs};
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::policy::quoted;
use crate::cli::table::{Align, Cell, Table, cut};
use crate::cli::term::{self, BOLD, DIM, GREEN, Look, PLAIN, RED, Sign, YELLOW};
use crate::store::queue::CUT_OFF;

/// Equal probes in a row that are shown one by one.
const UNFOLDED: usize = 3;
/// Columns of the table of tries before the last one.
const BEFORE_DETAIL: usize = 40;

/// Arguments of `deliveries show`.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// The provider's ID of it, or its ID here.
    id: String,
    /// Prints its body alone.
    #[arg(long, group = "as_what")]
    body: bool,
    /// Prints its request as raw HTTP.
    #[arg(long, group = "as_what")]
    http: bool,
    /// Prints a curl command that sends its request once more.
    #[arg(long, group = "as_what")]
    curl: bool,
    /// Prints a JSON object.
    #[arg(long, group = "as_what")]
    json: bool,
    /// Times in UTC, on a terminal, too.
    #[arg(long)]
    utc: bool,
}

/// Runs `deliveries show`.
pub(super) fn show(gate: &GateArgs, args: &ShowArgs) -> Result<Exit, Error> {
    let door = gate.door()?;
    context::block_on(async {
        let shown = find(&door, &args.id).await?;
        let id = escaped(&shown.delivery.id);
        if args.body {
            print_raw(
                &door
                    .bytes(&format!("/-/deliveries/{id}/body?raw=true"))
                    .await?,
            )?;
        } else if args.http {
            print_raw(&door.bytes(&format!("/-/deliveries/{id}/http")).await?)?;
        } else if args.curl {
            term::print_line(&raw::curl(
                &door.bytes(&format!("/-/deliveries/{id}/http")).await?,
                shown.request.tls,
            )?)?;
        } else if args.json {
            term::print_line(&json(&shown)?)?;
        } else {
            term::print(&render(&shown, super::now(), &Look::of_stdout_in(args.utc)))?;
            hint(&shown, &args.id);
        }
        Ok(Exit::DONE)
    })?
}

/// The delivery of that ID.
pub(super) async fn find(door: &Door, id: &str) -> Result<DeliveryDetails, Error> {
    let none = || Error::no(format!("there is no delivery {id}")).hint("hookgate deliveries list");
    door.find(&format!("/-/deliveries/{}", escaped(id)))
        .await?
        .ok_or_else(none)
}

/// Bytes as they are, but for a terminal.
fn print_raw(bytes: &[u8]) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    if stdout.is_terminal() {
        stdout.write_all(term::clean_body(bytes).as_bytes())?;
        stdout.write_all(b"\n")?;
    } else {
        stdout.write_all(bytes)?;
    }
    Ok(stdout.flush()?)
}

/// What to do next.
fn hint(shown: &DeliveryDetails, asked: &str) {
    if shown.same_id_count > 0 {
        let older = if shown.same_id_count == 1 {
            "1 older delivery has".to_owned()
        } else {
            format!("{} older deliveries have", term::count(shown.same_id_count))
        };
        term::say(&format!(
            "{older} this ID: hookgate deliveries list --id {}",
            term::clean(&quoted(asked))
        ));
    } else if shown
        .delivery
        .targets
        .iter()
        .any(|target| matches!(target.state, DeliveryState::Dead | DeliveryState::Cancelled))
    {
        term::say(&format!(
            "then: hookgate deliveries replay {}",
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
    for target in &delivery.targets {
        let style = style(target.state);
        write!(text, "   {style}{}{style:#}", state(target, now, look)).ok();
    }
    text.push_str("\n\n");
    let mut line = |what: &str, said: String, command: &str| {
        let command = if command.is_empty() {
            String::new()
        } else {
            format!("     {DIM}{command}{DIM:#}")
        };
        writeln!(text, "  {what:<9} {}{command}", term::clean(&said)).ok();
    };
    line(
        "id",
        delivery
            .delivery_id
            .iter()
            .chain([&delivery.id])
            .cloned()
            .collect::<Vec<_>>()
            .join(", here "),
        "",
    );
    if let Some(account) = &delivery.account {
        line("account", account.clone(), "");
    }
    line("received", received(shown, now, look), "");
    line("verified", verified(shown), "");
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
        "--body prints it, --http all",
    );
    if !shown.attempts.is_empty() {
        text.push('\n');
        text.push_str(&attempts(&shown.attempts, now, look));
    }
    text
}

/// `◷ retrying, next in 1 m 48 s, 4 of 12 tries`
fn state(target: &Target, now: SystemTime, look: &Look) -> String {
    let sign = match target.state {
        DeliveryState::Delivered => look.bare_sign(Sign::Good),
        DeliveryState::Dead | DeliveryState::Cancelled => look.bare_sign(Sign::Bad),
        DeliveryState::Parked => look.bare_sign(Sign::Look),
        DeliveryState::Pending | DeliveryState::Retrying => {
            if look.utf8 {
                "◷"
            } else {
                "~"
            }
        }
    };
    let mut said = format!("{sign} {}", target.state.word());
    match next(target, now, look).as_deref() {
        Some("now") => said.push_str(", is tried now"),
        Some("in line") => said.push_str(", waits for those before it"),
        Some(wait) => said.push_str(&format!(", next in {wait}")),
        None => {}
    }
    if let Some(reason) = &target.reason {
        let words = match reason.as_str() {
            "attempts" => "its tries are used up".to_owned(),
            "age" => "it is too old".to_owned(),
            other => format!("{} ended it", term::clean(other)),
        };
        said.push_str(&format!(", {words}"));
    }
    if target.state == DeliveryState::Parked {
        said.push_str(", its route is gone from the config");
    }
    match target.max_attempts {
        Some(most) if target.attempt_count > 0 => {
            said.push_str(&format!(", {} of {most} tries", target.attempt_count))
        }
        None if target.attempt_count > 0 => said.push_str(&format!(
            ", {} attempt{}",
            target.attempt_count,
            if target.attempt_count == 1 { "" } else { "s" }
        )),
        Some(_) | None => {}
    }
    said
}

fn received(shown: &DeliveryDetails, now: SystemTime, look: &Look) -> String {
    let request = &shown.request;
    let at = request
        .received_at
        .as_deref()
        .unwrap_or(&shown.delivery.received_at);
    let mut said = term::moment(at).map_or_else(|| at.to_owned(), |at| precise(at, now, look));
    if let Some(client) = &request.client {
        said.push_str(&format!(" from {client}"));
    }
    said.push_str(&format!(", {} {}", request.method, request.path));
    if let Some(answered) = request.response_status {
        said.push_str(&format!(", answered {answered}"));
    }
    said
}

/// As a list has it, with milliseconds where it is of today.
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
        return "no: its route verified nothing, or observed".to_owned();
    }
    let mut said = request
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
        said.push_str(&match received.duration_since(signed) {
            Ok(before) => format!("; signed {} before", near(before)),
            Err(after) => format!("; signed {} after", near(after.duration())),
        });
    }
    if let Some(covers) = request
        .covers
        .as_deref()
        .filter(|covers| !covers.is_empty())
    {
        said.push_str(&format!("; covers {covers}"));
    }
    said
}

/// Signed times are whole seconds.
fn near(duration: Duration) -> String {
    term::wait(Duration::from_secs(
        (duration + Duration::from_millis(500)).as_secs(),
    ))
}

fn attempts(attempts: &[Attempt], now: SystemTime, look: &Look) -> String {
    let columns = [
        ("#", Align::Right),
        ("STARTED", Align::Left),
        ("CAME TO", Align::Left),
        ("TOOK", Align::Right),
        ("DETAIL", Align::Left),
    ];
    let mut table = Table::new(&columns, 2);
    let time = |attempt: &Attempt| {
        term::moment(&attempt.started_at)
            .map_or_else(|| look.none().to_owned(), |at| look.time(at, now))
    };
    for alike in attempts.chunk_by(is_same_probe) {
        let shown = if alike.len() > UNFOLDED {
            1
        } else {
            alike.len()
        };
        for attempt in alike.iter().take(shown) {
            let style = match attempt.status {
                Some(200..=299) => GREEN,
                Some(_) => RED,
                None => YELLOW,
            };
            let room = look.width.map_or(usize::MAX, |width| {
                width.saturating_sub(BEFORE_DETAIL).max(20)
            });
            let took = if is_cut_off(attempt) {
                look.none().to_owned()
            } else {
                term::took(attempt.took)
            };
            table.row([
                attempt.number.to_string().into(),
                time(attempt).into(),
                Cell::styled(term::clean(&attempt.outcome), style),
                took.into(),
                Cell::styled(cut(&term::clean(&detail(attempt)), room, look), PLAIN),
            ]);
        }
        if let Some(last) = alike.last().filter(|_| alike.len() > shown) {
            let more = term::count(u64::try_from(alike.len() - shown).unwrap_or(u64::MAX));
            let dots = if look.utf8 { "…" } else { "..." };
            let folded = format!(
                "{dots} {more} more probes with the same result until {}",
                time(last)
            );
            table.row([
                "".into(),
                "".into(),
                "".into(),
                "".into(),
                Cell::styled(folded, DIM),
            ]);
        }
    }
    table.render(look)
}

/// Whether two attempts are probes to one target with the same result.
fn is_same_probe(one: &Attempt, next: &Attempt) -> bool {
    let key = |attempt: &Attempt| {
        (
            attempt.target.clone(),
            attempt.outcome.clone(),
            attempt.late,
            location(attempt),
        )
    };
    one.cause == "probe" && next.cause == "probe" && key(one) == key(next)
}

/// Whether the outcome of an attempt is not known.
fn is_cut_off(attempt: &Attempt) -> bool {
    attempt.error.as_deref() == Some(CUT_OFF)
}

/// The place that a redirect names. The gateway follows none.
fn location(attempt: &Attempt) -> Option<String> {
    let is_redirect = matches!(attempt.status, Some(300..=399));
    attempt
        .headers
        .iter()
        .find(|header| is_redirect && header.name.eq_ignore_ascii_case("location"))
        .map(|header| header.value.clone())
}

/// What is worth knowing of a try in a few words.
fn detail(attempt: &Attempt) -> String {
    let mut parts = Vec::new();
    if attempt.late {
        parts
            .push("late: the delivery was cancelled, or another attempt had taken over".to_owned());
    }
    if is_cut_off(attempt) {
        parts.push("the gateway ended before the outcome was known".to_owned());
    }
    if attempt.cause != "schedule" {
        parts.push(attempt.cause.clone());
    }
    let after = attempt
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("retry-after"));
    parts.extend(after.map(|header| format!("Retry-After: {}", header.value)));
    parts.extend(location(attempt).map(|location| format!("Location: {location}")));
    parts.extend(
        attempt
            .error
            .clone()
            .filter(|error| *error != attempt.outcome),
    );
    let text = attempt
        .body_text
        .as_deref()
        .and_then(|text| text.lines().map(str::trim).find(|line| !line.is_empty()));
    parts.extend(
        text.filter(|_| !matches!(attempt.status, Some(200..=299)))
            .map(str::to_owned),
    );
    parts.extend(
        attempt
            .peer
            .as_ref()
            .filter(|_| parts.is_empty())
            .map(|peer| format!("by {peer}")),
    );
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::deliveries::fake;

    #[test]
    fn one_at_100_columns() {
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

    fn probe(number: u32, outcome: &str, at: &str) -> Attempt {
        let status = outcome.parse().ok();
        let error = status.is_none().then(|| outcome.to_owned());
        let (cause, started_at) = ("probe".to_owned(), format!("2026-11-24T{at}Z"));
        Attempt {
            number,
            cause,
            started_at,
            outcome: outcome.to_owned(),
            status,
            error,
            took: 0.001,
            ..Attempt::default()
        }
    }

    fn table(shown: &[Attempt]) -> Vec<String> {
        let text = attempts(shown, fake::now(), &fake::look());
        let plain = anstream::adapter::strip_str(&text).to_string();
        plain
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn equal_probes_in_a_row_are_folded() {
        let many = (1..=1138).map(|number| {
            probe(
                number,
                "unreached_connect",
                if number == 1138 {
                    "12:03:00"
                } else {
                    "11:00:00"
                },
            )
        });
        let shown: Vec<_> = many
            .chain([
                probe(1139, "503", "12:04:00"),
                probe(1140, "503", "12:05:00"),
            ])
            .collect();
        let expected = [
            "1 11:00:00 unreached_connect 1 ms probe",
            "… 1,137 more probes with the same result until 12:03:00",
            "1139 12:04:00 503 1 ms probe",
            "1140 12:05:00 503 1 ms probe",
        ];
        assert_eq!(table(&shown), expected);
        let retries: Vec<_> = (1..9)
            .map(|number| Attempt {
                cause: "schedule".to_owned(),
                ..probe(number, "503", "12:00:00")
            })
            .collect();
        assert_eq!(table(&retries).len(), 8, "what is no probe is shown");
    }

    #[test]
    fn a_redirect_shows_its_location_and_a_cut_off_one_says_so() {
        let header = |value: &str| crate::api::deliveries::Header {
            name: "location".to_owned(),
            value: value.to_owned(),
        };
        let redirect = Attempt {
            cause: "schedule".to_owned(),
            headers: vec![header("/login")],
            ..probe(1, "302", "12:00:00")
        };
        let created = Attempt {
            status: Some(201),
            outcome: "201".to_owned(),
            peer: Some("127.0.0.1:80".to_owned()),
            ..redirect.clone()
        };
        let cut_off = Attempt {
            cause: "schedule".to_owned(),
            ..probe(3, CUT_OFF, "12:00:00")
        };
        let expected = [
            "1 12:00:00 302 1 ms Location: /login",
            "1 12:00:00 201 1 ms by 127.0.0.1:80",
            "3 12:00:00 cut_off – the gateway ended before the outcome was known",
        ];
        assert_eq!(table(&[redirect, created, cut_off]), expected);
    }

    #[test]
    fn each_state_says_what_follows() {
        let (now, look) = (fake::now(), fake::look());
        let of = |change: &dyn Fn(&mut Target)| {
            let mut target = Target {
                max_attempts: Some(12),
                ..Target::default()
            };
            change(&mut target);
            state(&target, now, &look)
        };
        assert_eq!(of(&|_| {}), "◷ pending, waits for those before it");
        assert_eq!(
            of(&|target| target.leased = true),
            "◷ pending, is tried now"
        );
        let dead = of(&|target| {
            *target = Target {
                state: DeliveryState::Dead,
                attempt_count: 12,
                reason: Some("attempts".to_owned()),
                ..target.clone()
            }
        });
        assert_eq!(dead, "✕ dead, its tries are used up, 12 of 12 tries");
        let gone = of(&|target| {
            *target = Target {
                state: DeliveryState::Dead,
                attempt_count: 1,
                reason: Some("410".to_owned()),
                ..target.clone()
            }
        });
        assert_eq!(gone, "✕ dead, 410 ended it, 1 of 12 tries");
        assert!(of(&|target| target.state = DeliveryState::Parked).contains("route is gone"));
    }
}
