//! `hookgate demo`: starts a gateway and an app, sends authentic and forged requests, and shows each verdict in a table; then publishes an event.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Value, json};

use crate::api::refusals::Refusals;
use crate::cli::admin_client;
use crate::cli::context;
use crate::cli::echo;
use crate::cli::error::{Error, Exit};
use crate::cli::policy::Policy;
use crate::cli::sign::{Request, Response, default_url, deliver, signed};
use crate::cli::term::{self, Look};
use crate::clock::{Clock as _, SystemClock, rfc3339};
use crate::config::load::Loaded;
use crate::config::snapshot::{Action, UpstreamAddress};
use crate::upstream::render;

mod aborted;
mod child;
mod log_line;
mod page;
mod sending;

use aborted::Aborted;
use page::{Row, Verdict};
use sending::Sending;

/// The providers whose requests are sent.
const PROVIDERS: [&str; 4] = ["github", "stripe", "slack", "standard-webhooks"];
/// The age of the stale request.
const STALE_AGE: Duration = Duration::from_secs(600);
/// The longest time until the app receives a queued delivery.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// A config with a route for each of github, stripe, slack and standard-webhooks.
    #[arg(long, env = "HOOKGATE_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// A config of a gateway that sends to this machine. A second gateway runs with it, and an event is published and received.
    #[arg(long, value_name = "FILE")]
    sending: Option<PathBuf>,
    /// Ends after that instead of leaving the gateways running.
    #[arg(long)]
    exit: bool,
}

/// Runs `demo`.
pub(super) fn demo(args: &DemoArgs) -> Result<Exit, Error> {
    let loaded = Arc::new(context::load(&args.config)?);
    context::block_on(async {
        tokio::select! {
            played = play(args, &loaded) => played,
            interrupted = context::interrupted() => interrupted.map(|()| Exit::INTERRUPTED),
        }
    })?
}

async fn play(args: &DemoArgs, loaded: &Arc<Loaded>) -> Result<Exit, Error> {
    let look = Look::of_stdout();
    let sender = Sender::new(loaded)?;
    let app = echo::bind(app_address(loaded).await?).await;
    let app = app.map_err(|error| {
        error.hint("end that process, or give the upstream another port in the config")
    })?;
    let app_url = format!("http://{}", app.local_addr()?);
    let _app = Aborted(tokio::spawn(echo::serve(app, true)));
    let mut gate = child::Gate::start(&args.config, &loaded.snapshot).await?;
    term::print(&page::head(
        &args.config.display().to_string(),
        loaded,
        &app_url,
        &look,
    ))?;
    let rows = sender.send_all(&app_url).await?;
    let request_count = requests(&app_url).await?;
    let wrong = page::wrong(&rows, request_count);
    term::print(&page::page(&rows, request_count, &look))?;
    if wrong.is_some() {
        return Ok(Exit::NO);
    }
    let mut sends = None;
    if let Some(config) = &args.sending {
        let mut sending = Sending::start(config, &look).await?;
        let config = config.display().to_string();
        if !sending.play(&config, &look).await? {
            return Ok(Exit::NO);
        }
        sends = Some((sending, config));
    }
    if args.exit {
        return Ok(Exit::DONE);
    }
    term::print(&page::tail())?;
    let Some((mut sending, config)) = sends else {
        gate.show_log().await?;
        return Ok(Exit::DONE);
    };
    term::print(&sending::tail(&config))?;
    tokio::select! {
        ended = gate.show_log() => ended?,
        ended = sending.show() => ended?,
    }
    Ok(Exit::DONE)
}

/// Returns the address of the app behind the GitHub route.
async fn app_address(loaded: &Loaded) -> Result<std::net::SocketAddr, Error> {
    let upstream = &webhook(loaded, "github")?.forward.upstream;
    let location = render::url(upstream);
    let not_local = || {
        Error::usage(
            "the demo starts the app itself, so the upstream must be a port of this machine",
        )
        .at(location.as_str())
        .hint("url: http://127.0.0.1:3000")
    };
    let UpstreamAddress::Tcp {
        host,
        port,
        tls: None,
    } = &upstream.address
    else {
        return Err(not_local());
    };
    let found = tokio::net::lookup_host((host.as_str(), *port)).await;
    let found = found
        .map_err(|error| {
            Error::no("the name of the upstream does not resolve")
                .at(location.as_str())
                .cause(error)
        })?
        .next();
    found
        .filter(|address| address.ip().is_loopback())
        .ok_or_else(not_local)
}

