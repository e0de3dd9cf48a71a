//! How `hookgate deliveries tail` shows lines.
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use crate::api::tail::TailLine;
use crate::cli::deliveries::list;
use crate::cli::error::Error;
use crate::cli::table::cut;
use crate::cli::term::{self, BOLD, DIM, Look, Sign};

/// Deliveries whose event type is remembered for the lines of their attempts.
const MAX_EVENT_TYPES: usize = 4096;
/// The width of an event type on a terminal, in characters.
const EVENT_TYPE_WIDTH: usize = 22;

/// The output that lines are printed on.
pub(super) struct Page {
    pub(super) look: Look,
    pub(super) json: bool,
    pub(super) limit: LineLimit,
    pub(super) event_types: EventTypes,
}

impl Page {
    /// Prints a line, unless too many were printed in this second.
    pub(super) fn line(
        &mut self,
        line: &TailLine,
        wall: SystemTime,
        mono: Instant,
    ) -> Result<(), Error> {
        if self.json {
            return term::print_line(&list::json(line)?);
        }
        self.event_types.learn(line);
        self.tick(mono)?;
        if self.limit.admits(mono) {
            term::print_line(&self.render(line, wall))
        } else {
            Ok(())
        }
    }

    /// Reports the lines that were left out of the last second.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), Error> {
        match self.limit.take_left_out(now) {
            Some(count) if !self.json => term::print_line(&not_shown(count, &self.look)),
            Some(_) | None => Ok(()),
        }
    }

    /// `13:07:01  ✓ stripe   invoice.paid            queued     200    3 ms  evt_1QNkVwHd7mZ0pVc1`
    fn render(&self, line: &TailLine, now: SystemTime) -> String {
        let look = &self.look;
        let sign = sign(line);
        let at =
            term::moment(&line.at).map_or_else(|| look.none().to_owned(), |at| look.time(at, now));
        let route = term::clean(line.route.as_deref().unwrap_or(look.none()));
        let event_type = line
            .event_type
            .as_deref()
            .or_else(|| self.event_types.of(line))
            .unwrap_or(look.none());
        let status = line
            .status
            .map_or_else(|| look.none().to_owned(), |status| status.to_string());
        let style = sign.style();
        let mut text = format!(
            "{DIM}{at}{DIM:#}  {style}{}{style:#} {BOLD}{:<8}{BOLD:#} {:<22}  {style}{:<9}{style:#}  {status:>3}  {:>6}",
            look.bare_sign(sign),
            route,
            cut(
                &term::clean(event_type),
                look.width.map_or(usize::MAX, |_| EVENT_TYPE_WIDTH),
                look
            ),
            word(&line.outcome),
            term::took(line.took),
        );
        let so_far = anstream::adapter::strip_str(&text)
            .to_string()
            .chars()
            .count()
            + 2;
        let room = look
            .width
            .map_or(usize::MAX, |width| width.saturating_sub(so_far).max(12));
        text.push_str(&format!(
            "  {}",
            cut(&term::clean(&detail(line)), room, look)
        ));
        text
    }
}

fn not_shown(count: u64, look: &Look) -> String {
    let dots = if look.utf8 { "…" } else { "..." };
    let lines = if count == 1 { "line" } else { "lines" };
    format!(
        "{DIM}          {dots} {} {lines} not shown in 1 s (--all shows every one){DIM:#}",
        term::count(count)
    )
}

fn sign(line: &TailLine) -> Sign {
    match line.outcome.as_str() {
        "forwarded" | "delivered" | "queued" | "handshake" | "passed" => Sign::Good,
        "refused" | "dead" => Sign::Bad,
        "upstream_4xx" | "upstream_5xx" => Sign::Bad,
        _ => Sign::Warning,
    }
}

/// Returns the word for an outcome.
fn word(outcome: &str) -> String {
    match outcome {
        "upstream_3xx" | "upstream_4xx" | "upstream_5xx" => "failed".to_owned(),
        other => term::clean(other),
    }
}

