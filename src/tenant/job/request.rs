//! The requests that start a job: what is sent when a pause ends, and what is recovered.
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::event::Pattern;
use crate::tenant::event_id::{self, parse_event_id};
use crate::tenant::fields::{
    Invalid, choice, list, or_default, pointer, small, text, unknown_field,
};
use crate::tenant::settings::patterns;
use crate::tenant::texts::{optional_time, parse_time};

/// The most events that one job recovers.
pub const MAX_RECOVERED: u64 = 100_000;
/// The most events that are named one by one.
const MAX_IDS: usize = 1_000;
/// The most attempts a second that a recovery starts.
const MAX_RATE: u32 = 1_000;
/// The attempts a second that a recovery starts, unless it says otherwise.
const DEFAULT_RATE: u32 = 20;
/// The most failures in a row after which a recovery stops.
const MAX_STOP_AFTER: u32 = 10_000;
/// The failures in a row after which a recovery stops, unless it says otherwise.
const DEFAULT_STOP_AFTER: u32 = 20;

/// The events that are sent when an endpoint is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Waiting {
    /// All that wait.
    All,
    /// The events that were accepted at a time or later. The older ones are cancelled.
    Since,
    /// None: all that wait are cancelled.
    None,
}

/// The end of a pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// The events that are sent.
    pub waiting: Waiting,
    /// The time for [`Waiting::Since`], and for nothing else.
    #[serde(
        default,
        with = "optional_time",
        skip_serializing_if = "Option::is_none"
    )]
    pub since: Option<SystemTime>,
}

impl Resume {
    /// The names of the fields.
    pub const FIELDS: [&'static str; 2] = ["waiting", "since"];

    /// Reads a request. Without `waiting` all events are sent.
    ///
    /// # Errors
    /// The first field that cannot be used.
    pub fn read(fields: &Map<String, Value>) -> Result<Self, Invalid> {
        let mut resume = Self {
            waiting: Waiting::All,
            since: None,
        };
        for (name, value) in fields {
            let at = &pointer("", name);
            match &**name {
                "waiting" => {
                    let choices = [
                        ("all", Waiting::All),
                        ("since", Waiting::Since),
                        ("none", Waiting::None),
                    ];
                    let read = |value, at: &str| choice(value, at, &choices);
                    resume.waiting = or_default(value, at, Waiting::All, read)?;
                }
                "since" => resume.since = or_default(value, at, None, moment)?,
                _ => return Err(unknown_field("", name, &Self::FIELDS)),
            }
        }
        match (resume.waiting, resume.since) {
            (Waiting::Since, None) => Err(Invalid::new(
                "/since",
                "the time is missing",
                "write the time from which on events are sent, such as `2026-11-21T09:00:00Z`",
            )),
            (Waiting::All | Waiting::None, Some(_)) => Err(Invalid::new(
                "/since",
                "this time has no effect",
                "write `\"waiting\": \"since\"` as well, or leave it out",
            )),
            (Waiting::Since, Some(_)) | (Waiting::All | Waiting::None, None) => Ok(resume),
        }
    }
}

/// The events that are recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecoverWhat {
    /// The events whose attempts were exhausted or cancelled.
    Failed,
    /// The events that the endpoint would have got, had it been there.
    Missing,
    /// Both.
    Both,
    /// The events that are named.
    Ids,
}

/// Events that are sent again, or for the first time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recover {
    /// The kind of events.
    pub what: RecoverWhat,
    /// The events of [`RecoverWhat::Ids`].
    #[serde(
        default,
        with = "event_id::list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ids: Vec<Uuid>,
    /// The time at which the first of them was accepted; `None` for [`RecoverWhat::Ids`] alone.
    #[serde(
        default,
        with = "optional_time",
        skip_serializing_if = "Option::is_none"
    )]
    pub since: Option<SystemTime>,
    /// The time before which the last of them was accepted.
    #[serde(
        default,
        with = "optional_time",
        skip_serializing_if = "Option::is_none"
    )]
    pub until: Option<SystemTime>,
    /// The types; none: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<Pattern>,
    /// The most attempts a second that it starts.
    pub rate: u32,
    /// The failures in a row after which it stops.
    pub stop_after: u32,
}

