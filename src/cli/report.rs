//! `hookgate report`: shows what routes in observe mode would have refused, and whether it is safe to enforce.
use std::time::{Duration, SystemTime};

use anstyle::Style;

use crate::api::report::{Report, RouteReport, WouldRefuse};
use crate::cli::ask::GateArgs;
use crate::cli::error::{Error, Exit};
use crate::cli::table::{Align, Cell, Table, cut};
use crate::cli::term::{self, BOLD, DIM, GREEN, Look, PLAIN, RED, Sign, YELLOW};
use crate::clock::{Clock as _, SystemClock};
use crate::config::diagnostic::instead_of;
use crate::units;

/// Rows that are shown even with zero requests.
const ALWAYS_SHOWN: [&str; 2] = [UNSIGNED, "signature_mismatch"];
/// The only refusal of requests without a signature.
const UNSIGNED: &str = "signature_missing";
/// Unsigned requests count as tests or scans up to one in this many of all.
const UNSIGNED_SHARE: u64 = 100;

/// The width of the table without its last column.
const WIDTH_BEFORE_WHY: usize = 51;

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// Shows only this route, whether it observes or not.
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// The time without a refused signed request after which it is safe to enforce.
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = settled)]
    settled: Duration,
    #[command(flatten)]
    gate: GateArgs,
    /// Prints one JSON object for each route.
    #[arg(long)]
    json: bool,
}

fn settled(text: &str) -> Result<Duration, String> {
    units::duration(text).map_err(|why| why.to_string())
}

/// Runs `report`.
pub(super) fn report(args: &ReportArgs) -> Result<Exit, Error> {
    let (_, report): (String, Report) = args.gate.ask("/-/report")?;
    let routes = chosen(&report, args.route.as_deref())?;
    let now = moment(&report.now).unwrap_or_else(|| SystemClock.now().wall);
    if args.json {
        for route in &routes {
            let line = serde_json::to_string(&Shown {
                route,
                safe: verdict(route, now, args.settled).is_ok(),
            });
            term::print_line(
                &line.map_err(|error| Error::no("the report cannot be written").cause(error))?,
            )?;
        }
    } else if routes.is_empty() {
        term::print_line(&format!(
            "{} no route observes: all enforce, or have `verify: none`",
            Look::of_stdout().sign(Sign::Good)
        ))?;
    } else {
        term::print(&render(&routes, now, args.settled, &Look::of_stdout()))?;
    }
    let safe = routes
        .iter()
        .all(|route| verdict(route, now, args.settled).is_ok());
    Ok(if safe { Exit::DONE } else { Exit::NO })
}

/// One line of `--json`: the report of the admin API, and the verdict.
#[derive(serde::Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    route: &'a RouteReport,
    safe: bool,
}

/// Returns the routes to show: those that observe, or the named one.
fn chosen<'a>(report: &'a Report, named: Option<&str>) -> Result<Vec<&'a RouteReport>, Error> {
    let Some(name) = named else {
        return Ok(report
            .routes
            .iter()
            .filter(|route| route.observes || route.until.is_some())
            .collect());
    };
    let found = report.routes.iter().find(|route| route.route == name);
    let names = report.routes.iter().map(|route| route.route.as_str());
    found.map(|route| vec![route]).ok_or_else(|| {
        let error = Error::usage(format!("the gateway has no route `{name}`"));
        match instead_of(name, names) {
            Some(instead) => error.why(instead),
            None => error,
        }
    })
}

/// Describes whether it is safe to enforce: the reason and what to do, or as an error why it is not safe yet.
fn verdict(route: &RouteReport, now: SystemTime, settled: Duration) -> Result<String, String> {
    let name = term::clean(&route.route);
    match (route.mode.as_str(), &route.until) {
        ("none", _) => return Err("It verifies nothing: it has `verify: none`.".to_owned()),
        ("enforce", None) => return Ok("It enforces.".to_owned()),
        ("enforce", Some(_)) => {
            return Ok(format!(
                "It enforces. Remove `mode: observe` and `until` from route {name}."
            ));
        }
        _ => {}
    }
    let since = route.since.as_deref().and_then(moment).unwrap_or(now);
    let signed = || {
        route
            .refused
            .iter()
            .filter(|refused| refused.code != UNSIGNED && refused.count > 0)
    };
    let last = signed()
        .filter_map(|refused| refused.last_at.as_deref().and_then(moment))
        .max();
    let calm = now
        .duration_since(last.unwrap_or(since))
        .unwrap_or_default();
    let count = signed().map(|refused| refused.count).sum::<u64>();
    let unsigned = route
        .refused
        .iter()
        .filter(|refused| refused.code == UNSIGNED)
        .map(|refused| refused.count)
        .sum::<u64>();
    if route.authentic == 0 {
        return Err("Not yet: no authentic request was received.".to_owned());
    }
    if let Some(last) = last
        && calm < settled
    {
        let ago = term::age(now.duration_since(last).unwrap_or_default());
        return Err(format!(
            "Not yet: {} would have been refused, the last one {ago} ago.",
            term::counted(count, "signed request")
        ));
    }
    if calm < settled {
        return Err(format!(
            "Not yet: it has observed for {}, and {} are needed.",
            term::age(calm),
            term::age(settled)
        ));
    }
    if unsigned.saturating_mul(UNSIGNED_SHARE)
        > route
            .authentic
            .saturating_add(count)
            .saturating_add(unsigned)
    {
        let many = term::counted(unsigned, "request");
        return Err(format!(
            "Not yet: {many} without a signature would have been refused. Find out who sends them."
        ));
    }
    Ok(format!(
        "No signed request was refused for {}. To enforce: remove `mode: observe` from route {name}.",
        term::age(calm)
    ))
}

