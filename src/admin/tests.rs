//! Both routers over sockets, with a source that answers what it was made with.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;

use super::*;
use crate::api::actions::Drain;
use crate::api::explain::Explanation;
use crate::api::quarantine::{Quarantined, Reverified, ReverifyPlan};
use crate::api::refusals::RecentRefusal;
use crate::api::secrets::Secrets;
use crate::api::tail::{StreamPosition, TailItem};
use crate::clock::{Clock as _, Now, SystemClock};
use crate::dedupe::key::{Identity, Scope};
use crate::replay::{ActiveRoutes, DeliveryName, LedgerKeys, Policy};
use crate::request::{Params, RequestId};
use crate::store::{Key, Store};
use crate::telemetry::{Ended, TailEntry, TailEvent, Tailed};

const TOKEN: &str = "right";
pub(super) const JSON: &str = "Content-Type: application/json";
pub(super) const BEARER: &str = "Authorization: Bearer right";

#[derive(Default)]
pub(super) struct Fixed {
    pub(super) deliveries: Option<Arc<FixedDeliveries>>,
    pub(super) ready: bool,
    pub(super) reloads: AtomicU64,
    pub(super) mistake: Option<&'static str>,
    pub(super) closed: AtomicBool,
    /// The keys that were forgotten in the memory of the gateway.
    pub(super) forgotten: Mutex<Vec<Key>>,
}

impl AdminSource for Fixed {
    fn forget_here(&self, keys: &[Key]) {
        self.forgotten.lock().extend(keys);
    }

    fn is_ready(&self) -> bool {
        self.ready
    }

    fn metrics(&self) -> String {
        "hookgate_connections 0\n".to_owned()
    }

    fn status(&self) -> Status {
        Status {
            generation: 7,
            ..Status::default()
        }
    }

    fn secrets(&self) -> Secrets {
        Secrets::default()
    }

    fn quarantined(
        &self,
        _: Option<String>,
        _: u16,
    ) -> Awaited<'_, Result<Quarantined, QuarantineError>> {
        Box::pin(async { Err(QuarantineError::NoRoute) })
    }

    fn explained(&self, _: RequestId) -> Awaited<'_, Result<Option<Explanation>, QuarantineError>> {
        Box::pin(async { Ok(None) })
    }

    fn plan_reverify(&self, _: String) -> Awaited<'_, Result<ReverifyPlan, QuarantineError>> {
        Box::pin(async { Ok(ReverifyPlan::default()) })
    }

    fn reverify(
        &self,
        _: String,
        _: Option<RequestId>,
    ) -> Awaited<'_, Result<Reverified, QuarantineError>> {
        Box::pin(async {
            Ok(Reverified {
                released: 2,
                ..Reverified::default()
            })
        })
    }

    fn refusals(&self, limit: usize) -> Awaited<'_, Vec<RecentRefusal>> {
        let refusal = RecentRefusal {
            at: "2026-01-01T00:00:00.000Z".to_owned(),
            code: "no_route".to_owned(),
            status: 404,
            why: None,
            route: None,
            request_id: "0".repeat(26),
            client: [127, 0, 0, 1].into(),
            method: "POST".to_owned(),
            path: "/a".to_owned(),
            kept_until: None,
        };
        let refusals = vec![refusal; limit.min(300)];
        Box::pin(async { refusals })
    }

    fn report(&self) -> Report {
        Report::default()
    }

    fn reload(&self) -> Reloading<'_> {
        Box::pin(async {
            match self.mistake {
                None => Ok(self.reloads.fetch_add(1, Ordering::Relaxed) + 2),
                Some(mistake) => Err(ReloadError(mistake.to_owned())),
            }
        })
    }

    fn tail(&self, after: Option<u64>, _: usize) -> Tailed {
        let entry = |seq, route: &str| {
            Arc::new(TailEntry {
                seq,
                at: SystemTime::UNIX_EPOCH,
                took: Duration::ZERO,
                route: Some(route.into()),
                delivery_id: None,
                event: TailEvent::Request {
                    ended: Ended::Abandoned,
                    event_type: None,
                    request_id: RequestId::from_u128(1),
                },
            })
        };
        match after {
            None => Tailed {
                last: 4,
                ..Tailed::default()
            },
            Some(4) => Tailed {
                entries: vec![entry(6, "stripe"), entry(7, "github")],
                missed: 1,
                last: 7,
            },
            Some(last) => Tailed {
                last,
                ..Tailed::default()
            },
        }
    }

    fn run(&self) -> u64 {
        1000
    }

    fn stop_accepting(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn drain(&self) -> Draining<'_> {
        Box::pin(async {
            Ok(Drain {
                accepting: !self.closed.load(Ordering::Relaxed),
                waiting: 12,
                in_flight: 1,
                dead: 3,
                cancelled: 2,
                outbound: None,
            })
        })
    }

    fn store(&self) -> Option<Arc<dyn Store>> {
        self.deliveries
            .as_ref()
            .map(|deliveries| Arc::clone(&deliveries.store))
    }
}