impl Recover {
    /// The names of the fields.
    pub const FIELDS: [&'static str; 7] = [
        "what",
        "ids",
        "since",
        "until",
        "types",
        "rate",
        "stop_after",
    ];

    /// Reads a request.
    ///
    /// # Errors
    /// The first field that cannot be used, or that is missing.
    pub fn read(fields: &Map<String, Value>) -> Result<Self, Invalid> {
        let mut what = None;
        let mut recover = Self {
            what: RecoverWhat::Failed,
            ids: Vec::new(),
            since: None,
            until: None,
            types: Vec::new(),
            rate: DEFAULT_RATE,
            stop_after: DEFAULT_STOP_AFTER,
        };
        for (name, value) in fields {
            let at = &pointer("", name);
            match &**name {
                "what" => {
                    let choices = [
                        ("failed", RecoverWhat::Failed),
                        ("missing", RecoverWhat::Missing),
                        ("both", RecoverWhat::Both),
                        ("ids", RecoverWhat::Ids),
                    ];
                    what = Some(choice(value, at, &choices)?);
                }
                "ids" => recover.ids = or_default(value, at, Vec::new(), ids)?,
                "since" => recover.since = or_default(value, at, None, moment)?,
                "until" => recover.until = or_default(value, at, None, moment)?,
                "types" => recover.types = or_default(value, at, Vec::new(), patterns)?,
                "rate" => {
                    let read = |value, at: &str| small(value, at, MAX_RATE);
                    recover.rate = or_default(value, at, DEFAULT_RATE, read)?;
                }
                "stop_after" => {
                    let read = |value, at: &str| small(value, at, MAX_STOP_AFTER);
                    recover.stop_after = or_default(value, at, DEFAULT_STOP_AFTER, read)?;
                }
                _ => return Err(unknown_field("", name, &Self::FIELDS)),
            }
        }
        recover.what = what.ok_or_else(|| {
            let help = "write `failed`, `missing`, `both` or `ids`";
            Invalid::new("/what", "the kind of events is missing", help)
        })?;
        recover.checked()
    }

    /// Checks that the fields go together.
    fn checked(self) -> Result<Self, Invalid> {
        let is_by_id = self.what == RecoverWhat::Ids;
        let has_range = self.since.is_some() || self.until.is_some() || !self.types.is_empty();
        let fault =
            |at: &str, error: &'static str, help: &'static str| Err(Invalid::new(at, error, help));
        if is_by_id && self.ids.is_empty() {
            return fault(
                "/ids",
                "the events are missing",
                "write their IDs: `[\"msg_…\"]`",
            );
        }
        if is_by_id && has_range {
            let help = "leave out `since`, `until` and `types`";
            return fault("/what", "events that are named need no selection", help);
        }
        if !is_by_id && !self.ids.is_empty() {
            let help = "write `\"what\": \"ids\"`, or leave them out";
            return fault("/ids", "these IDs have no effect", help);
        }
        let Some(since) = self.since else {
            if is_by_id {
                return Ok(self);
            }
            let help = "write the time of the first event, such as `2026-11-16T09:00:00Z`";
            return fault("/since", "the time is missing", help);
        };
        if self.until.is_some_and(|until| until <= since) {
            return fault(
                "/until",
                "the time is not after `since`",
                "write a later one",
            );
        }
        Ok(self)
    }
}

/// Reads a time.
fn moment(value: &Value, at: &str) -> Result<Option<SystemTime>, Invalid> {
    let time = parse_time(text(value, at)?);
    time.map(Some).ok_or_else(|| {
        let help = "write it as RFC 3339, such as `2026-11-16T09:00:00Z`";
        Invalid::new(at, "this is no time", help)
    })
}

/// Reads IDs of events. A repeated one counts once.
fn ids(value: &Value, at: &str) -> Result<Vec<Uuid>, Invalid> {
    let mut ids = Vec::new();
    for (index, value) in list(value, at, MAX_IDS)?.iter().enumerate() {
        let at = &pointer(at, &index.to_string());
        let id = parse_event_id(text(value, at)?).ok_or_else(|| {
            let help = "write `msg_` and 32 hexadecimal digits";
            Invalid::new(at, "this is no ID of an event", help)
        })?;
        ids.push(id);
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}
