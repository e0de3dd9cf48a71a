//! `hookgate demo`: a gate and an app, real requests and forged ones, and each verdict in a table.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Value, json};

use crate::api::refusals::Refusals;
use crate::cli::ask;
use crate::cli::context;
use crate::cli::echo;
use crate::cli::error::{Error, Exit};
use crate::cli::policy::Policy;
use crate::cli::sign::{Answered, Request, default_url, deliver, signed};
use crate::cli::term::{self, Look};
use crate::clock::{Clock as _, SystemClock};
use crate::config::load::Loaded;
use crate::config::snapshot::{Action, UpstreamAddress};
use crate::upstream::render;

mod child;
mod page;

use page::{Row, Said};

/// The providers that send something.
const PROVIDERS: [&str; 4] = ["github", "stripe", "slack", "standard-webhooks"];
/// How old the stale request is.
const STALE: Duration = Duration::from_secs(600);
/// How long a queued delivery may take to the app.
const DELIVERED_WITHIN: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// A config with a route for each of github, stripe, slack and standard-webhooks.
    #[arg(long, env = "HOOKGATE_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Ends after the table instead of leaving the gate running.
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
    let app =
        app.map_err(|error| error.hint("end it, or give the upstream another port in the config"))?;
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
    let seen = requests(&app_url).await?;
    let wrong = page::wrong(&rows, seen);
    term::print(&page::page(&rows, seen, &look))?;
    if wrong.is_some() {
        return Ok(Exit::NO);
    }
    if !args.exit {
        term::print(&page::tail())?;
        gate.stay().await?;
    }
    Ok(Exit::DONE)
}

/// A task that ends with its owner.
struct Aborted<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Aborted<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where the app of the GitHub route is.
async fn app_address(loaded: &Loaded) -> Result<std::net::SocketAddr, Error> {
    let upstream = &hook(loaded, "github")?.forward.upstream;
    let place = render::url(upstream);
    let elsewhere = || {
        Error::usage("the demo stands for the app, so the upstream must be a port of this machine")
            .at(place.as_str())
            .hint("url: http://127.0.0.1:3000")
    };
    let UpstreamAddress::Tcp {
        host,
        port,
        tls: None,
    } = &upstream.address
    else {
        return Err(elsewhere());
    };
    let found = tokio::net::lookup_host((host.as_str(), *port)).await;
    let found = found
        .map_err(|error| {
            Error::no("the upstream has no address")
                .at(place.as_str())
                .cause(error)
        })?
        .next();
    found
        .filter(|address| address.ip().is_loopback())
        .ok_or_else(elsewhere)
}

fn hook(
    loaded: &Loaded,
    provider: &str,
) -> Result<Arc<crate::config::snapshot::WebhookRoute>, Error> {
    let hook = loaded
        .snapshot
        .hooks
        .iter()
        .find(|hook| hook.provider.as_deref() == Some(provider));
    hook.cloned().ok_or_else(|| {
        Error::usage(format!("the config has no route for {provider}"))
            .hint("hookgate demo --config config.example.yaml")
    })
}

