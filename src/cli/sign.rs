//! `hookgate sign`: signs a request, and prints it as a curl command or sends it.
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::json;

use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::message::{self, SentTo};
use crate::cli::policy::{Policy, PolicyArgs, quoted};
use crate::cli::term::{self, BOLD, Look, Sign};
use crate::clock::{Clock as _, FrozenClock, SystemClock};
use crate::upstream::fetch::{Url, fetch};
use crate::verify::{Locator, Scheme};

/// The longest time for a response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const OWN_REQUEST_ID: HeaderName = HeaderName::from_static("hookgate-request-id");

/// Arguments of `sign`.
#[derive(Debug, clap::Args)]
pub(super) struct SignArgs {
    #[command(flatten)]
    policy: PolicyArgs,
    /// The file with the body; `-` is stdin.
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// The URL of the request (default: the gateway on 127.0.0.1:8080, or the listener of the config).
    #[arg(long)]
    url: Option<String>,
    /// The time to sign: unix seconds or RFC 3339 (default: now).
    #[arg(long, value_name = "TIME", value_parser = context::moment, allow_negative_numbers = true)]
    now: Option<SystemTime>,
    /// The delivery ID, if the provider sends it in a header or in the query (default: a new one).
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Sends the request and prints the answer.
    #[arg(long)]
    send: bool,
    /// Prints a JSON object. A header that is the secret itself is null.
    #[arg(long)]
    json: bool,
}

/// A request with its signature.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The URL, with the query parameters of the signature.
    pub(super) url: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Runs `sign`.
pub(super) fn sign(args: &SignArgs) -> Result<Exit, Error> {
    let policy = args.policy.read()?;
    let body = context::read(&args.body, "the body")?;
    let url = args.url.clone().map_or_else(|| default_url(&policy), Ok)?;
    let now = args.now.unwrap_or_else(|| SystemClock.now().wall);
    let request = signed(&policy, &url, body.into(), args.id.as_deref(), now)?;
    if args.send {
        return context::block_on(send(&request, args.json))?;
    }
    let printable = printable(&policy, &request)?;
    let file = if args.body.as_os_str() == "-" {
        "@-".to_owned()
    } else {
        format!("@{}", args.body.display())
    };
    let curl = curl(&printable, &file);
    if args.json {
        term::print_line(&as_json(&printable, &curl).to_string())?;
    } else {
        term::print_line(&curl)?;
    }
    Ok(Exit::DONE)
}

/// Signs a body as the provider would send it to `url`.
pub(super) fn signed(
    policy: &Policy,
    url: &str,
    body: Bytes,
    id: Option<&str>,
    now: SystemTime,
) -> Result<Request, Error> {
    let verifier = policy.verifier()?;
    let mut url = url.to_owned();
    let locator = verifier.shape().delivery_id();
    if let (Some(Locator::Query(name)), Some(id)) = (locator, id) {
        add_query(&mut url, name, id);
    }
    let sent_to = SentTo::parse(&url).map_err(Error::usage)?;
    let mut head = message::head(
        Method::POST,
        sent_to.target.unwrap_or_else(|| "/".into()),
        FrozenClock(now).now(),
    );
    head.authority = sent_to.authority;
    head.tls = sent_to.tls;
    let own_id = head.request_id.to_string();
    match (locator, id) {
        (Some(Locator::Header(names)), id) => {
            let id = HeaderValue::from_str(id.unwrap_or(&own_id)).map_err(|_| {
                Error::usage("the delivery ID has characters that a header cannot have")
            })?;
            if let Some(name) = names.names().first() {
                head.headers.insert(name, &id);
            }
        }
        (Some(Locator::Json(pointer)), Some(_)) => {
            return Err(
                Error::usage("this provider sends the delivery ID in the body")
                    .hint(format!("write it at {pointer} in the body")),
            );
        }
        (None, Some(_)) => return Err(Error::usage("this provider has no delivery ID")),
        (Some(Locator::Json(_) | Locator::Query(_)) | None, _) => {}
    }
    let is_json = matches!(
        body.iter().find(|byte| !byte.is_ascii_whitespace()),
        Some(b'{' | b'[')
    );
    let kind = if is_json {
        "application/json"
    } else {
        "application/octet-stream"
    };
    head.headers
        .insert(&CONTENT_TYPE, &HeaderValue::from_static(kind));
    let params = policy.params(&head);
    let added = verifier
        .sign(&head, &params, &body, 0, now)
        .map_err(|error| Error::usage("the body cannot be signed").why(error.to_string()))?;
    let mut headers = head.headers.to_map();
    for (name, value) in added.headers {
        headers.insert(name, value);
    }
    for (name, value) in added.query {
        add_query(&mut url, &name, &value);
    }
    Ok(Request { url, headers, body })
}

fn add_query(url: &mut String, name: &str, value: &str) {
    let pair = form_urlencoded::Serializer::new(String::new())
        .append_pair(name, value)
        .finish();
    url.push(if url.contains('?') { '&' } else { '?' });
    url.push_str(&pair);
}

/// Returns the URL at which a gateway receives requests of this policy.
pub(super) fn default_url(policy: &Policy) -> Result<String, Error> {
    match policy {
        Policy::Preset { name, .. } => Ok(format!("http://127.0.0.1:8080/webhooks/{name}")),
        Policy::Route(loaded, webhook) => {
            let open =
                || {
                    loaded.snapshot.listeners.iter().filter_map(|listener| {
                        Some((listener.address.tcp()?, listener.tls.is_some()))
                    })
                };
            let found = open().find(|(_, tls)| !tls).or_else(|| open().next());
            let (mut address, tls) = found.ok_or_else(|| {
                Error::usage("the config has no listener on a port").hint("--url URL")
            })?;
            if webhook.path.contains('{') {
                return Err(Error::usage(format!(
                    "the path of route {} has parameters: {}",
                    webhook.name, webhook.path
                ))
                .hint("--url URL"));
            }
            if address.ip().is_unspecified() {
                address.set_ip(if address.is_ipv4() {
                    std::net::Ipv4Addr::LOCALHOST.into()
                } else {
                    std::net::Ipv6Addr::LOCALHOST.into()
                });
            }
            Ok(format!(
                "{}://{address}{}",
                if tls { "https" } else { "http" },
                webhook.path
            ))
        }
    }
}