fn webhook(
    loaded: &Loaded,
    provider: &str,
) -> Result<Arc<crate::config::snapshot::WebhookRoute>, Error> {
    let webhook = loaded
        .snapshot
        .webhooks
        .iter()
        .find(|webhook| webhook.provider.as_deref() == Some(provider));
    webhook.cloned().ok_or_else(|| {
        Error::usage(format!("the config has no route for {provider}"))
            .hint("hookgate demo --config config.example.yaml")
    })
}

/// Sends requests in place of the providers.
struct Sender {
    policies: Vec<(&'static str, Policy)>,
    admin: Option<String>,
    now: SystemTime,
}

impl Sender {
    fn new(loaded: &Arc<Loaded>) -> Result<Self, Error> {
        let policy = |provider| {
            Ok((
                provider,
                Policy::Route(Arc::clone(loaded), webhook(loaded, provider)?),
            ))
        };
        let admin = loaded
            .snapshot
            .admin
            .as_ref()
            .map(|admin| admin.address.to_string());
        Ok(Self {
            policies: PROVIDERS
                .into_iter()
                .map(policy)
                .collect::<Result<_, Error>>()?,
            admin,
            now: SystemClock.now().wall,
        })
    }

    fn request(&self, provider: &str, number: u64, age: Duration) -> Result<Request, Error> {
        let policy = self
            .policies
            .iter()
            .find(|(name, _)| *name == provider)
            .map(|(_, policy)| policy);
        let policy = policy
            .ok_or_else(|| Error::usage(format!("the config has no route for {provider}")))?;
        let body = body(provider, number, self.now);
        let mut request = signed(
            policy,
            &default_url(policy)?,
            body,
            None,
            self.now.checked_sub(age).unwrap_or(self.now),
        )?;
        if provider == "github" {
            request
                .headers
                .insert("x-github-event", HeaderValue::from_static("issues"));
        }
        Ok(request)
    }

    /// Returns whether the provider's route queues.
    fn queues(&self, provider: &str) -> bool {
        let of_provider = self.policies.iter().filter(|(name, _)| *name == provider);
        of_provider.into_iter().any(|(_, policy)| matches!(policy, Policy::Route(_, webhook) if matches!(webhook.action, Action::Queue)))
    }

    /// Sends the seven requests. Returns a row for each.
    async fn send_all(&self, app_url: &str) -> Result<Vec<Row>, Error> {
        let fresh = |provider, number| self.request(provider, number, Duration::ZERO);
        let first = fresh("github", 1)?;
        let mut changed = fresh("github", 5)?;
        changed.body = one_byte_changed(&changed.body);
        let authentic = |provider| {
            if self.queues(provider) {
                Verdict::Queued
            } else {
                Verdict::Authentic(String::new())
            }
        };
        let plan = [
            ("github", "signed", first.clone(), authentic("github")),
            ("stripe", "signed", fresh("stripe", 2)?, authentic("stripe")),
            ("slack", "signed", fresh("slack", 3)?, authentic("slack")),
            (
                "standard-webhooks",
                "signed",
                fresh("standard-webhooks", 4)?,
                authentic("standard-webhooks"),
            ),
            (
                "github",
                "one byte changed",
                changed,
                Verdict::Refused("signature_mismatch".to_owned()),
            ),
            (
                "stripe",
                "signed 10 min ago",
                self.request("stripe", 6, STALE_AGE)?,
                Verdict::Refused("timestamp_stale".to_owned()),
            ),
            ("github", "number 1 again", first, Verdict::Duplicate),
        ];
        let mut rows = Vec::new();
        let mut request_count = requests(app_url).await?;
        for (provider, sent, request, expect) in plan {
            let answer = deliver(&request).await?;
            let verdict = self.verdict(&answer).await;
            let after = if verdict == Verdict::Queued {
                one_more(app_url, request_count).await?
            } else {
                requests(app_url).await?
            };
            rows.push(Row {
                provider,
                sent,
                verdict,
                expect,
                status: answer.status.as_u16(),
                reached_app: after > request_count,
            });
            request_count = after;
        }
        Ok(rows)
    }