/// Stands for the providers.
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
                Policy::Route(Arc::clone(loaded), hook(loaded, provider)?),
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

    /// Whether the provider's route acknowledges first.
    fn queues(&self, provider: &str) -> bool {
        let of_provider = self.policies.iter().filter(|(name, _)| *name == provider);
        of_provider.into_iter().any(|(_, policy)| matches!(policy, Policy::Route(_, hook) if matches!(hook.action, Action::Queue)))
    }

    /// The seven requests, and what became of each.
    async fn send_all(&self, app_url: &str) -> Result<Vec<Row>, Error> {
        let fresh = |provider, number| self.request(provider, number, Duration::ZERO);
        let first = fresh("github", 1)?;
        let mut changed = fresh("github", 5)?;
        changed.body = one_byte_changed(&changed.body);
        let let_in = |provider| {
            if self.queues(provider) {
                Said::Queued
            } else {
                Said::Authentic(String::new())
            }
        };
        let plan = [
            ("github", "signed", first.clone(), let_in("github")),
            ("stripe", "signed", fresh("stripe", 2)?, let_in("stripe")),
            ("slack", "signed", fresh("slack", 3)?, let_in("slack")),
            (
                "standard-webhooks",
                "signed",
                fresh("standard-webhooks", 4)?,
                let_in("standard-webhooks"),
            ),
            (
                "github",
                "one byte changed",
                changed,
                Said::Refused("signature_mismatch".to_owned()),
            ),
            (
                "stripe",
                "signed 10 min ago",
                self.request("stripe", 6, STALE)?,
                Said::Refused("timestamp_stale".to_owned()),
            ),
            ("github", "number 1 again", first, Said::Duplicate),
        ];
        let mut rows = Vec::new();
        let mut seen = requests(app_url).await?;
        for (provider, sent, request, expect) in plan {
            let answer = deliver(&request).await?;
            let said = self.said(&answer).await;
            let after = if said == Said::Queued {
                one_more(app_url, seen).await?
            } else {
                requests(app_url).await?
            };
            rows.push(Row {
                provider,
                sent,
                said,
                expect,
                status: answer.status.as_u16(),
                app_saw_it: after > seen,
            });
            seen = after;
        }
        Ok(rows)
    }

    /// What the gate says of a request: its answer tells, or its list of refusals.
    async fn said(&self, answer: &Answered) -> Said {
        let header = |name: &str| {
            answer
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        match header("hookgate-status") {
            Some("duplicate") => return Said::Duplicate,
            Some("queued") => return Said::Queued,
            Some(_) | None => {}
        }
        let seen: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let secret = seen
            .as_ref()
            .and_then(|seen| seen.pointer("/headers/hookgate-secret"))
            .and_then(Value::as_str);
        if let Some(secret) = secret.filter(|_| answer.status.is_success()) {
            return Said::Authentic(secret.to_owned());
        }
        let code = match (&self.admin, header("hookgate-request-id")) {
            (Some(admin), Some(id)) => refusal(admin, id).await,
            _ => None,
        };
        code.map_or_else(
            || {
                Said::Other(
                    answer
                        .status
                        .canonical_reason()
                        .unwrap_or("no answer")
                        .to_owned(),
                )
            },
            Said::Refused,
        )
    }
}

async fn refusal(admin: &str, request_id: &str) -> Option<String> {
    let (_, body) = ask::get_now(admin, "/-/refusals?limit=256", None)
        .await
        .ok()?;
    let list: Refusals = serde_json::from_slice(&body).ok()?;
    list.refusals
        .into_iter()
        .find(|refusal| refusal.request_id == request_id)
        .map(|refusal| refusal.code)
}

/// How many requests the app saw.
async fn requests(app_url: &str) -> Result<u64, Error> {
    let (_, body) = ask::get_now(app_url, "/requests", None).await?;
    let counted = serde_json::from_slice::<Value>(&body)
        .ok()
        .and_then(|body| body.get("requests").and_then(Value::as_u64));
    counted.ok_or_else(|| Error::no("what answers is not the app of this demo").at(app_url))
}

/// How many requests the app saw, once it is more than `seen`: what was queued comes after its sender was answered.
async fn one_more(app_url: &str, seen: u64) -> Result<u64, Error> {
    for _ in 0..DELIVERED_WITHIN.as_millis() / LOOK_AGAIN.as_millis() {
        let now = requests(app_url).await?;
        if now > seen {
            return Ok(now);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(seen)
}

/// A body as the provider might send it, another one each time.
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
            json!({ "type": "user.created", "timestamp": term::rfc3339(now), "data": { "id": id } })
        }
    };
    body.to_string().into()
}

/// The same body with its last digit or letter changed, so that it stays JSON.
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
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_and_one_byte_is_one_byte() {
        for provider in PROVIDERS {
            let body = body(
                provider,
                1,
                SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600),
            );
            assert!(
                serde_json::from_slice::<Value>(&body).unwrap().is_object(),
                "{provider}"
            );
        }
        let body = body(
            "github",
            5,
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600),
        );
        let changed = one_byte_changed(&body);
        assert_eq!(
            body.iter()
                .zip(&changed)
                .filter(|(one, other)| one != other)
                .count(),
            1
        );
        assert!(serde_json::from_slice::<Value>(&changed).is_ok());
    }
}