/// A request that can be printed: a header that is the secret itself is left to a shell.
struct Printable {
    url: String,
    headers: Vec<(String, Value)>,
}

enum Value {
    Text(String),
    /// A text for double quotes, with a variable.
    Shell(String),
    /// The same for user and password.
    User(String),
}

/// Returns the request as JSON. A header that is the secret itself has no value there: only a shell can fill it in.
fn as_json(request: &Printable, curl: &str) -> serde_json::Value {
    let value = |value: &Value| match value {
        Value::Text(text) => json!(text),
        Value::Shell(_) | Value::User(_) => serde_json::Value::Null,
    };
    let headers: Vec<_> = request
        .headers
        .iter()
        .map(|(name, one)| json!([name, value(one)]))
        .collect();
    json!({ "method": "POST", "url": request.url, "headers": headers, "curl": curl })
}

fn printable(policy: &Policy, request: &Request) -> Result<Printable, Error> {
    let verifier = policy.verifier()?;
    let secret_places = verifier.shape().secret_locations();
    let shell = match policy {
        Policy::Preset { shell, .. } => Some(shell.as_str()),
        Policy::Route(..) => None,
    };
    let hidden = || {
        Error::usage("the request contains the secret itself, which would be printed")
            .hint("--send")
    };
    if !secret_places.query.is_empty() {
        return Err(hidden());
    }
    let mut headers = Vec::new();
    for (name, value) in &request.headers {
        let value = if secret_places.headers.contains(name) {
            let shell = shell.ok_or_else(hidden)?;
            match verifier.shape().scheme() {
                Scheme::Basic => Value::User(shell.to_owned()),
                Scheme::Token(source) => Value::Shell(format!("{}{shell}", source.prefix)),
                Scheme::Hmac(_) => return Err(hidden()),
            }
        } else {
            Value::Text(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        headers.push((header_name(name), value));
    }
    Ok(Printable {
        url: request.url.clone(),
        headers,
    })
}

/// Returns a header's name in its usual spelling.
fn header_name(name: &HeaderName) -> String {
    let words = name.as_str().split('-').map(|word| {
        let mut letters = word.chars();
        letters
            .next()
            .map(|first| first.to_ascii_uppercase())
            .into_iter()
            .chain(letters)
            .collect::<String>()
    });
    words.collect::<Vec<_>>().join("-")
}

fn curl(request: &Printable, file: &str) -> String {
    // curl takes brackets and braces in a URL for patterns
    let glob = if request.url.contains(['[', ']', '{', '}']) {
        " -g"
    } else {
        ""
    };
    let mut command = format!("curl -sS -i{glob} {}", quoted(&request.url));
    for (name, value) in &request.headers {
        let option = match value {
            Value::Text(value) => format!("-H {}", quoted(&format!("{name}: {value}"))),
            Value::Shell(value) => format!("-H \"{name}: {value}\""),
            Value::User(value) => format!("-u \"{value}\""),
        };
        command.push_str(&format!(" \\\n  {option}"));
    }
    command.push_str(&format!(" \\\n  --data-binary {}", quoted(file)));
    command
}

/// The response to a request.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: http::StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Sends a signed request.
pub(super) async fn deliver(request: &Request) -> Result<Response, Error> {
    let url = Url::parse(&request.url)
        .map_err(|error| Error::usage(error.to_string()).at(request.url.clone()))?;
    let answer = fetch(
        &url,
        Method::POST,
        request.headers.clone(),
        request.body.clone(),
        ANSWER_TIMEOUT,
    )
    .await;
    let location = request.url.split('?').next().unwrap_or_default();
    let (status, headers, body) = answer.map_err(|error| {
        Error::no("there was no response")
            .at(location)
            .why(error.to_string())
    })?;
    Ok(Response {
        status,
        headers,
        body,
    })
}

async fn send(request: &Request, as_json: bool) -> Result<Exit, Error> {
    let answer = deliver(request).await?;
    let header = |name: &HeaderName| {
        answer
            .headers
            .get(name)
            .map(|value| term::clean(&String::from_utf8_lossy(value.as_bytes())))
    };
    let verdict = header(&HeaderName::from_static("hookgate-status"));
    let request_id = header(&OWN_REQUEST_ID);
    if as_json {
        let body = String::from_utf8_lossy(&answer.body);
        let answer = json!({ "status": answer.status.as_u16(), "hookgate_status": verdict, "request_id": request_id, "body": body });
        term::print_line(&answer.to_string())?;
    } else {
        let sign = Look::of_stdout().sign(if answer.status.is_success() {
            Sign::Good
        } else {
            Sign::Bad
        });
        let mut line = format!("{sign} {BOLD}{}{BOLD:#}", answer.status);
        for part in [verdict, request_id.map(|id| format!("request {id}"))]
            .into_iter()
            .flatten()
        {
            line.push_str(&format!("   {part}"));
        }
        term::print_line(&line)?;
        let body = term::clean_body(&answer.body);
        if !body.trim_end().is_empty() {
            term::print_line(body.trim_end())?;
        }
    }
    Ok(if answer.status.is_success() {
        Exit::DONE
    } else {
        Exit::NO
    })
}

#[cfg(test)]
mod tests;
