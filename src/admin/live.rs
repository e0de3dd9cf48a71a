//! What goes on now: `/-/tail` streams requests and tries as JSON lines, `/-/drain` has the gate take nothing more.
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body::Frame;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Source;
use super::answer::Denied;
use super::deliveries::attempt_now;
use super::endpoint::{Answers, Endpoint, schema};
use super::token::Actor;
use crate::telemetry::TailLine;

/// Watchers at once: the listener is for others, too.
const WATCHERS: usize = 16;
/// How often a watcher's lines are looked for. Nobody wakes a watcher: that would be work for a request.
const EVERY: Duration = Duration::from_millis(100);
/// Lines of one look.
const MOST: usize = 1024;
/// A line comes at least so often.
const BEAT: Duration = Duration::from_secs(5);
/// A stream ends at the end of a line, before its connection is cut.
const LASTS: Duration = Duration::from_secs(50);

static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(WATCHERS)));

/// One line of `/-/tail`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TailItem {
    /// A request or a try.
    Line(Box<TailLine>),
    /// Something about the stream.
    Position(StreamPosition),
}

/// What a stream says of itself: at its beginning, every 5 s, and where lines are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamPosition {
    /// What to give as `after` to go on from here.
    pub cursor: String,
    /// Lines of any route that were lost before this place.
    pub missed: u64,
    /// Whether the gate began restarted since `after`: how many lines were lost then is not known.
    pub restarted: bool,
}

/// How far a gate is that takes nothing more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drain {
    /// Whether it takes deliveries.
    pub accepting: bool,
    /// Deliveries that wait to be handed on, or are being handed on.
    pub waiting: u64,
    /// Requests and tries under way.
    pub in_flight: u64,
    /// Dead deliveries. They stay until they are replayed or purged.
    pub dead: u64,
    /// Cancelled deliveries. They stay until they are replayed or purged.
    pub cancelled: u64,
}

/// What `POST /-/drain` is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Always false: a gate that takes nothing more is about to be stopped.
    pub accept: bool,
    /// Also attempts at once what waits for a later time. What fails then waits again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub now: bool,
}

/// What is asked of what goes on.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/-/tail",
            "Streams requests and tries as they end, one JSON object a line: `TailItem`. Ends after 50 s; go on with `after`.",
            Answers::Bytes(&["application/x-ndjson"]),
            get(tail),
        )
        .asked::<Asked>()
        .refuses(&[400, 429]),
        Endpoint::get("/-/drain", "What is left to deliver.", Answers::Json(200, schema::<Drain>), get(drained)).refuses(&[503]),
        Endpoint::post::<DrainRequest>(
            "/-/drain",
            "Takes no more deliveries, until the gate is started restarted; what is due goes out, with `now` also what waits for a later time.",
            Answers::Json(200, schema::<Drain>),
            post(drain),
        )
        .refuses(&[400, 409, 413, 503]),
    ]
}

async fn drained(State(source): State<Arc<dyn Source>>) -> Result<Json<Drain>, Denied> {
    source.drain().await.map(Json).map_err(|error| Denied {
        status: StatusCode::SERVICE_UNAVAILABLE,
        error,
        help: "the store does not say what waits; ask once more",
    })
}

async fn drain(
    actor: Actor,
    State(source): State<Arc<dyn Source>>,
    asked: Result<Json<DrainRequest>, JsonRejection>,
) -> Result<Json<Drain>, Denied> {
    match asked {
        Ok(Json(DrainRequest { accept: false, now })) => {
            source.stop_accepting();
            if now {
                attempt_now(&source, actor).await?;
            }
            drained(State(source)).await
        }
        Ok(_) | Err(_) => {
            let help = "send `{\"accept\": false}`; a gate that was told so takes deliveries again after a restart";
            Err(Denied::new(
                StatusCode::BAD_REQUEST,
                "this is no order to drain",
                help,
            ))
        }
    }
}

/// What `GET /-/tail` is asked.
#[derive(Deserialize, JsonSchema)]
struct Asked {
    /// Those of this route.
    route: Option<String>,
    /// A `cursor` of the stream: those after it. Otherwise those from now on.
    after: Option<String>,
}

async fn tail(
    State(source): State<Arc<dyn Source>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Denied> {
    let wrong = || {
        Denied::new(
            StatusCode::BAD_REQUEST,
            "`after` is no place in the stream",
            "give a `cursor` of it, or leave it out",
        )
    };
    let Ok(Query(asked)) = asked else {
        return Err(wrong());
    };
    let after = asked
        .after
        .as_deref()
        .map(|after| parse(after).ok_or_else(wrong))
        .transpose()?;
    let Ok(place) = Arc::clone(&PLACES).try_acquire_owned() else {
        let help = "end another `hookgate deliveries tail`; there is room for 16";
        return Err(Denied::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many watch already",
            help,
        ));
    };
    let (to, from) = mpsc::channel(1);
    tokio::spawn(
        Stream {
            source,
            route: asked.route,
            to,
            _place: place,
        }
        .run(after),
    );
    Ok((
        [(CONTENT_TYPE, "application/x-ndjson")],
        Body::new(Pieces(from)),
    )
        .into_response())
}

/// `RUN-NUMBER`
fn parse(cursor: &str) -> Option<(u64, u64)> {
    let (run, seq) = cursor.split_once('-')?;
    Some((run.parse().ok()?, seq.parse().ok()?))
}

struct Stream {
    source: Arc<dyn Source>,
    route: Option<String>,
    to: mpsc::Sender<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    /// Until the watcher goes, or the connection is about to be cut.
    async fn run(self, after: Option<(u64, u64)>) {
        let run = self.source.run();
        let restarted = after.is_some_and(|(of, _)| of != run);
        // a gate that began restarted tells of all that it has
        let mut at = match after {
            Some((of, seq)) if of == run => seq,
            Some(_) => 0,
            None => self.source.tail(None, 0).last,
        };
        let said = StreamPosition {
            cursor: format!("{run}-{at}"),
            missed: 0,
            restarted,
        };
        let (mut text, mut silent) = (Vec::new(), Duration::ZERO);
        line(&mut text, &TailItem::Position(said));
        let end = sleep(LASTS);
        tokio::pin!(end);
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut end => return,
                _ = ticks.tick() => {}
            }
            let tailed = self.source.tail(Some(at), MOST);
            at = tailed.last;
            for one in tailed.lines {
                if self
                    .route
                    .as_ref()
                    .is_none_or(|route| one.route.as_ref() == Some(route))
                {
                    line(&mut text, &TailItem::Line(Box::new(one)));
                }
            }
            silent += EVERY;
            if tailed.missed > 0 || silent >= BEAT {
                line(
                    &mut text,
                    &TailItem::Position(StreamPosition {
                        cursor: format!("{run}-{at}"),
                        missed: tailed.missed,
                        restarted: false,
                    }),
                );
            }
            if !text.is_empty() {
                silent = if silent >= BEAT {
                    Duration::ZERO
                } else {
                    silent
                };
                let piece = Bytes::from(std::mem::take(&mut text));
                tokio::select! {
                    () = &mut end => return,
                    sent = self.to.send(piece) => if sent.is_err() { return },
                }
            }
        }
    }
}

fn line(text: &mut Vec<u8>, said: &TailItem) {
    // of strings and numbers alone, so it can be written
    if serde_json::to_writer(&mut *text, said).is_ok() {
        text.push(b'\n');
    }
}

/// A body that comes piece by piece.
struct Pieces(mpsc::Receiver<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0
            .poll_recv(cx)
            .map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
