//! `hookgate deliveries tail`: follows requests and tries, and says when it does not.
use std::collections::{HashMap, VecDeque};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::timeout;

use crate::api::tail::{StreamPosition, TailItem, TailLine};
use crate::cli::ask::{Door, GateArgs};
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::table::cut;
use crate::cli::term::{self, BOLD, DIM, Look, Sign};
use crate::clock::{Clock as _, SystemClock};

/// The gate ends a stream before this.
const STREAM: Duration = Duration::from_secs(65);
/// A gate that says nothing for so long, beats left out, is not there.
const SILENT: Duration = Duration::from_secs(12);
/// The pause before asking again a gate that was not there.
const AGAIN: Duration = Duration::from_secs(1);
/// Lines in a second on a terminal: more than that nobody reads.
const READ: u32 = 40;
/// Deliveries whose kind of event is remembered for their tries.
const KINDS: usize = 4096;
/// Characters of a kind of event on a terminal.
const KIND: usize = 22;
/// The longest line that is taken, in bytes.
const LONGEST: usize = 64 << 10;

/// Arguments of `deliveries tail`.
#[derive(Debug, clap::Args)]
pub(super) struct TailArgs {
    /// Those of this route.
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Shows every line, however many come.
    #[arg(long)]
    all: bool,
    /// Prints one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Times in UTC, on a terminal, too.
    #[arg(long)]
    utc: bool,
}

/// Runs `deliveries tail`.
pub(super) fn tail(gate: &GateArgs, args: &TailArgs) -> Result<Exit, Error> {
    let door = gate.door()?;
    let look = Look::of_stdout_in(args.utc);
    let most = (std::io::stdout().is_terminal() && !args.all && !args.json).then_some(READ);
    let mut page = Page {
        look,
        json: args.json,
        cap: Cap::new(most),
        kinds: Kinds::default(),
    };
    context::block_on(async {
        tokio::select! {
            ended = follow(&door, args.route.as_deref(), &mut page) => ended.map(|never| match never {}),
            signal = context::interrupted() => signal.map(|()| Exit::INTERRUPTED),
        }
    })?
}

