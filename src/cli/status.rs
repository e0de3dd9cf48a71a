//! `hookgate status`: what a running gate refuses and why, and what needs somebody.
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::api::deliveries::{Deliveries, Delivery};
use crate::api::status::{
    AlarmStatus, ConfigStatus, RouteStatus, SecretStatus, Status, StoreStatus,
};
use crate::cli::ask::{Door, GateArgs};
use crate::cli::context;
use crate::cli::deliveries::export::deliveries;
use crate::cli::error::{Error, Exit};
use crate::cli::policy::quoted;
use crate::cli::table::{Align, Cell, Table, cut};
use crate::cli::term::{self, BOLD, DIM, GREEN, Look, PLAIN, RED, Sign, YELLOW, moment};
use crate::clock::{Clock as _, SystemClock};

/// A clock that is off by more needs somebody: providers allow five minutes, some five seconds.
pub(super) const MAX_SKEW_SECONDS: f64 = 30.0;
/// A secret that matched nothing for so long can go.
const SILENT: Duration = Duration::from_secs(7 * 86_400);

/// A route that enforces so soon is worth a look at what it would refuse.
const SOON: Duration = Duration::from_secs(3 * 86_400);

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    gate: GateArgs,
    /// Prints the gate's own JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `status`.
pub(super) fn status(args: &StatusArgs) -> Result<Exit, Error> {
    let (text, status): (String, Status) = args.gate.ask("/-/status")?;
    let now = SystemClock.now().wall;
    let oldest = context::block_on(oldest(&args.gate.door()?, &status))?;
    if args.json {
        term::print_line(&text)?;
    } else {
        term::print(&render(&status, &oldest, now, &Look::of_stdout()))?;
    }
    Ok(if attention(&status, &oldest, now).is_empty() {
        Exit::DONE
    } else {
        Exit::NO
    })
}

/// Of each route with deliveries that wait, the oldest that was tried and waits for another try. A gate that does not say is no reason to be silent.
async fn oldest(door: &Door, status: &Status) -> BTreeMap<String, Delivery> {
    let mut found = BTreeMap::new();
    for route in status
        .routes
        .iter()
        .filter(|route| route.waiting.is_some_and(|queued| queued > 0))
    {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs([
            ("route", route.name.as_str()),
            ("state", "retrying"),
            ("order", "oldest"),
            ("limit", "1"),
        ]);
        let page: Result<Deliveries, Error> =
            door.get(&format!("/-/deliveries?{}", query.finish())).await;
        if let Some(first) = page
            .ok()
            .and_then(|page| page.deliveries.into_iter().next())
        {
            found.insert(route.name.clone(), first);
        }
    }
    found
}

/// `answers 503; 12 deliveries wait, oldest 6 m`
fn retries(route: &RouteStatus, oldest: &Delivery, now: SystemTime) -> String {
    let last = oldest
        .targets
        .first()
        .and_then(|target| target.last.as_ref());
    let app = match last.map(|last| last.outcome.as_str()) {
        Some(status) if status.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("answers {status}")
        }
        Some(word) if word.starts_with("unreached") => "not reached".to_owned(),
        Some(_) | None => "no answer".to_owned(),
    };
    let age =
        moment(&oldest.received_at).map(|at| term::age(now.duration_since(at).unwrap_or_default()));
    let age = age.map(|age| format!(", oldest {age}")).unwrap_or_default();
    let waiting = route.waiting.unwrap_or_default();
    format!(
        "{app}; {} wait{}{age}",
        deliveries(waiting),
        if waiting == 1 { "s" } else { "" }
    )
}

/// Alarms that have a line of their own.
const TOLD_ELSEWHERE: [&str; 3] = ["store_failing", "store_set_aside", "clock_jump"];

/// One thing that needs somebody.
struct Need {
    sign: Sign,
    what: String,
    said: String,
    /// What to type; empty: nothing would help.
    command: String,
}