impl ActiveRoutes for Fixed {
    fn now(&self) -> Now {
        SystemClock.now()
    }

    fn policy(&self, route: &str) -> Option<Policy> {
        self.deliveries
            .as_ref()?
            .routes
            .lock()
            .contains(&route)
            .then_some(Policy {
                max_attempts: Some(12),
            })
    }

    fn ledger_keys(&self, route: &str, named: DeliveryName<'_>) -> LedgerKeys {
        match (route, &self.deliveries) {
            ("stripe", Some(deliveries)) if named.params.0.is_empty() => {
                LedgerKeys::Known(vec![deliveries.key(named.id)])
            }
            ("stripe", _) => LedgerKeys::Needs {
                params: Vec::new(),
                account: false,
            },
            ("github", _) => LedgerKeys::NeedsBody,
            _ => LedgerKeys::NoRoute,
        }
    }
}

/// A store, and the routes of the config.
#[derive(Debug)]
pub(super) struct FixedDeliveries {
    pub(super) store: Arc<dyn Store>,
    pub(super) routes: Mutex<Vec<&'static str>>,
}

impl FixedDeliveries {
    pub(super) fn key(&self, id: &str) -> Key {
        let identity = Identity {
            id: Some(id.as_bytes()),
            ..Identity::default()
        };
        Scope::named("stripe", &Params::default(), None)
            .ledger_key(&self.store.hash_key(), identity)
    }
}

pub(super) fn matcher() -> TokenMatcher {
    Arc::new(|offered: &[u8]| match offered == TOKEN.as_bytes() {
        true => Offered::Of(Caller {
            name: "anna".into(),
            read: true,
            act: true,
        }),
        false => Offered::Nothing,
    })
}

/// Makes a matcher without configured tokens.
fn nobody() -> TokenMatcher {
    Arc::new(|_| Offered::NoTokens)
}

pub(super) fn request(line: &str, headers: &[&str]) -> String {
    let headers: String = headers
        .iter()
        .map(|header| format!("{header}\r\n"))
        .collect();
    format!("{line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n")
}

/// Sends a request to the admin API on a loopback port. Returns the status and the whole response.
async fn ask(guard: Guard, source: Fixed, line: &str, headers: &[&str]) -> (u16, String) {
    exchange(router(Arc::new(source), guard), &request(line, headers)).await
}

pub(super) async fn exchange(router: axum::Router, request: &str) -> (u16, String) {
    exchange_bytes(router, request.as_bytes()).await.unwrap()
}

/// Sends a request. `None` if the connection ends without a response.
pub(super) async fn exchange_bytes(router: axum::Router, request: &[u8]) -> Option<(u16, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(serve_tcp(listener, router, stopped));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let sent = stream.write_all(request).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    stop.send_replace(true);
    serving.await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    assert!(
        status.is_some() || sent.is_err() || read.is_err() || answer.is_empty(),
        "{answer}"
    );
    Some((status?, answer))
}

pub(super) fn loopback() -> Guard {
    Guard::tcp("127.0.0.1:1".parse().unwrap(), matcher())
}

/// Makes a gateway that has started.
fn later(source: Fixed) -> health::Later {
    let later = health::Later::default();
    assert!(later.set(Arc::new(source)).is_ok());
    later
}

#[tokio::test]
async fn starting_gateway_is_alive_but_not_ready() {
    for (path, status) in [("/livez", 200), ("/readyz", 503), ("/metrics", 503)] {
        let asked = exchange(
            health::router(health::Later::default()),
            &request(&format!("GET {path}"), &["Host: anything"]),
        )
        .await;
        assert_eq!(asked.0, status, "{path}");
    }
}