/// Never comes back but with an error: the first connection fails, or nobody reads.
async fn follow(
    door: &Door,
    route: Option<&str>,
    page: &mut Page,
) -> Result<std::convert::Infallible, Error> {
    let mut state = Following::default();
    loop {
        match stream(door, route, &mut state, page).await {
            Ok(()) => {}
            // what went wrong at the first try will not be better at the second; nor a gate that says no, nor a closed pipe
            Err(error) if state.cursor.is_none() || error.exit != Exit::UNREACHED => {
                return Err(error);
            }
            Err(_) => {
                if let Some(said) = state.lost(SystemClock.mono()) {
                    term::say(&said);
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Where it is, and since when the gate is away.
#[derive(Debug, Default)]
struct Following {
    /// What to give as `after`.
    cursor: Option<String>,
    away_since: Option<Instant>,
}

impl Following {
    /// The gate is away; what to say of it, once.
    fn lost(&mut self, now: Instant) -> Option<String> {
        let first = self.away_since.is_none();
        self.away_since.get_or_insert(now);
        first.then(|| {
            "not connected: the gate does not answer; trying again every second".to_owned()
        })
    }

    /// The stream said where it is; what to tell of that.
    fn mark(&mut self, mark: &StreamPosition, now: Instant) -> Option<String> {
        self.cursor = Some(mark.cursor.clone());
        let away = self
            .away_since
            .take()
            .map(|since| now.saturating_duration_since(since));
        let missed = match mark.missed {
            0 => None,
            1 => Some("1 line missed".to_owned()),
            many => Some(format!("{} lines missed", term::count(many))),
        };
        let restarted = mark
            .restarted
            .then(|| "the gate was restarted, lines before that are missed".to_owned());
        let back = away.map(|away| {
            format!(
                "reconnected after {}",
                term::wait(away.max(Duration::from_secs(1)))
            )
        });
        let parts: Vec<String> = back.into_iter().chain(restarted).chain(missed).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// A line was shown.
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

/// One stream to its end.
async fn stream(
    door: &Door,
    route: Option<&str>,
    state: &mut Following,
    page: &mut Page,
) -> Result<(), Error> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(route.map(|route| ("route", route)));
    query.extend_pairs(state.cursor.as_deref().map(|cursor| ("after", cursor)));
    let mut body = door
        .open(&format!("/-/tail?{}", query.finish()), STREAM)
        .await?;
    let mut rest = Vec::new();
    loop {
        let gone = || Error::new(Exit::UNREACHED, "the gate does not answer");
        let piece = match timeout(SILENT, body.next()).await {
            Ok(Ok(Some(piece))) => piece,
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(_)) | Err(_) => return Err(gone()),
        };
        for byte in piece {
            if byte != b'\n' {
                rest.push(byte);
            } else {
                take(&rest, state, page)?;
                rest.clear();
            }
        }
        if rest.len() > LONGEST {
            return Err(Error::no(
                "what answers is no gate, or one of another version",
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
        Ok(TailItem::Position(mark)) => {
            if let Some(said) = state.mark(&mark, now.mono) {
                term::say(&said);
            }
            page.tick(now.mono)
        }
        Err(error) => {
            Err(Error::no("what answers is no gate, or one of another version").cause(error))
        }
    }
}

/// Where lines go.
struct Page {
    look: Look,
    json: bool,
    cap: Cap,
    kinds: Kinds,
}

impl Page {
    fn line(&mut self, line: &TailLine, wall: SystemTime, mono: Instant) -> Result<(), Error> {
        if self.json {
            return term::print_line(&super::list::json(line)?);
        }
        self.kinds.learn(line);
        self.tick(mono)?;
        if self.cap.admits(mono) {
            term::print_line(&self.render(line, wall))
        } else {
            Ok(())
        }
    }

    /// Time went on: what was not shown is told of.
    fn tick(&mut self, now: Instant) -> Result<(), Error> {
        match self.cap.told(now) {
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
        let kind = line
            .event_type
            .as_deref()
            .or_else(|| self.kinds.of(line))
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
                &term::clean(kind),
                look.width.map_or(usize::MAX, |_| KIND),
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
        _ => Sign::Look,
    }
}

/// As people say it.
fn word(outcome: &str) -> String {
    match outcome {
        "upstream_3xx" | "upstream_4xx" | "upstream_5xx" => "failed".to_owned(),
        other => term::clean(other),
    }
}

/// IDs, the code, the try; each only where it says something.
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
    let mut said = parts.join(" ");
    if let Some(number) = line.number {
        said.push_str(&format!(" attempt {number}"));
    }
    if let Some(wait) = line
        .retry_in
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    {
        said.push_str(&format!(", next in {}", term::wait(wait)));
    }
    said
}

/// The kinds of event of deliveries that came in, so that their tries have them, too.
#[derive(Debug, Default)]
struct Kinds {
    known: HashMap<String, String>,
    order: VecDeque<String>,
}

impl Kinds {
    fn learn(&mut self, line: &TailLine) {
        let Some((id, kind)) = line.delivery_id.as_ref().zip(line.event_type.as_ref()) else {
            return;
        };
        if self.known.insert(id.clone(), kind.clone()).is_none() {
            self.order.push_back(id.clone());
        }
        if self.order.len() > KINDS
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

/// So many lines a second; the rest is counted.
#[derive(Debug)]
struct Cap {
    most: Option<u32>,
    began: Option<Instant>,
    shown: u32,
    held: u64,
}

impl Cap {
    fn new(most: Option<u32>) -> Self {
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

    /// What was not shown in a second that is over.
    fn told(&mut self, now: Instant) -> Option<u64> {
        let over = self
            .began
            .is_some_and(|began| now.saturating_duration_since(began) >= Duration::from_secs(1));
        (over && self.held > 0).then(|| std::mem::take(&mut self.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::deliveries::fake;

    #[test]
    fn lines_at_100_columns() {
        let mut page = Page {
            look: fake::look(),
            json: false,
            cap: Cap::new(Some(2)),
            kinds: Kinds::default(),
        };
        let mut text = String::new();
        for line in fake::tail() {
            page.kinds.learn(&line);
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
    fn so_many_lines_a_second_and_the_rest_is_counted() {
        let now = SystemClock.mono();
        let mut cap = Cap::new(Some(2));
        let admitted = (0..5).filter(|_| cap.admits(now)).count();
        assert_eq!((admitted, cap.told(now)), (2, None));
        let later = now + Duration::from_secs(1);
        assert_eq!(
            (cap.told(later), cap.told(later), cap.admits(later)),
            (Some(3), None, true)
        );
        assert!((0..100).all(|_| Cap::new(None).admits(now)));
    }

    #[test]
    fn it_says_when_it_is_not_connected_and_what_it_missed() {
        let now = SystemClock.mono();
        let mut state = Following::default();
        let mark = |missed, restarted| StreamPosition {
            cursor: "7-3".to_owned(),
            missed,
            restarted,
        };
        assert_eq!(
            state.mark(&mark(0, false), now),
            None,
            "the first one, and each new stream of a gate that is there"
        );
        state.line(9);
        assert_eq!(state.cursor.as_deref(), Some("7-9"));
        assert!(state.lost(now).unwrap().starts_with("not connected"));
        assert_eq!(state.lost(now), None, "once");
        let later = now + Duration::from_secs(4);
        assert_eq!(
            state.mark(&mark(3, false), later).as_deref(),
            Some("reconnected after 4 s, 3 lines missed")
        );
        assert_eq!(
            state.mark(&mark(1, false), later).as_deref(),
            Some("1 line missed")
        );
        assert!(
            state
                .mark(&mark(0, true), later)
                .unwrap()
                .contains("was restarted")
        );
    }

    #[test]
    fn kinds_are_bounded() {
        let mut kinds = Kinds::default();
        for number in 0..KINDS + 10 {
            let line = TailLine {
                delivery_id: Some(number.to_string()),
                event_type: Some("x".to_owned()),
                ..TailLine::default()
            };
            kinds.learn(&line);
            kinds.learn(&line);
        }
        assert_eq!((kinds.known.len(), kinds.order.len()), (KINDS, KINDS));
    }
}
