//! The table of attempts of `hookgate deliveries show`.
use std::time::SystemTime;

use crate::api::deliveries::Attempt;
use crate::cli::table::{Align, Cell, Table, cut};
use crate::cli::term::{self, DIM, GREEN, Look, PLAIN, RED, YELLOW};
use crate::store::queue::CUT_OFF;

/// Equal probes in a row that are shown one by one; more are folded into one row.
const MAX_EQUAL_PROBES: usize = 3;
/// The width of the table without its last column.
const WIDTH_BEFORE_DETAIL: usize = 40;

/// Renders a row for each attempt.
pub(super) fn render(attempts: &[Attempt], now: SystemTime, look: &Look) -> String {
    let mut columns = vec![
        ("#", Align::Right),
        ("STARTED", Align::Left),
        ("OUTCOME", Align::Left),
        ("TOOK", Align::Right),
        ("DETAIL", Align::Left),
    ];
    let with_target = attempts
        .windows(2)
        .any(|pair| matches!(pair, [one, next] if one.target != next.target));
    if with_target {
        columns.insert(1, ("TARGET", Align::Left));
    }
    let mut table = Table::new(&columns, 2);
    let time = |attempt: &Attempt| {
        term::moment(&attempt.started_at)
            .map_or_else(|| look.none().to_owned(), |at| look.time(at, now))
    };
    for alike in attempts.chunk_by(is_same_probe) {
        let shown = if alike.len() > MAX_EQUAL_PROBES {
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
                width.saturating_sub(WIDTH_BEFORE_DETAIL).max(20)
            });
            let took = if is_cut_off(attempt) {
                look.none().to_owned()
            } else {
                term::took(attempt.took)
            };
            let mut cells = vec![
                attempt.number.to_string().into(),
                time(attempt).into(),
                Cell::styled(term::clean(&attempt.outcome), style),
                took.into(),
                Cell::styled(cut(&term::clean(&detail(attempt)), room, look), PLAIN),
            ];
            if with_target {
                cells.insert(1, term::clean(&attempt.target).into());
            }
            table.row(cells);
        }
        if let Some(last) = alike.last().filter(|_| alike.len() > shown) {
            let more = term::count(u64::try_from(alike.len() - shown).unwrap_or(u64::MAX));
            let dots = if look.utf8 { "…" } else { "..." };
            let folded = format!(
                "{dots} {more} more probes with the same result until {}",
                time(last)
            );
            let mut cells = vec![Cell::from(""); columns.len() - 1];
            cells.push(Cell::styled(folded, DIM));
            table.row(cells);
        }
    }
    table.render(look)
}

/// Returns whether two attempts are probes to one target with the same result.
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

/// Returns whether the outcome of an attempt is unknown.
fn is_cut_off(attempt: &Attempt) -> bool {
    attempt.error.as_deref() == Some(CUT_OFF)
}

/// Returns the address that a redirect names. The gateway follows no redirect.
fn location(attempt: &Attempt) -> Option<String> {
    let is_redirect = matches!(attempt.status, Some(300..=399));
    attempt
        .headers
        .iter()
        .find(|header| is_redirect && header.name.eq_ignore_ascii_case("location"))
        .map(|header| header.value.clone())
}

/// Describes an attempt in a few words.
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
    parts.extend(attempt.message.clone());
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
    use crate::cli::deliveries::tests::fake_gateway as fake;

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

    #[test]
    fn attempt_without_response_shows_its_cause() {
        let expired = "the upstream's certificate expired on 3 November 2026";
        let attempt = Attempt {
            cause: "schedule".to_owned(),
            message: Some(expired.to_owned()),
            ..probe(1, "unreached_tls_expired", "12:00:00")
        };
        let due = format!("1 12:00:00 unreached_tls_expired 1 ms {expired}");
        assert_eq!(table(&[attempt]), [due]);
    }

    fn table(shown: &[Attempt]) -> Vec<String> {
        let text = render(shown, fake::now(), &fake::look());
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
                "unreached_refused",
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
            "1 11:00:00 unreached_refused 1 ms probe",
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
        assert_eq!(table(&retries).len(), 8, "retries are not folded");
    }

    #[test]
    fn redirects_and_cut_off_attempts_are_described() {
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
}
