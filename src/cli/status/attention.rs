//! The attention lines of `hookgate status`: each thing that needs attention, and the command for it.
use std::time::{Duration, SystemTime};

use super::database;
use super::details::Details;
use crate::api::deliveries::Delivery;
use crate::api::status::{AlarmStatus, ConfigStatus, RouteStatus, Status};
use crate::cli::clock_skew::{MAX_SKEW_SECONDS, drift};
use crate::cli::deliveries::export::deliveries;
use crate::cli::policy::quoted;
use crate::cli::table::cut;
use crate::cli::term::{self, DIM, Look, Sign, moment};

/// A route that enforces within this time is worth a look at what it would refuse.
const ENFORCES_SOON: Duration = Duration::from_secs(3 * 86_400);

/// Alarms for which the status has other fields, from which their lines are made.
const SHOWN_ELSEWHERE: [&str; 6] = [
    "store_failing",
    "store_set_aside",
    "store_down",
    "store_standby_ignored",
    "store_days",
    "clock_jump",
];

/// One thing that needs attention.
pub(super) struct Attention {
    sign: Sign,
    /// The name of the route, upstream or part of the gateway.
    pub(super) subject: String,
    pub(super) text: String,
    /// The command to run; empty if none would help.
    command: String,
}

impl Attention {
    fn new(sign: Sign, subject: &str, text: impl AsRef<str>, command: impl AsRef<str>) -> Self {
        Self {
            sign,
            subject: term::clean(subject),
            text: term::clean(text.as_ref()),
            command: term::clean(command.as_ref()),
        }
    }
}

/// Returns everything that needs attention, in the order in which it is shown.
pub(super) fn attention(status: &Status, details: &Details, now: SystemTime) -> Vec<Attention> {
    let routes = &status.routes;
    let mut all: Vec<Attention> = routes
        .iter()
        .filter_map(|route| refusals(route, details))
        .collect();
    all.extend(routes.iter().filter_map(|route| {
        let first = details.oldest.get(&route.name)?;
        let command = format!("hookgate deliveries list --route {}", quoted(&route.name));
        let text = retries(route, first, now);
        Some(Attention::new(Sign::Warning, &route.name, text, command))
    }));
    all.extend(routes.iter().filter_map(paused));
    all.extend(routes.iter().filter_map(|route| enforces_soon(route, now)));
    all.extend(routes.iter().flat_map(secrets));
    all.extend(breakers(status));
    all.extend(of_config(&status.config));
    all.extend(alarms(status).filter(|alarm| !alarm.ending).map(of_alarm));
    all.extend(of_store(status));
    all.extend(of_clock(status));
    all.extend(readiness(status));
    all
}

/// Returns the lines of alarms whose cause has ended. Nothing is to be done about them.
pub(super) fn ending(status: &Status) -> Vec<Attention> {
    let line = |alarm: &AlarmStatus| Attention {
        sign: Sign::Good,
        command: String::new(),
        ..of_alarm(alarm)
    };
    let ending = alarms(status).filter(|alarm| alarm.ending);
    ending.map(line).collect()
}

/// Returns the alarms that have lines of their own.
fn alarms(status: &Status) -> impl Iterator<Item = &AlarmStatus> {
    let all = status.alarms.iter();
    all.filter(|alarm| !SHOWN_ELSEWHERE.contains(&alarm.code.as_str()))
}

/// Returns the line of a gateway that is not ready.
fn readiness(status: &Status) -> Option<Attention> {
    if status.ready {
        return None;
    }
    let text = match &status.draining_since {
        Some(at) => format!("{at} a drain began: it accepts no deliveries until it is restarted"),
        None => "it is not ready".to_owned(),
    };
    Some(Attention::new(Sign::Warning, "gateway", text, ""))
}

/// Returns the line of a route that refused requests in the last hour. Of the codes, the most frequent one of which a request is kept is explained.
fn refusals(route: &RouteStatus, details: &Details) -> Option<Attention> {
    let refused: u64 = route.hour.refused.values().sum();
    if refused == 0 {
        return None;
    }
    let mut codes: Vec<(&String, &u64)> = route.hour.refused.iter().collect();
    codes.sort_by(|one, other| other.1.cmp(one.1).then_with(|| one.0.cmp(other.0)));
    let all = term::count(refused);
    let kept = details.kept.get(&route.name).into_iter().flatten();
    let of = |code: &str| kept.clone().find(|kept| kept.code == code);
    let explained = codes
        .iter()
        .find_map(|(code, count)| Some((*count, of(code)?)));
    if let Some((count, request)) = explained {
        let why = request.why.as_deref().unwrap_or(&request.code);
        let text = if *count == refused {
            format!("{all} refused in 1 h: {why}")
        } else {
            format!("{} of {all} refused in 1 h: {why}", term::count(*count))
        };
        let command = format!("hookgate explain {}", request.request_id);
        return Some(Attention::new(Sign::Bad, &route.name, text, command));
    }
    let listed = match codes.as_slice() {
        [(code, _)] => (*code).clone(),
        codes => codes
            .iter()
            .map(|(code, count)| format!("{code} {}", term::count(**count)))
            .collect::<Vec<_>>()
            .join(", "),
    };
    let last = route.last_unauthentic.as_ref();
    let why = last.filter(|last| route.hour.refused.contains_key(&last.code));
    let why = why.map(|last| format!("; last: {}", last.why));
    let text = format!(
        "{all} refused in the last hour, {listed}{}",
        why.unwrap_or_default()
    );
    Some(Attention::new(Sign::Bad, &route.name, text, ""))
}