/// Renders the whole page.
fn render(routes: &[&RouteReport], now: SystemTime, settled: Duration, look: &Look) -> String {
    let pages: Vec<String> = routes
        .iter()
        .map(|route| page(route, now, settled, look))
        .collect();
    pages.join("\n")
}

fn page(route: &RouteReport, now: SystemTime, settled: Duration, look: &Look) -> String {
    let mut page = head(route, now, look);
    if route.since.is_some() {
        page.push_str(&table(route, now, look));
    }
    let (sign, words) = match verdict(route, now, settled) {
        Ok(words) => (Sign::Good, words),
        Err(words) => (Sign::Warning, words),
    };
    page.push_str(&format!("{} {words}\n", look.sign(sign)));
    page
}

fn head(route: &RouteReport, now: SystemTime, look: &Look) -> String {
    let name = term::clean(&route.route);
    let until = route
        .until
        .as_deref()
        .and_then(moment)
        .map(|at| day(at, look))
        .unwrap_or_default();
    let state = match route.mode.as_str() {
        "observe" => format!("observes until {until}"),
        "none" => "verifies nothing".to_owned(),
        _ if route.until.is_some() => format!("observed until {until}, enforces"),
        _ => "enforces".to_owned(),
    };
    let since = route.since.as_deref().and_then(moment).map(|since| {
        format!(
            "; since {} ({})",
            look.time(since, now),
            term::long_age(now.duration_since(since).unwrap_or_default())
        )
    });
    format!(
        "{BOLD}{name}{BOLD:#} {state}{}\n",
        since.unwrap_or_default()
    )
}

fn table(route: &RouteReport, now: SystemTime, look: &Look) -> String {
    let columns = [
        ("VERDICT", Align::Left),
        ("REQUESTS", Align::Right),
        ("", Align::Right),
        ("LAST", Align::Right),
        ("WHY", Align::Left),
    ];
    let mut table = Table::new(&columns, 2);
    // the room for the last column
    let room = look.width.map_or(usize::MAX, |width| {
        width.saturating_sub(WIDTH_BEFORE_WHY).max(20)
    });
    let all = route
        .refused
        .iter()
        .map(|refused| refused.count)
        .fold(route.authentic, u64::saturating_add);
    let last = |at: Option<&String>| {
        at.and_then(|at| moment(at))
            .map(|at| when(at, now, look))
            .unwrap_or_default()
    };
    let mut row = |what: &str, style: Style, count: u64, at: Option<&String>, why: &str| {
        table.row([
            Cell::styled(term::clean(what), if count > 0 { style } else { DIM }),
            Cell::styled(term::count(count), if count > 0 { PLAIN } else { DIM }),
            share(count, all).into(),
            last(at).into(),
            cut(&term::clean(why), room, look).into(),
        ]);
    };
    row(
        "authentic",
        GREEN,
        route.authentic,
        route.last_authentic_at.as_ref(),
        "",
    );
    let known = |code: &str| route.refused.iter().find(|refused| refused.code == code);
    for code in ALWAYS_SHOWN {
        let style = if code == UNSIGNED { YELLOW } else { RED };
        row(
            code,
            style,
            known(code).map_or(0, |one| one.count),
            known(code).and_then(|one| one.last_at.as_ref()),
            &known(code).map(why).unwrap_or_default(),
        );
    }
    for refused in route
        .refused
        .iter()
        .filter(|refused| !ALWAYS_SHOWN.contains(&refused.code.as_str()))
    {
        row(
            &refused.code,
            RED,
            refused.count,
            refused.last_at.as_ref(),
            &why(refused),
        );
    }
    table.render(look)
}

/// Describes the senders and the last reason: `all from 10.0.9.4, no User-Agent; last: the body is empty`.
fn why(refused: &WouldRefuse) -> String {
    match &refused.why {
        Some(why) => format!("{}; last: {why}", refused.hint),
        None => refused.hint.clone(),
    }
}

/// Renders a share: `99.8 %`; 0 and 100 only for none and all.
fn share(count: u64, all: u64) -> String {
    if count == 0 {
        return String::new();
    }
    let all = u128::from(all.max(1));
    match (u128::from(count) * 1000 + all / 2) / all {
        0 => "< 0.1 %".to_owned(),
        _ if u128::from(count) == all => "100 %".to_owned(),
        1000 => "99.9 %".to_owned(),
        tenths => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

/// Renders an age within a day, then a date.
fn when(at: SystemTime, now: SystemTime, look: &Look) -> String {
    let age = now.duration_since(at).unwrap_or_default();
    if age < Duration::from_secs(86_400) {
        term::age(age)
    } else {
        day(at, look)
    }
}

/// Renders a date: `1 Dec`.
fn day(at: SystemTime, look: &Look) -> String {
    let at = jiff::Timestamp::try_from(at).map(|at| {
        at.to_zoned_datetime(look.zone.clone())
            .strftime("%-d %b")
            .to_string()
    });
    at.unwrap_or_default()
}

fn moment(text: &str) -> Option<SystemTime> {
    text.parse::<jiff::Timestamp>()
        .ok()
        .and_then(|at| SystemTime::try_from(at).ok())
}

#[cfg(test)]
mod tests;
