//! The plan of a publish: the endpoints that would get the event, and those that would not.
use serde::Deserialize;

use crate::cli::table::{Align, Cell, Table};
use crate::cli::term::{self, BOLD, DIM, Look, PLAIN, Sign};

/// The answer to a dry run, as the API gives it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Planned {
    pub(super) targets: Vec<Target>,
    pub(super) left_out: Vec<LeftOut>,
    /// The faults of the event that the config lets pass.
    pub(super) warnings: Vec<Warning>,
}

/// An endpoint that would get the event.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Target {
    pub(super) endpoint: String,
    pub(super) version: u64,
    pub(super) bytes: u64,
    pub(super) state: String,
    /// The pattern that matches, and the mapping if there is one.
    pub(super) why: String,
}

/// A fault of an event that is sent nevertheless.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Warning {
    pub(super) error: String,
    pub(super) at: Option<String>,
}

impl Warning {
    /// Prints the warning to stderr.
    pub(super) fn say(&self) {
        let at = self.at.as_deref();
        let at = at.map_or_else(String::new, |at| format!(" ({at})"));
        term::warn(&format!("{}{at}", self.error));
    }
}

/// An endpoint that would not get the event.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LeftOut {
    pub(super) endpoint: String,
    pub(super) why: String,
}

impl Planned {
    /// Renders a row for each endpoint.
    pub(super) fn render(&self, look: &Look) -> String {
        if self.targets.is_empty() && self.left_out.is_empty() {
            return String::new();
        }
        let columns = [
            ("", Align::Left),
            ("ENDPOINT", Align::Left),
            ("VERSION", Align::Right),
            ("BYTES", Align::Right),
            ("WHY", Align::Left),
        ];
        let mut table = Table::new(&columns, 0);
        for target in &self.targets {
            let why = term::clean(&target.why);
            let (sign, style, note) = if target.state == "active" {
                ("", PLAIN, why)
            } else {
                let waits = format!("{}: it waits", term::clean(&target.state));
                let parts: Vec<String> = [why, waits]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect();
                let sign = look.bare_sign(Sign::Warning);
                (sign, Sign::Warning.style(), parts.join("; "))
            };
            table.row([
                Cell::styled(sign, style),
                Cell::styled(term::clean(&target.endpoint), BOLD),
                target.version.to_string().into(),
                term::count(target.bytes).into(),
                Cell::styled(note, style),
            ]);
        }
        for one in &self.left_out {
            let why = match one.why.as_str() {
                "type" => "left out: it does not get this type".to_owned(),
                other => format!("left out: {}", term::clean(other)),
            };
            table.row([
                Cell::styled(look.none(), DIM),
                Cell::styled(term::clean(&one.endpoint), DIM),
                Cell::styled(look.none(), DIM),
                Cell::styled(look.none(), DIM),
                Cell::styled(why, DIM),
            ]);
        }
        table.render(look)
    }

    /// Renders the last line: `3 of 4 endpoints would get it; nothing was published`.
    pub(super) fn foot(&self) -> String {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let all = self.targets.len() + self.left_out.len();
        if all == 0 {
            return "the tenant has no endpoint; nothing was published".to_owned();
        }
        format!(
            "{} of {} would get it; nothing was published",
            term::count(count(self.targets.len())),
            term::counted(count(all), "endpoint")
        )
    }
}