fn attention(status: &Status, oldest: &BTreeMap<String, Delivery>, now: SystemTime) -> Vec<Need> {
    let mut needs = Vec::new();
    let mut need = |sign, what: &str, said: String, command: &str| {
        needs.push(Need {
            sign,
            what: term::clean(what),
            said: term::clean(&said),
            command: term::clean(command),
        });
    };
    for route in &status.routes {
        let refused: u64 = route.hour.refused.values().sum();
        if refused > 0 {
            let mut codes: Vec<(&String, &u64)> = route.hour.refused.iter().collect();
            codes.sort_by(|one, other| other.1.cmp(one.1).then_with(|| one.0.cmp(other.0)));
            let codes = match codes.as_slice() {
                [(code, _)] => (*code).clone(),
                codes => codes
                    .iter()
                    .map(|(code, count)| format!("{code} {}", term::count(**count)))
                    .collect::<Vec<_>>()
                    .join(", "),
            };
            need(
                Sign::Bad,
                &route.name,
                format!("{} refused in the last hour, {codes}", term::count(refused)),
                "",
            );
        }
    }
    for route in &status.routes {
        if let Some(first) = oldest.get(&route.name) {
            let command = format!("hookgate deliveries list --route {}", quoted(&route.name));
            need(
                Sign::Look,
                &route.name,
                retries(route, first, now),
                &command,
            );
        }
    }
    for (route, seconds) in status
        .routes
        .iter()
        .filter_map(|route| Some((route, route.pause_seconds?)))
    {
        let next = term::age(Duration::from_secs(seconds));
        let said = format!(
            "its queue pauses, the app is away or has too much to do; next attempt in {next}"
        );
        need(Sign::Look, &route.name, said, "");
    }
    for route in status.routes.iter().filter(|route| route.mode == "observe") {
        let left = route
            .until
            .as_deref()
            .and_then(moment)
            .map(|until| until.duration_since(now).unwrap_or_default());
        if let Some(left) = left.filter(|left| *left < SOON) {
            let command = format!("hookgate report --route {}", quoted(&route.name));
            need(
                Sign::Look,
                &route.name,
                format!("observes for {}, then it enforces", term::age(left)),
                &command,
            );
        }
    }
    let of_route =
        |route: &'_ RouteStatus| route.breaker.clone().filter(|breaker| breaker != "closed");
    for (route, breaker) in status
        .routes
        .iter()
        .filter_map(|route| Some((route, of_route(route)?)))
    {
        need(
            Sign::Bad,
            &route.name,
            format!(
                "its handler does not answer in time, the breaker is {}",
                breaker.replace('_', " ")
            ),
            "",
        );
    }
    for upstream in status
        .upstreams
        .iter()
        .filter(|upstream| !matches!(upstream.breaker.as_str(), "" | "closed"))
    {
        let said = format!(
            "{} does not answer, the breaker is {}",
            upstream.url,
            upstream.breaker.replace('_', " ")
        );
        need(Sign::Bad, &upstream.name, said, "");
    }
    of_config(&status.config, &mut need);
    for alarm in status
        .alarms
        .iter()
        .filter(|alarm| !TOLD_ELSEWHERE.contains(&alarm.code.as_str()))
    {
        let (said, command) = alarmed(alarm);
        need(
            Sign::Bad,
            alarm.route.as_deref().unwrap_or("gate"),
            said,
            &command,
        );
    }
    if let Some(alarm) = &status.store.alarm {
        need(Sign::Bad, "store", alarm.clone(), "");
    }
    if status.store.parked > 0 {
        let said = format!(
            "{} wait for routes that are gone from the config",
            deliveries(status.store.parked)
        );
        need(
            Sign::Look,
            "parked",
            said,
            "hookgate deliveries list --state parked",
        );
    }
    if status.ledger.forgotten_early > 0 {
        let said = format!(
            "{} IDs forgotten before their time: it is too small",
            term::count(status.ledger.forgotten_early)
        );
        need(Sign::Look, "ledger", said, "");
    }
    if status.clock.jumped {
        need(
            Sign::Look,
            "clock",
            "it jumped; nothing expires until it has held for 10 m".to_owned(),
            "",
        );
    }
    if status.clock.samples > 0 && status.clock.skew_seconds.abs() > MAX_SKEW_SECONDS {
        let said = format!(
            "{}, so honest requests may be refused",
            drift(status.clock.skew_seconds)
        );
        need(Sign::Look, "clock", said, "timedatectl");
    }
    if !status.ready {
        need(Sign::Look, "gate", "it is not ready".to_owned(), "");
    }
    needs
}

