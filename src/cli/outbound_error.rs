//! The errors of the outbound API, in the words of the command line.
use http::StatusCode;
use serde::Deserialize;

use crate::cli::error::Error;
use crate::cli::policy::quoted;

/// Words of the API, each with its counterpart on the command line.
const WORDS: &[(&str, &str)] = &[
    (
        "send `id`, or the header `Idempotency-Key`: with the same key you can repeat a publish that got no answer",
        "write `--id KEY`: with the same key you can repeat a publish that got no answer",
    ),
    (
        "send the same request again, with the same key",
        "repeat the command, a publish with the same `--id`",
    ),
    ("send the request again", "repeat the command"),
    (
        "read it, and send the change again",
        "look at it, and repeat the command",
    ),
    (
        "use POST …/rotate to give it another one",
        "`hookgate endpoints rotate` gives it another one",
    ),
    (
        "GET …/secrets lists them",
        "`hookgate endpoints show` lists them",
    ),
    (
        "GET the endpoint to see its state",
        "`hookgate endpoints show` shows its state",
    ),
    (
        "GET the endpoint to see its `job`; only a recovery can be stopped",
        "`hookgate endpoints job show` shows its job; only a recovery can be stopped",
    ),
    (
        "resume it before you recover its events; with `dry_run` you get the plan now",
        "resume it before you recover its events; `--dry-run` prints the plan now",
    ),
    (
        "wait until it ends, or stop a recovery with POST …/job/stop",
        "wait until it ends, or stop a recovery: `hookgate endpoints job stop`",
    ),
    (
        "choose another one, or change that endpoint with PUT or PATCH",
        "choose another one, or change that endpoint with `hookgate endpoints edit`",
    ),
    (
        "remove one, or raise `limits.endpoints` of the tenant",
        "delete one, or raise the limit: `hookgate tenants create NAME --endpoints COUNT`",
    ),
    (
        "add `\"url\": \"https://hooks.example.com/path\"`",
        "write `--url https://hooks.example.com/path`",
    ),
    (
        "leave them out, and set an `Authorization` header in `headers`",
        "leave them out, and set a header: `--header 'Authorization: Basic …'`",
    ),
    (
        "write the types that it gets, such as `[\"invoice.*\"]`, or `[\"*\"]` for all",
        "write the types that it gets, such as `--types 'invoice.*'`, or `--types '*'` for all",
    ),
    (
        "write `\"ordered\": true` as well, or `\"on_dead\": \"continue\"`",
        "write `--ordered` as well, or `--on-dead continue`",
    ),
    (
        "write the time from which on events are sent, such as `2026-11-21T09:00:00Z`",
        "write the time from which on events are sent, such as `--since 2h`",
    ),
    (
        "write `\"waiting\": \"since\"` as well, or leave it out",
        "write `--waiting since` as well, or leave it out",
    ),
    ("add `data`", "write `--data JSON`"),
    (
        "GET the endpoint and its secrets, and change what cannot be used",
        "`hookgate endpoints show` shows the endpoint and its secrets: change what cannot be used",
    ),
    (
        "GET /v1/event-types to see its versions",
        "`hookgate events types --live` shows its versions",
    ),
];

/// The body of a refused request.
#[derive(Debug, Deserialize)]
pub(super) struct Problem {
    #[serde(default)]
    pub(super) code: String,
    error: String,
    #[serde(default)]
    help: String,
    at: Option<String>,
}

impl Problem {
    /// Reads the body of a response; `None` if it is not one of the API.
    pub(super) fn of(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

/// Returns the error for a refused request: the message of the gateway, and the command that helps. `options` find the same gateway.
pub(super) fn refused(
    target: &str,
    (status, body): (StatusCode, &[u8]),
    address: &str,
    options: &str,
) -> Error {
    let Some(problem) = Problem::of(body) else {
        let status = status.as_u16();
        return Error::no(format!("the listener answers with status {status}"))
            .at(address)
            .hint("--outbound ADDRESS with the outbound listener, not that for senders");
    };
    let tenant = tenant(target);
    let shown = tenant.as_deref().map(quoted).unwrap_or_default();
    let error = Error::no(words(&problem.error));
    let error = match &problem.at {
        Some(pointer) => error.at(pointer.as_str()),
        None => error.at(address),
    };
    match &*problem.code {
        "no_tenant" => Error::no(format!(
            "there is no tenant `{}`",
            tenant.unwrap_or_default()
        ))
        .at(address)
        .hint(format!(
            "hookgate tenants list{options}, or make it: hookgate tenants create {shown}{options}"
        )),
        "no_endpoint" => error.hint(format!("hookgate endpoints list {shown}{options}")),
        "no_event" => error.hint(format!("hookgate events list {shown}{options}")),
        "no_type" => error.hint(format!("hookgate events types --live{options}")),
        "no_secret" => error.hint("`hookgate endpoints show` lists the secrets"),
        "not_allowed" => error
            .why(words(&problem.help))
            .hint("--token-file FILE with a token that may"),
        _ if status == StatusCode::UNAUTHORIZED => error.hint(
            "--token-file FILE with one of `outbound.tokens`; without it, the token is that of the config",
        ),
        _ if problem.help.is_empty() => error,
        _ => error.why(words(&problem.help)),
    }
}

/// Returns the tenant of a target.
fn tenant(target: &str) -> Option<String> {
    let rest = target.strip_prefix("/v1/tenants/")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let segment = rest.get(..end)?;
    let decoded = form_urlencoded::parse(segment.as_bytes()).next();
    decoded.map(|(name, _)| name.into_owned())
}

/// Returns a message of the API in the words of the command line.
fn words(message: &str) -> String {
    let known = WORDS
        .iter()
        .find(|(of_the_api, _)| *of_the_api == message)
        .map(|(_, ours)| (*ours).to_owned());
    known.unwrap_or_else(|| message.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(directory: &Path, all: &mut String) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, all);
            } else {
                all.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn every_translated_message_is_one_of_the_api() {
        let mut sources = String::new();
        for room in ["src/outbound", "src/tenant"] {
            read(Path::new(room), &mut sources);
        }
        let sources = sources.replace("\\\"", "\"");
        for (of_the_api, ours) in WORDS {
            assert!(sources.contains(of_the_api), "{of_the_api}");
            assert!(!ours.contains('"') && !ours.contains("GET "), "{ours}");
        }
    }
}