    /// Returns the verdict on a request, from its response or from the list of refusals.
    async fn verdict(&self, answer: &Response) -> Verdict {
        let header = |name: &str| {
            answer
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        match header("hookgate-status") {
            Some("duplicate") => return Verdict::Duplicate,
            Some("queued") => return Verdict::Queued,
            Some(_) | None => {}
        }
        let received: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let secret = received
            .as_ref()
            .and_then(|received| received.pointer("/headers/hookgate-secret"))
            .and_then(Value::as_str);
        if let Some(secret) = secret.filter(|_| answer.status.is_success()) {
            return Verdict::Authentic(secret.to_owned());
        }
        let code = match (&self.admin, header("hookgate-request-id")) {
            (Some(admin), Some(id)) => refusal(admin, id).await,
            _ => None,
        };
        code.map_or_else(
            || {
                Verdict::Other(
                    answer
                        .status
                        .canonical_reason()
                        .unwrap_or("no answer")
                        .to_owned(),
                )
            },
            Verdict::Refused,
        )
    }
}

async fn refusal(admin: &str, request_id: &str) -> Option<String> {
    let (_, body) = admin_client::get_async(admin, "/-/refusals?limit=256", None)
        .await
        .ok()?;
    let list: Refusals = serde_json::from_slice(&body).ok()?;
    list.refusals
        .into_iter()
        .find(|refusal| refusal.request_id == request_id)
        .map(|refusal| refusal.code)
}

/// Returns the number of requests that the app received.
async fn requests(app_url: &str) -> Result<u64, Error> {
    let (_, body) = admin_client::get_async(app_url, "/requests", None).await?;
    let counted = serde_json::from_slice::<Value>(&body)
        .ok()
        .and_then(|body| body.get("requests").and_then(Value::as_u64));
    counted
        .ok_or_else(|| Error::no("another program answers in place of the demo's app").at(app_url))
}

/// Returns the number of requests that the app received, once it is more than `seen`: a queued delivery arrives after its sender was answered.
async fn one_more(app_url: &str, request_count: u64) -> Result<u64, Error> {
    for _ in 0..DELIVERY_TIMEOUT.as_millis() / POLL_INTERVAL.as_millis() {
        let now = requests(app_url).await?;
        if now > request_count {
            return Ok(now);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(request_count)
}

/// Makes a body like one of the provider, a new one each time.
fn body(provider: &str, number: u64, now: SystemTime) -> Bytes {
    let unix_ms = crate::clock::unix_ms(now);
    let id = format!("{unix_ms}{number}");
    let body = match provider {
        "github" => {
            json!({ "action": "opened", "issue": { "number": number, "title": "The demo works" }, "repository": { "id": unix_ms } })
        }
        "stripe" => {
            json!({ "id": format!("evt_demo{id}"), "object": "event", "type": "invoice.paid", "created": unix_ms / 1000 })
        }
        "slack" => {
            json!({ "type": "event_callback", "event_id": format!("Ev{id}"), "event": { "type": "app_mention", "text": "hello" } })
        }
        _ => {
            json!({ "type": "user.created", "timestamp": rfc3339(now), "data": { "id": id } })
        }
    };
    body.to_string().into()
}

/// Returns the body with its last digit or letter changed, so that it stays JSON.
fn one_byte_changed(body: &[u8]) -> Bytes {
    let mut body = body.to_vec();
    if let Some(byte) = body
        .iter_mut()
        .rev()
        .find(|byte| byte.is_ascii_alphanumeric())
    {
        *byte = if *byte == b'1' { b'2' } else { b'1' };
    }
    body.into()
}

#[cfg(test)]
mod tests;