/// Describes the deliveries of a route that wait for a retry: `answers 503; 12 deliveries wait, oldest 6 m`.
pub(super) fn retries(route: &RouteStatus, oldest: &Delivery, now: SystemTime) -> String {
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

/// Returns a line for each secret that needs attention.
fn secrets(route: &RouteStatus) -> impl Iterator<Item = Attention> {
    let all = route.secrets.iter();
    all.filter(|secret| secret.needs_attention).map(|secret| {
        let command = format!("hookgate secrets status --route {}", quoted(&route.name));
        let text = format!("secret {}: {}", secret.name, secret.verdict);
        Attention::new(Sign::Warning, &route.name, text, command)
    })
}

/// Returns the line of a route whose queue pauses.
fn paused(route: &RouteStatus) -> Option<Attention> {
    let next = term::age(Duration::from_secs(route.pause_seconds?));
    let text = format!(
        "its queue pauses because the upstream is down or overloaded; next attempt in {next}"
    );
    Some(Attention::new(Sign::Warning, &route.name, text, ""))
}

/// Returns the line of a route that observes and will enforce soon.
fn enforces_soon(route: &RouteStatus, now: SystemTime) -> Option<Attention> {
    let until = route.until.as_deref().and_then(moment)?;
    let left = until.duration_since(now).unwrap_or_default();
    if route.mode != "observe" || left >= ENFORCES_SOON {
        return None;
    }
    let command = format!("hookgate report --route {}", quoted(&route.name));
    let text = format!("observes for {}, then it enforces", term::age(left));
    Some(Attention::new(Sign::Warning, &route.name, text, command))
}

/// Returns a line for each circuit breaker that is not closed.
fn breakers(status: &Status) -> Vec<Attention> {
    let of_routes = status.routes.iter().filter_map(|route| {
        let breaker = route.breaker.as_ref().filter(|state| *state != "closed")?;
        let text = format!(
            "its handler does not answer in time, the breaker is {}",
            breaker.replace('_', " ")
        );
        Some(Attention::new(Sign::Bad, &route.name, text, ""))
    });
    let of_upstreams = status
        .upstreams
        .iter()
        .filter(|upstream| !matches!(upstream.breaker.as_str(), "" | "closed"))
        .map(|upstream| {
            let breaker = upstream.breaker.replace('_', " ");
            let text = match &upstream.message {
                Some(why) => format!("{}: {why}; the breaker is {breaker}", upstream.url),
                None => format!("{} does not answer, the breaker is {breaker}", upstream.url),
            };
            Attention::new(Sign::Bad, &upstream.name, text, "")
        });
    of_routes.chain(of_upstreams).collect()
}

/// Returns the lines about the config.
fn of_config(config: &ConfigStatus) -> Vec<Attention> {
    let warning = |subject, text: String, command: &str| {
        Attention::new(Sign::Warning, subject, text, command)
    };
    let mut all = Vec::new();
    if let Some(error) = &config.last_error {
        let (first, file) = first_error(&error.message);
        let command = file
            .map(|file| format!("hookgate check {}", quoted(file)))
            .unwrap_or_default();
        all.push(warning(
            "reload",
            format!("{} refused, {first}", error.at),
            &command,
        ));
    }
    for key in &config.needs_restart {
        let text = format!("the change of {key} needs a restart");
        all.push(warning("restart", text, ""));
    }
    for secret in &config.stale_secrets {
        let text =
            format!("the file of {secret} holds no usable secret; the last good one stays in use");
        all.push(warning("secret", text, ""));
    }
    for why in &config.stale_certificates {
        let text = format!("{why}; the last good pair stays in use");
        all.push(warning("certificate", text, ""));
    }
    all
}

/// Returns the line of an alarm, with the command that shows its deliveries.
fn of_alarm(alarm: &AlarmStatus) -> Attention {
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
    let is_of_store = alarm.code.starts_with("store_");
    let otherwise = if is_of_store { "store" } else { "gateway" };
    let subject = alarm.route.as_deref().unwrap_or(otherwise);
    let text = format!("{}: {}", alarm.code, alarm.message);
    Attention::new(Sign::Bad, subject, text, command)
}

/// Returns the lines about the store and the ledger.
fn of_store(status: &Status) -> Vec<Attention> {
    let mut all = Vec::new();
    let postgres = status.store.postgres.as_ref();
    if let Some(alarm) = &status.store.alarm {
        let text = format!(
            "{alarm}{}",
            postgres.map(database::away).unwrap_or_default()
        );
        let command = postgres.map_or("", |_| "hookgate doctor");
        all.push(Attention::new(Sign::Bad, "store", text, command));
    }
    if let Some(spool) = status
        .store
        .spool
        .as_ref()
        .filter(|spool| spool.waiting > 0)
    {
        let text = format!(
            "{} on the disk of this gateway alone, until the database takes them",
            deliveries(spool.waiting)
        );
        all.push(Attention::new(Sign::Warning, "spool", text, ""));
    }
    let of_database = postgres.into_iter().flat_map(database::attention);
    all.extend(
        of_database.map(|(text, command)| Attention::new(Sign::Warning, "store", text, command)),
    );
    if status.store.parked > 0 {
        let text = format!(
            "{} wait for routes that the config no longer has",
            deliveries(status.store.parked)
        );
        let command = "hookgate deliveries list --state parked";
        all.push(Attention::new(Sign::Warning, "parked", text, command));
    }
    if status.ledger.forgotten_early > 0 {
        let text = format!(
            "{} IDs were forgotten before their window ended: the ledger is too small",
            term::count(status.ledger.forgotten_early)
        );
        all.push(Attention::new(Sign::Warning, "ledger", text, ""));
    }
    all
}

/// Returns the lines about the clock.
fn of_clock(status: &Status) -> Vec<Attention> {
    let clock = &status.clock;
    let mut all = Vec::new();
    if clock.jumped {
        let text = "it jumped; nothing expires until it has been steady for 10 m";
        all.push(Attention::new(Sign::Warning, "clock", text, ""));
    }
    if clock.samples > 0 && clock.skew_seconds.abs() > MAX_SKEW_SECONDS {
        let text = format!(
            "{}, so authentic requests may be refused",
            drift(clock.skew_seconds)
        );
        all.push(Attention::new(Sign::Warning, "clock", text, "timedatectl"));
    }
    all
}

/// Returns the first error of a report, and the file it is in: `--> config.yaml:31:33` follows the message, or stands before it.
pub(super) fn first_error(text: &str) -> (String, Option<&str>) {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let words = first.strip_prefix("error: ").unwrap_or(first);
    if let Some(location) = lines.next().and_then(|line| line.strip_prefix("--> ")) {
        let file = location.rsplitn(3, ':').nth(2).unwrap_or(location);
        return (format!("{location}, {words}"), Some(file));
    }
    let mut parts = words.splitn(3, ':');
    let (file, line) = (parts.next(), parts.next());
    let has_place =
        line.is_some_and(|line| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()));
    (words.to_owned(), file.filter(|_| has_place))
}