/// Returns the code, the ID and the attempt, each only where it says something.
fn detail(line: &TailLine) -> String {
    let mut parts: Vec<String> = line.code.iter().cloned().collect();
    let id = if line.outcome == "refused" {
        line.request_id.as_ref()
    } else {
        None
    };
    parts.extend(
        id.or(line.delivery_id.as_ref())
            .or(line.delivery.as_ref())
            .or(line.request_id.as_ref())
            .cloned(),
    );
    // one blank between what belongs together
    let mut description = parts.join(" ");
    if let Some(number) = line.number {
        description.push_str(&format!(" attempt {number}"));
    }
    if let Some(wait) = line
        .retry_in
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    {
        description.push_str(&format!(", next in {}", term::wait(wait)));
    }
    description
}

/// The event types of accepted deliveries, which the lines of their attempts do not have.
#[derive(Debug, Default)]
pub(super) struct EventTypes {
    known: HashMap<String, String>,
    order: VecDeque<String>,
}

impl EventTypes {
    fn learn(&mut self, line: &TailLine) {
        let Some((id, kind)) = line.delivery_id.as_ref().zip(line.event_type.as_ref()) else {
            return;
        };
        if self.known.insert(id.clone(), kind.clone()).is_none() {
            self.order.push_back(id.clone());
        }
        if self.order.len() > MAX_EVENT_TYPES
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn of(&self, line: &TailLine) -> Option<&str> {
        self.known
            .get(line.delivery_id.as_ref()?)
            .map(String::as_str)
    }
}

/// A limit of lines a second. Counts the lines beyond it.
#[derive(Debug)]
pub(super) struct LineLimit {
    most: Option<u32>,
    began: Option<Instant>,
    shown: u32,
    held: u64,
}

impl LineLimit {
    /// Returns a limit of `most` lines a second; `None` is no limit.
    pub(super) fn new(most: Option<u32>) -> Self {
        Self {
            most,
            began: None,
            shown: 0,
            held: 0,
        }
    }

    fn admits(&mut self, now: Instant) -> bool {
        let Some(most) = self.most else { return true };
        if self
            .began
            .is_none_or(|began| now.saturating_duration_since(began) >= Duration::from_secs(1))
        {
            (self.began, self.shown) = (Some(now), 0);
        }
        let admitted = self.shown < most;
        if admitted {
            self.shown += 1;
        } else {
            self.held += 1;
        }
        admitted
    }

    /// Returns the number of lines that were left out of a second that is over.
    fn take_left_out(&mut self, now: Instant) -> Option<u64> {
        let over = self
            .began
            .is_some_and(|began| now.saturating_duration_since(began) >= Duration::from_secs(1));
        (over && self.held > 0).then(|| std::mem::take(&mut self.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::deliveries::tests::fake_gateway as fake;
    use crate::clock::{Clock as _, SystemClock};

    #[test]
    fn lines_fit_100_columns() {
        let mut page = Page {
            look: fake::look(),
            json: false,
            limit: LineLimit::new(Some(2)),
            event_types: EventTypes::default(),
        };
        let mut text = String::new();
        for line in fake::tail() {
            page.event_types.learn(&line);
            text.push_str(&format!("{}\n", page.render(&line, fake::now())));
        }
        text.push_str(&format!("{}\n", not_shown(212, &page.look)));
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert!(
            plain.lines().all(|line| line.chars().count() <= 100),
            "{plain}"
        );
        insta::assert_snapshot!("tail_plain", plain);
        insta::assert_snapshot!("tail_coloured", text.replace('\x1b', "^"));
    }

    #[test]
    fn lines_beyond_the_limit_are_counted() {
        let now = SystemClock.mono();
        let mut limit = LineLimit::new(Some(2));
        let admitted = (0..5).filter(|_| limit.admits(now)).count();
        assert_eq!((admitted, limit.take_left_out(now)), (2, None));
        let later = now + Duration::from_secs(1);
        assert_eq!(
            (
                limit.take_left_out(later),
                limit.take_left_out(later),
                limit.admits(later)
            ),
            (Some(3), None, true)
        );
        assert!((0..100).all(|_| LineLimit::new(None).admits(now)));
    }

    #[test]
    fn event_types_are_bounded() {
        let mut event_types = EventTypes::default();
        for number in 0..MAX_EVENT_TYPES + 10 {
            let line = TailLine {
                delivery_id: Some(number.to_string()),
                event_type: Some("x".to_owned()),
                ..TailLine::default()
            };
            event_types.learn(&line);
            event_types.learn(&line);
        }
        assert_eq!(
            (event_types.known.len(), event_types.order.len()),
            (MAX_EVENT_TYPES, MAX_EVENT_TYPES)
        );
    }
}