/// What the config needs.
fn of_config(config: &ConfigStatus, need: &mut impl FnMut(Sign, &str, String, &str)) {
    if let Some(error) = &config.last_error {
        let (first, file) = first_error(&error.message);
        let command = file
            .map(|file| format!("hookgate check {}", quoted(file)))
            .unwrap_or_default();
        need(
            Sign::Look,
            "reload",
            format!("{} refused, {first}", error.at),
            &command,
        );
    }
    for key in &config.needs_restart {
        need(
            Sign::Look,
            "restart",
            format!("the change of {key} waits for one"),
            "",
        );
    }
    for secret in &config.stale_secrets {
        need(
            Sign::Look,
            "secret",
            format!("the file of {secret} holds no usable secret; its last good text counts"),
            "",
        );
    }
    for why in &config.stale_certificates {
        need(
            Sign::Look,
            "certificate",
            format!("{why}; the last good pair counts"),
            "",
        );
    }
}

/// An alarm in words, and what to type about it.
fn alarmed(alarm: &AlarmStatus) -> (String, String) {
    let route = alarm
        .route
        .as_ref()
        .filter(|_| alarm.code == "dead_letters");
    let command = route
        .map(|route| {
            format!(
                "hookgate deliveries list --route {} --state dead",
                quoted(route)
            )
        })
        .unwrap_or_default();
    (format!("{}: {}", alarm.code, alarm.message), command)
}

/// The first error of a report, and the file it is in: `--> config.yaml:31:33` follows the words, or stands before them.
fn first_error(text: &str) -> (String, Option<&str>) {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let words = first.strip_prefix("error: ").unwrap_or(first);
    if let Some(place) = lines.next().and_then(|line| line.strip_prefix("--> ")) {
        let file = place.rsplitn(3, ':').nth(2).unwrap_or(place);
        return (format!("{place}, {words}"), Some(file));
    }
    let mut parts = words.splitn(3, ':');
    let (file, line) = (parts.next(), parts.next());
    let has_place =
        line.is_some_and(|line| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()));
    (words.to_owned(), file.filter(|_| has_place))
}

/// The whole page.
fn render(
    status: &Status,
    oldest: &BTreeMap<String, Delivery>,
    now: SystemTime,
    look: &Look,
) -> String {
    let needs = attention(status, oldest, now);
    let mut page = head(status, needs.len(), look);
    if !needs.is_empty() {
        page.push('\n');
        page.push_str(&told(&needs, now, look));
    }
    if !status.routes.is_empty() {
        page.push('\n');
        page.push_str(&routes(status, now, look));
    }
    page.push('\n');
    page.push_str(&foot(status));
    page
}