#[tokio::test]
async fn health_says_whether_it_is_ready() {
    let get = async |ready, path: &str| {
        let source = Fixed {
            ready,
            ..Fixed::default()
        };
        exchange(
            health::router(later(source)),
            &request(&format!("GET {path}"), &["Host: anything"]),
        )
        .await
    };
    assert_eq!(get(false, "/livez").await.0, 200);
    let (status, answer) = get(false, "/readyz").await;
    assert_eq!((status, answer.ends_with("not ready\n")), (503, true));
    assert_eq!(get(true, "/readyz").await.0, 200);
    let (status, metrics) = get(true, "/metrics").await;
    assert_eq!(
        (status, metrics.ends_with("hookgate_connections 0\n")),
        (200, true)
    );
    for header in [
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "content-type: text/plain; version=0.0.4",
    ] {
        assert!(metrics.contains(header), "{metrics}");
    }
    assert_eq!(get(true, "/-/status").await.0, 404);
}

#[tokio::test]
async fn changes_check_host_then_token_then_content_type() {
    let reload =
        async |headers: &[&str]| ask(loopback(), Fixed::default(), "POST /-/reload", headers).await;
    assert_eq!(reload(&["Host: evil.example", JSON, BEARER]).await.0, 403);
    let (status, answer) = reload(&["Host: localhost", JSON]).await;
    assert_eq!(status, 401);
    assert!(
        answer.contains("\"error\":")
            && answer.contains("\"help\":")
            && answer.contains("cache-control: no-store"),
        "{answer}"
    );
    assert_eq!(
        reload(&["Host: localhost", JSON, "Authorization: Bearer wrong"])
            .await
            .0,
        401
    );
    assert_eq!(
        reload(&["Host: localhost", JSON, "Authorization: Bearer "])
            .await
            .0,
        401
    );
    assert_eq!(
        reload(&["Host: localhost", JSON, BEARER, BEARER]).await.0,
        401
    );
    assert_eq!(reload(&["Host: localhost", BEARER]).await.0, 415);
    assert_eq!(
        reload(&["Host: localhost", "Content-Type: text/plain", BEARER])
            .await
            .0,
        415
    );
    let (status, answer) = reload(&["Host: localhost", JSON, BEARER]).await;
    assert_eq!(
        (status, answer.ends_with("{\"generation\":2}")),
        (200, true)
    );
    assert_eq!(
        ask(
            loopback(),
            Fixed::default(),
            "GET /-/reload",
            &["Host: localhost"]
        )
        .await
        .0,
        405
    );
}

#[tokio::test]
async fn failed_reload_returns_its_reason() {
    let source = Fixed {
        mistake: Some("config.yaml:3: no such upstream"),
        ..Fixed::default()
    };
    let (status, answer) = ask(
        loopback(),
        source,
        "POST /-/reload",
        &["Host: localhost", JSON, BEARER],
    )
    .await;
    assert_eq!(
        (status, answer.contains("config.yaml:3: no such upstream")),
        (422, true)
    );
}

#[tokio::test]
async fn reading_needs_a_token_except_on_loopback() {
    let status = async |guard, headers: &[&str]| {
        ask(guard, Fixed::default(), "GET /-/status", headers)
            .await
            .0
    };
    assert_eq!(status(loopback(), &["Host: localhost"]).await, 200);
    let wide = || Guard::tcp("0.0.0.0:1".parse().unwrap(), matcher());
    assert_eq!(status(wide(), &["Host: localhost"]).await, 401);
    assert_eq!(status(wide(), &["Host: localhost", BEARER]).await, 200);
    assert_eq!(
        status(
            Guard::tcp("0.0.0.0:1".parse().unwrap(), nobody()),
            &["Host: localhost", BEARER]
        )
        .await,
        403
    );
    let bare = Guard::tcp("127.0.0.1:1".parse().unwrap(), nobody());
    let (status, answer) = ask(
        bare,
        Fixed::default(),
        "POST /-/reload",
        &["Host: localhost", JSON, BEARER],
    )
    .await;
    assert_eq!((status, answer.contains("set `admin.token`")), (403, true));
}

#[tokio::test]
async fn list_of_refusals_is_bounded() {
    let get = async |path: &str| {
        ask(
            loopback(),
            Fixed::default(),
            &format!("GET {path}"),
            &["Host: localhost"],
        )
        .await
    };
    assert_eq!(
        get("/-/refusals?limit=2")
            .await
            .1
            .matches("no_route")
            .count(),
        2
    );
    assert_eq!(get("/-/refusals").await.1.matches("no_route").count(), 50);
    assert_eq!(
        get("/-/refusals?limit=9999")
            .await
            .1
            .matches("no_route")
            .count(),
        256
    );
    assert_eq!(get("/-/refusals?limit=x").await.0, 400);
}

