//! The plan of the receiver: how it reacts to each attempt of an event.
use std::time::Duration;

use http::StatusCode;

use crate::cli::term;
use crate::units;

/// The answer to an attempt that fails by a status.
const FAILURE: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;
/// The largest number of steps of a script.
const MAX_STEPS: usize = 10_000;

/// The reaction to an authentic delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// Answers with this status.
    Answer(StatusCode),
    /// Answers with this status, a byte a second.
    Drip(StatusCode),
    /// Keeps the connection open and does not answer.
    Hang,
    /// Closes the connection without an answer.
    Drop,
}

/// A reaction after a delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) reaction: Reaction,
    pub(super) delay: Duration,
}

/// The reactions to the attempts of one event, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The first attempts fail.
    Failing {
        count: u32,
        failure: Reaction,
        then: Step,
    },
    /// Each attempt takes the next step; the last one is repeated.
    Script { first: Vec<Step>, last: Step },
}

impl Plan {
    /// Returns a plan in which the first `fail` attempts fail: by `way`, or else by a status. Without such attempts `way` replaces the answer.
    pub(super) fn failing(
        fail: u32,
        way: Option<Reaction>,
        status: StatusCode,
        delay: Duration,
    ) -> Self {
        let answer = Reaction::Answer(status);
        let (failure, reaction) = match (fail, way) {
            (0, way) => (Reaction::Answer(FAILURE), way.unwrap_or(answer)),
            (_, way) => (way.unwrap_or(Reaction::Answer(FAILURE)), answer),
        };
        Self::Failing {
            count: fail,
            failure,
            then: Step { reaction, delay },
        }
    }

    /// Parses a script: a step a line, such as `500`, `200 2s`, `drop`, `hang` or `drip`. Empty lines and those that begin with `#` are skipped.
    ///
    /// # Errors
    /// The line that is wrong, and what to write.
    pub(super) fn script(text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parsed = step(line).map_err(|why| format!("line {number}: {why}"))?;
            if steps.len() >= MAX_STEPS {
                return Err(format!(
                    "line {number}: there are more than {MAX_STEPS} steps"
                ));
            }
            steps.push(parsed);
        }
        let last = steps.pop().ok_or(
            "the script has no step: write `500`, `200 2s`, `drop`, `hang` or `drip`, one a line",
        )?;
        Ok(Self::Script { first: steps, last })
    }

    /// Returns the step of an attempt of an event, counted from 1, and how many attempts of it fail if this is one of those.
    pub(super) fn step(&self, attempt: u32) -> (Step, Option<u32>) {
        match self {
            Self::Failing {
                count,
                failure,
                then,
            } => {
                if attempt > *count {
                    return (*then, None);
                }
                let step = Step {
                    reaction: *failure,
                    delay: Duration::ZERO,
                };
                (step, Some(*count))
            }
            Self::Script { first, last } => {
                let index = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
                (first.get(index).copied().unwrap_or(*last), None)
            }
        }
    }

    /// Describes the plan for the line that is printed at the start.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Failing { count: 0, then, .. } => then.describe(),
            Self::Failing {
                count,
                failure,
                then,
            } => {
                let how = match failure {
                    Reaction::Answer(_) => String::new(),
                    Reaction::Drip(_) | Reaction::Hang | Reaction::Drop => {
                        format!(" ({})", failure.describe())
                    }
                };
                let first = if *count == 1 {
                    "the first attempt".to_owned()
                } else {
                    format!("the first {} attempts", term::count((*count).into()))
                };
                format!("fails {first} of each event{how}, then {}", then.describe())
            }
            Self::Script { first, .. } => {
                let count = u64::try_from(first.len()).unwrap_or(u64::MAX);
                let steps = term::counted(count.saturating_add(1), "step");
                format!("follows the {steps} of the script for each event")
            }
        }
    }
}

impl Step {
    /// Returns a step that answers with this status without a delay.
    pub(super) fn answer(status: StatusCode) -> Self {
        Self {
            reaction: Reaction::Answer(status),
            delay: Duration::ZERO,
        }
    }

    fn describe(self) -> String {
        let text = self.reaction.describe();
        if self.delay.is_zero() {
            text
        } else {
            let delay = if self.delay.subsec_nanos() == 0 {
                term::wait(self.delay)
            } else {
                term::took(self.delay.as_secs_f64())
            };
            format!("{text} after {delay}")
        }
    }
}

impl Reaction {
    fn describe(self) -> String {
        match self {
            Self::Answer(status) => format!("answers {}", status.as_u16()),
            Self::Drip(status) => format!("answers {}, a byte a second", status.as_u16()),
            Self::Hang => "does not answer".to_owned(),
            Self::Drop => "closes the connection without an answer".to_owned(),
        }
    }
}

/// Parses one line of a script.
fn step(line: &str) -> Result<Step, String> {
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default();
    let reaction =
        match first {
            "drop" => Reaction::Drop,
            "hang" => Reaction::Hang,
            "drip" => Reaction::Drip(StatusCode::OK),
            other => Reaction::Answer(status(other).map_err(|why| {
                format!("`{other}` is no step: {why}, or `drop`, `hang` or `drip`")
            })?),
        };
    let delay = words.next().map_or(Ok(Duration::ZERO), duration)?;
    match words.next() {
        None => Ok(Step { reaction, delay }),
        Some(_) => Err("there is more than a status and a delay: write `200 2s`".to_owned()),
    }
}

/// Parses the status of an answer.
///
/// # Errors
/// The text to write.
pub(super) fn status(text: &str) -> Result<StatusCode, String> {
    text.parse()
        .ok()
        .filter(|status: &StatusCode| (200..600).contains(&status.as_u16()))
        .ok_or_else(|| "write a status from 200 to 599".to_owned())
}

/// Parses a delay.
///
/// # Errors
/// The text to write.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text).map_err(|why| why.to_string())
}
