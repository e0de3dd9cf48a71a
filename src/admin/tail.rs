//! `/-/tail`: streams requests and attempts as JSON lines.
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::Frame;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::AdminSource;
use super::answer::Denied;
use super::state::Watchers;
use super::table::{AdminCall, read_call};
use crate::api::tail::{StreamPosition, TailItem};
use crate::web::call::Answers;

/// How often a stream polls for lines. It is not woken: that would be work for each request.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The maximum number of lines of one poll.
const MAX_LINES: usize = 1024;
/// The maximum time between two lines of a stream.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The duration of a stream. It ends after a whole line, before its connection is cut.
const STREAM_DURATION: Duration = Duration::from_secs(50);

/// Returns the call of the tail.
pub(super) fn calls() -> Vec<AdminCall> {
    vec![
        read_call(
            "/-/tail",
            "Streams requests and attempts as they end, one JSON object (`TailItem`) per line. The stream ends after 50 s; continue it with `after`.",
            Answers::Bytes(&["application/x-ndjson"]),
            tail,
        )
        .with_query::<TailQuery>()
        .refuses(&[400, 429]),
    ]
}

/// The query of `GET /-/tail`.
#[derive(Deserialize, JsonSchema)]
struct TailQuery {
    /// The route whose lines are streamed. Default: all routes.
    route: Option<String>,
    /// A `cursor` of the stream, after which the stream begins. Default: now.
    after: Option<String>,
}

async fn tail(
    State(source): State<Arc<dyn AdminSource>>,
    State(watchers): State<Watchers>,
    query: Result<Query<TailQuery>, QueryRejection>,
) -> Result<Response, Denied> {
    let wrong = || {
        Denied::new(
            StatusCode::BAD_REQUEST,
            "`after` is not a cursor of the stream",
            "write a `cursor` of the stream, or leave `after` out",
        )
    };
    let Ok(Query(query)) = query else {
        return Err(wrong());
    };
    let after = query
        .after
        .as_deref()
        .map(|after| Cursor::parse(after).ok_or_else(wrong))
        .transpose()?;
    let Some(permit) = watchers.enter() else {
        return Err(Denied::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many streams are open",
            "end another `hookgate deliveries tail`; at most 16 can run at once",
        ));
    };
    let (to, from) = mpsc::channel(1);
    let stream = Stream {
        source,
        route: query.route,
        to,
        _permit: permit,
    };
    tokio::spawn(stream.run(after));
    Ok((
        [(CONTENT_TYPE, "application/x-ndjson")],
        Body::new(Chunks(from)),
    )
        .into_response())
}

/// A position in the stream of one run of the gateway: `RUN-NUMBER`.
#[derive(Clone, Copy)]
struct Cursor {
    run: u64,
    number: u64,
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let (run, number) = text.split_once('-')?;
        Some(Self {
            run: run.parse().ok()?,
            number: number.parse().ok()?,
        })
    }

    /// Returns the stream's own line about this position.
    fn position(self, missed: u64, restarted: bool) -> TailItem {
        TailItem::Position(StreamPosition {
            cursor: format!("{}-{}", self.run, self.number),
            missed,
            restarted,
        })
    }
}

struct Stream {
    source: Arc<dyn AdminSource>,
    route: Option<String>,
    to: mpsc::Sender<Bytes>,
    _permit: OwnedSemaphorePermit,
}

impl Stream {
    /// Streams until the watcher leaves, or the connection is about to be cut.
    async fn run(self, after: Option<Cursor>) {
        let end = sleep(STREAM_DURATION);
        tokio::pin!(end);
        tokio::select! {
            () = &mut end => {}
            () = self.send_lines(after) => {}
        }
    }

    async fn send_lines(&self, after: Option<Cursor>) {
        let run = self.source.run();
        // after a restart, the stream begins with everything that there is
        let number = match after {
            Some(after) if after.run == run => after.number,
            Some(_) => 0,
            None => self.source.tail(None, 0).last,
        };
        let mut at = Cursor { run, number };
        let mut text = Vec::new();
        let restarted = after.is_some_and(|after| after.run != run);
        append(&mut text, &at.position(0, restarted));
        let mut silent = Duration::ZERO;
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            silent += POLL_INTERVAL;
            let is_due = silent >= HEARTBEAT;
            at.number = self.append_lines(&mut text, at, is_due);
            if text.is_empty() {
                continue;
            }
            if is_due {
                silent = Duration::ZERO;
            }
            let chunk = Bytes::from(std::mem::take(&mut text));
            if self.to.send(chunk).await.is_err() {
                return;
            }
        }
    }

    /// Appends the lines after `at`, and the new position if lines are missing or a heartbeat is due. Returns the new position's number.
    fn append_lines(&self, text: &mut Vec<u8>, at: Cursor, heartbeat: bool) -> u64 {
        let tailed = self.source.tail(Some(at.number), MAX_LINES);
        let is_wanted = |route: &Option<Arc<str>>| {
            self.route.is_none() || route.as_deref() == self.route.as_deref()
        };
        for entry in tailed
            .entries
            .iter()
            .filter(|entry| is_wanted(&entry.route))
        {
            append(text, &TailItem::Line(Box::new((&**entry).into())));
        }
        if tailed.missed > 0 || heartbeat {
            let at = Cursor {
                number: tailed.last,
                ..at
            };
            append(text, &at.position(tailed.missed, false));
        }
        tailed.last
    }
}

/// Appends an item as a line.
fn append(text: &mut Vec<u8>, item: &TailItem) {
    // strings and numbers can always be written
    if serde_json::to_writer(&mut *text, item).is_ok() {
        text.push(b'\n');
    }
}

/// A body that is received in chunks.
struct Chunks(mpsc::Receiver<Bytes>);

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0
            .poll_recv(cx)
            .map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