/// Renders the attention lines: sign, subject, text, and the command at the right.
pub(super) fn render(all: &[Attention], now: SystemTime, look: &Look) -> String {
    let names = all
        .iter()
        .map(|one| one.subject.chars().count())
        .max()
        .unwrap_or_default();
    let mut page = String::new();
    for one in all {
        let style = one.sign.style();
        let sign = look.bare_sign(one.sign);
        // sign, subject and command keep their text; the text between gives way
        let command = if one.command.is_empty() {
            0
        } else {
            one.command.chars().count() + 3
        };
        let room = look.width.map_or(usize::MAX, |width| {
            width
                .saturating_sub(sign.chars().count() + names + command + 6)
                .max(20)
        });
        let text = cut(&with_local_time(&one.text, now, look), room, look);
        page.push_str(&format!(
            "  {style}{sign} {:<names$}{style:#}   {text}",
            one.subject
        ));
        if !one.command.is_empty() {
            page.push_str(&format!("   {DIM}{}{DIM:#}", one.command));
        }
        page.push('\n');
    }
    page
}

/// Replaces the RFC 3339 time at the beginning of a text with the time in the terminal's zone.
fn with_local_time(text: &str, now: SystemTime, look: &Look) -> String {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    moment(first).map_or_else(
        || text.to_owned(),
        |at| format!("{} {rest}", look.time(at, now)),
    )
}