fn head(status: &Status, needs: usize, look: &Look) -> String {
    let config = &status.config;
    let state = match needs {
        0 => format!(
            "{GREEN}{} nothing needs you{GREEN:#}",
            look.bare_sign(Sign::Good)
        ),
        1 => format!("{YELLOW}! 1 thing needs you{YELLOW:#}"),
        _ => format!("{YELLOW}! {needs} things need you{YELLOW:#}"),
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

/// The attention lines: sign, what, why, and what to type at the right.
fn told(needs: &[Need], now: SystemTime, look: &Look) -> String {
    let names = needs
        .iter()
        .map(|need| need.what.chars().count())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for need in needs {
        let style = need.sign.style();
        let said = with_local_time(&need.said, now, look);
        let sign = look.bare_sign(need.sign);
        // Sign, name and command keep their text; the words between give way.
        let command = if need.command.is_empty() {
            0
        } else {
            need.command.chars().count() + 3
        };
        let room = look.width.map_or(usize::MAX, |width| {
            width
                .saturating_sub(sign.chars().count() + names + command + 6)
                .max(20)
        });
        let said = cut(&said, room, look);
        text.push_str(&format!(
            "  {style}{sign} {:<names$}{style:#}   {said}",
            need.what
        ));
        if !need.command.is_empty() {
            text.push_str(&format!("   {DIM}{}{DIM:#}", need.command));
        }
        text.push('\n');
    }
    text
}

/// A text that begins with an RFC 3339 time, with that time as people read it.
fn with_local_time(said: &str, now: SystemTime, look: &Look) -> String {
    let (first, rest) = said.split_once(' ').unwrap_or((said, ""));
    moment(first).map_or_else(
        || said.to_owned(),
        |at| format!("{} {rest}", look.time(at, now)),
    )
}

fn routes(status: &Status, now: SystemTime, look: &Look) -> String {
    let mut columns = vec![
        ("ROUTE", Align::Left),
        ("ACTION", Align::Left),
        ("1 H: IN", Align::Right),
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

/// What it does, and whether with what is not authentic, too.
fn action(route: &RouteStatus) -> Cell {
    match route.mode.as_str() {
        "observe" => Cell::styled("observes", YELLOW),
        "none" if route.action != "pass" => Cell::styled("unverified", YELLOW),
        _ => term::clean(&route.action).into(),
    }
}

/// Which secrets match; one that is silent while another matches can go.
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
        .filter(|secret| age(secret).is_some_and(|age| age < SILENT))
        .collect();
    let silent = route
        .secrets
        .iter()
        .find(|secret| age(secret).is_some_and(|age| age >= SILENT));
    let soon = route.secrets.iter().find(|secret| {
        secret
            .expires
            .as_deref()
            .and_then(moment)
            .is_some_and(|at| at < now + SILENT)
    });
    match (route.secrets.as_slice(), matching.as_slice(), silent) {
        ([], ..) => Cell::styled(look.none(), DIM),
        (_, [_, ..], Some(silent)) => Cell::styled(
            format!(
                "{} silent for {}",
                term::clean(&silent.name),
                term::age(age(silent).unwrap_or_default())
            ),
            GREEN,
        ),
        _ if soon.is_some() => Cell::styled(
            format!(
                "{} expires soon or has",
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

fn foot(status: &Status) -> String {
    let mut text = String::new();
    let mut line =
        |what: &str, said: String| text.push_str(&format!("  {what:<8} {}\n", term::clean(&said)));
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
    let ledger = &status.ledger;
    let unsaved = if ledger.unsaved > 0 {
        format!("; {} not yet on disk", term::count(ledger.unsaved))
    } else {
        String::new()
    };
    line(
        "ledger",
        format!(
            "{} of {}, {}{unsaved}",
            term::counted(ledger.entries, "ID"),
            term::count(ledger.capacity),
            term::size(ledger.bytes)
        ),
    );
    line("store", store(&status.store));
    text
}

/// `412 MiB of 8 GiB in /var/lib/hookgate; last fsync 2 ms`
fn store(store: &StoreStatus) -> String {
    let Some(path) = &store.path else {
        return "in memory: a restart forgets which IDs were handed on".to_owned();
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

/// `0.2 s behind the senders`
pub(super) fn drift(skew: f64) -> String {
    if skew.abs() < 0.05 {
        return "as the senders'".to_owned();
    }
    format!(
        "{:.1} s {} the senders",
        skew.abs(),
        if skew > 0.0 { "ahead of" } else { "behind" }
    )
}

#[cfg(test)]
mod tests;