#[tokio::test]
async fn unix_socket_needs_the_token_only_for_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin");
    let (stop, stopped) = watch::channel(false);
    let router = router(Arc::new(Fixed::default()), Guard::unix(matcher()));
    let serving = tokio::spawn(serve_unix(
        UnixListener::bind(&path).unwrap(),
        router,
        stopped,
    ));
    let ask = async |line: &str, headers: &[&str]| {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream
            .write_all(request(line, headers).as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(ask("GET /-/status", &["Host: whatever"]).await, "200");
    assert_eq!(
        ask("POST /-/reload", &["Host: whatever", JSON]).await,
        "401"
    );
    assert_eq!(
        ask("POST /-/reload", &["Host: whatever", JSON, BEARER]).await,
        "200"
    );
    stop.send_replace(true);
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_connection_does_not_delay_the_shutdown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(serve_tcp(
        listener,
        health::router(later(Fixed::default())),
        stopped,
    ));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /livez HT").await.unwrap();
    stop.send_replace(true);
    serving.await.unwrap();
}

#[test]
fn status_json_round_trips() {
    let status = Status {
        routes: vec![crate::api::status::RouteStatus::default()],
        last_error: Some(crate::api::status::LastError::default()),
        ..Status::default()
    };
    let text = serde_json::to_string(&status).unwrap();
    assert!(text.contains("\"hour\":{\"received\":0,"), "{text}");
    assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
}

#[tokio::test]
async fn only_a_token_with_act_drains_the_gateway() {
    let send = async |body: &str, headers: &[&str]| {
        let length = format!("Content-Length: {}", body.len());
        let headers = [headers, &["Host: localhost", JSON, length.as_str()]].concat();
        let request = format!("{}{body}", request("POST /-/drain", &headers));
        exchange(router(Arc::new(Fixed::default()), loopback()), &request).await
    };
    let (status, answer) = send("{\"accept\":false}", &[BEARER]).await;
    assert_eq!(
        (
            status,
            answer.ends_with(
                "{\"accepting\":false,\"waiting\":12,\"in_flight\":1,\"dead\":3,\"cancelled\":2,\"outbound\":null}"
            )
        ),
        (200, true),
        "{answer}"
    );
    assert_eq!(send("{\"accept\":false}", &[]).await.0, 401);
    for wrong in [
        "",
        "{}",
        "{\"accept\":true}",
        "{\"accept\":false,\"x\":1}",
        "[]",
    ] {
        assert_eq!(send(wrong, &[BEARER]).await.0, 400, "{wrong}");
    }
    let (status, answer) = ask(
        loopback(),
        Fixed::default(),
        "GET /-/drain",
        &["Host: localhost"],
    )
    .await;
    assert_eq!((status, answer.contains("\"accepting\":true")), (200, true));
}

/// Reads the lines of a stream until its end, which comes before its connection is cut.
async fn tail(target: &str) -> Vec<TailItem> {
    let (status, answer) = ask(
        loopback(),
        Fixed::default(),
        &format!("GET {target}"),
        &["Host: localhost"],
    )
    .await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.ends_with("\r\n0\r\n\r\n"), "it ends whole: {answer}");
    answer
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn tail_stream_has_positions_losses_and_heartbeats() {
    let position = |cursor: &str, missed, restarted| {
        TailItem::Position(StreamPosition {
            cursor: cursor.to_owned(),
            missed,
            restarted,
        })
    };
    let numbers = |lines: &[TailItem]| -> Vec<u64> {
        lines
            .iter()
            .filter_map(|line| {
                if let TailItem::Line(line) = line {
                    Some(line.seq)
                } else {
                    None
                }
            })
            .collect()
    };
    let lines = tail("/-/tail").await;
    assert_eq!(lines[0], position("1000-4", 0, false));
    assert_eq!(numbers(&lines), [6, 7]);
    assert_eq!(lines[3], position("1000-7", 1, false));
    let beats = lines
        .iter()
        .filter(|line| **line == position("1000-7", 0, false))
        .count();
    assert!((8..=10).contains(&beats), "{beats}");
    assert_eq!(
        numbers(&tail("/-/tail?route=github&after=1000-4").await),
        [7]
    );
    assert_eq!(
        tail("/-/tail?after=999-77").await[0],
        position("1000-0", 0, true)
    );
    for wrong in ["x", "1", "1-", "-1", "1-x"] {
        assert_eq!(
            ask(
                loopback(),
                Fixed::default(),
                &format!("GET /-/tail?after={wrong}"),
                &["Host: localhost"]
            )
            .await
            .0,
            400,
            "{wrong}"
        );
    }
}
