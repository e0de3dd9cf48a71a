//! `hookgate deliveries tail`: follows requests and attempts, and reports when it is not connected.
mod page;

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::api::tail::{StreamPosition, TailItem};
use crate::cli::admin_client::AdminClient;
use crate::cli::ask::GateArgs;
use crate::cli::context;
use crate::cli::deliveries::tail::page::{EventTypes, LineLimit, Page};
use crate::cli::error::{Error, Exit};
use crate::cli::term::{self, Look};
use crate::clock::{Clock as _, SystemClock};

/// The longest time of a stream. The gateway ends it before.
const STREAM_TIMEOUT: Duration = Duration::from_secs(65);
/// The time without a line or a heartbeat after which the gateway counts as unreachable.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(12);
/// The pause between two attempts to reconnect.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// The lines shown in a second on a terminal: as many as a person can read.
const MAX_LINES_PER_SECOND: u32 = 40;
/// The longest line that is accepted, in bytes.
const MAX_LINE_BYTES: usize = 64 << 10;

/// Arguments of `deliveries tail`.
#[derive(Debug, clap::Args)]
pub(super) struct TailArgs {
    /// Shows only lines of this route.
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Shows every line, also if there are too many to read.
    #[arg(long)]
    all: bool,
    /// Prints one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Prints times in UTC also on a terminal.
    #[arg(long)]
    utc: bool,
}

/// Runs `deliveries tail`.
pub(super) fn tail(gate: &GateArgs, args: &TailArgs) -> Result<Exit, Error> {
    let client = gate.client()?;
    let look = Look::of_stdout_in(args.utc);
    let most = (std::io::stdout().is_terminal() && !args.all && !args.json)
        .then_some(MAX_LINES_PER_SECOND);
    let mut page = Page {
        look,
        json: args.json,
        limit: LineLimit::new(most),
        event_types: EventTypes::default(),
    };
    context::block_on(async {
        tokio::select! {
            ended = follow(&client, args.route.as_deref(), &mut page) => ended.map(|never| match never {}),
            signal = context::interrupted() => signal.map(|()| Exit::INTERRUPTED),
        }
    })?
}

/// Follows the stream for ever.
///
/// # Errors
/// The first connection fails, the gateway refuses, or the output is closed.
async fn follow(
    client: &AdminClient,
    route: Option<&str>,
    page: &mut Page,
) -> Result<std::convert::Infallible, Error> {
    let mut state = Following::default();
    loop {
        match stream(client, route, &mut state, page).await {
            Ok(()) => {}
            // the first connection, a refusal and a closed pipe are not retried
            Err(error) if state.cursor.is_none() || error.exit != Exit::UNREACHED => {
                return Err(error);
            }
            Err(_) => {
                if let Some(message) = state.lost(SystemClock.mono()) {
                    term::say(&message);
                }
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
        }
    }
}

/// The position in the stream, and the time since which the gateway is unreachable.
#[derive(Debug, Default)]
struct Following {
    /// The value of `after` for the next stream.
    cursor: Option<String>,
    away_since: Option<Instant>,
}

impl Following {
    /// Records that the gateway is unreachable. Returns the message for it, once.
    fn lost(&mut self, now: Instant) -> Option<String> {
        let first = self.away_since.is_none();
        self.away_since.get_or_insert(now);
        first.then(|| {
            "not connected: the gateway does not answer; reconnecting every second".to_owned()
        })
    }

    /// Records the position of the stream. Returns the message for it, if there is one.
    fn note_position(&mut self, position: &StreamPosition, now: Instant) -> Option<String> {
        self.cursor = Some(position.cursor.clone());
        let away = self
            .away_since
            .take()
            .map(|since| now.saturating_duration_since(since));
        let missed = match position.missed {
            0 => None,
            1 => Some("1 line missed".to_owned()),
            many => Some(format!("{} lines missed", term::count(many))),
        };
        let restarted = position
            .restarted
            .then(|| "the gateway was restarted, lines before that are missed".to_owned());
        let back = away.map(|away| {
            format!(
                "reconnected after {}",
                term::wait(away.max(Duration::from_secs(1)))
            )
        });
        let parts: Vec<String> = back.into_iter().chain(restarted).chain(missed).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// Records that a line was shown.
    fn line(&mut self, seq: u64) {
        if let Some((run, _)) = self
            .cursor
            .as_deref()
            .and_then(|cursor| cursor.split_once('-'))
        {
            self.cursor = Some(format!("{run}-{seq}"));
        }
    }
}

/// Reads one stream to its end.
async fn stream(
    client: &AdminClient,
    route: Option<&str>,
    state: &mut Following,
    page: &mut Page,
) -> Result<(), Error> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(route.map(|route| ("route", route)));
    query.extend_pairs(state.cursor.as_deref().map(|cursor| ("after", cursor)));
    let mut body = client
        .open(&format!("/-/tail?{}", query.finish()), STREAM_TIMEOUT)
        .await?;
    let mut rest = Vec::new();
    loop {
        let gone = || Error::new(Exit::UNREACHED, "the gateway does not answer");
        let chunk = match timeout(SILENCE_TIMEOUT, body.next()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(_)) | Err(_) => return Err(gone()),
        };
        for byte in chunk {
            if byte != b'\n' {
                rest.push(byte);
            } else {
                take(&rest, state, page)?;
                rest.clear();
            }
        }
        if rest.len() > MAX_LINE_BYTES {
            return Err(Error::no(
                "the response is not that of a gateway of this version",
            ));
        }
    }
}

fn take(line: &[u8], state: &mut Following, page: &mut Page) -> Result<(), Error> {
    let now = SystemClock.now();
    match serde_json::from_slice(line) {
        Ok(TailItem::Line(line)) => {
            state.line(line.seq);
            page.line(&line, now.wall, now.mono)
        }
        Ok(TailItem::Position(position)) => {
            if let Some(message) = state.note_position(&position, now.mono) {
                term::say(&message);
            }
            page.tick(now.mono)
        }
        Err(error) => {
            Err(Error::no("the response is not that of a gateway of this version").cause(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_connections_and_missed_lines_are_reported() {
        let now = SystemClock.mono();
        let mut state = Following::default();
        let position = |missed, restarted| StreamPosition {
            cursor: "7-3".to_owned(),
            missed,
            restarted,
        };
        assert_eq!(
            state.note_position(&position(0, false), now),
            None,
            "the first one, and each new stream of a gate that is there"
        );
        state.line(9);
        assert_eq!(state.cursor.as_deref(), Some("7-9"));
        assert!(state.lost(now).unwrap().starts_with("not connected"));
        assert_eq!(state.lost(now), None, "once");
        let later = now + Duration::from_secs(4);
        assert_eq!(
            state.note_position(&position(3, false), later).as_deref(),
            Some("reconnected after 4 s, 3 lines missed")
        );
        assert_eq!(
            state.note_position(&position(1, false), later).as_deref(),
            Some("1 line missed")
        );
        assert!(
            state
                .note_position(&position(0, true), later)
                .unwrap()
                .contains("was restarted")
        );
    }
}
