//! `hookgate explain`: says in plain words why a captured request is refused, and what to do.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::json;

use crate::cli::captured;
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::message::{Fault, SentTo};
use crate::cli::policy::{Policy, PolicyArgs};
use crate::cli::term::{self, BOLD, Look, Sign};
use crate::clock::{Clock as _, FrozenClock, SystemClock};
use crate::config::presets::Catalogue;
use crate::explain::{Finding, Question, Subject, Tried, explain as search};
use crate::request::{Body, Received};
use crate::verify::Shape;

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    policy: PolicyArgs,
    /// The URL that the sender used, if the request does not contain it.
    #[arg(long, value_parser = SentTo::parse)]
    url: Option<SentTo>,
    /// The time to judge by: unix seconds or RFC 3339 (default: now).
    #[arg(long, value_name = "TIME", value_parser = context::moment, allow_negative_numbers = true)]
    now: Option<SystemTime>,
    /// Prints the explanation as a JSON object.
    #[arg(long)]
    json: bool,
    /// A file with the request: raw HTTP/1.1, an entry of a HAR file, or a curl command; `-` is stdin.
    request: PathBuf,
}

/// Runs `explain`.
pub(super) fn explain(args: &ExplainArgs) -> Result<Exit, Error> {
    let policy = args.policy.read()?;
    let bytes = context::read(&args.request, "the request")?;
    let now = args
        .now
        .map_or_else(|| SystemClock.now(), |now| FrozenClock(now).now());
    let unreadable = |fault| match fault {
        Fault::Unreadable(why) | Fault::Malformed(why) => {
            Error::usage("the request cannot be read").why(why)
        }
    };
    let (message, url) = captured::read(&bytes)?;
    let url = args.url.as_ref().or(url.as_ref());
    let head = message.head(url, now).map_err(unreadable)?;
    let params = policy.params(&head);
    let received = Received {
        head,
        body: Body::from(message.body),
    };
    let providers = providers();
    let finding = search(&Question {
        received: &received,
        params: &params,
        route: Subject {
            name: policy.name(),
            verifier: policy.verifier()?,
        },
        others: &policy.others(),
        providers: &providers,
        own_provider: policy.provider(),
        now,
    });
    let text = if args.json {
        as_json(&finding, policy.name()).to_string()
    } else {
        as_text(&finding, &policy, &Look::of_stdout())
    };
    term::print_line(&text)?;
    Ok(if finding.causes.is_empty() && finding.refused.is_some() {
        Exit::NO
    } else {
        Exit::DONE
    })
}

/// Returns the schemes of all presets that leave nothing to a route.
fn providers() -> Vec<(Arc<str>, Shape)> {
    let presets = Catalogue::built_in().presets();
    presets
        .filter_map(|preset| Some((Arc::clone(&preset.name), context::shape(preset, None).ok()?)))
        .collect()
}

/// Renders an explanation for people.
fn as_text(finding: &Finding, policy: &Policy, look: &Look) -> String {
    let name = policy.name();
    let Some(refused) = finding.refused else {
        let secret = finding.matched.as_ref().map_or("", |(_, secret)| secret);
        return format!(
            "{} {BOLD}authentic{BOLD:#}: secret {} of {name} matches",
            look.sign(Sign::Good),
            term::clean(secret)
        );
    };
    let mut lines = vec![format!("{}   {name}", refused.code())];
    let sign = look.sign(if finding.is_proven {
        Sign::Bad
    } else {
        Sign::Warning
    });
    for cause in &finding.causes {
        lines.push(format!(
            "{sign} {BOLD}{}{BOLD:#}",
            term::clean(&cause.title())
        ));
    }
    if finding.causes.is_empty() {
        lines.push(format!(
            "{sign} {BOLD}None of the known causes was found.{BOLD:#} Most likely the secret itself is another one."
        ));
    }
    lines.push(String::new());
    if let Some((route, secret)) = &finding.matched {
        lines.push(format!(
            "  matches   secret {} of {}",
            term::clean(secret),
            term::clean(route)
        ));
    }
    lines.push(format!("  tried     {}", tried_words(&finding.tried)));
    match finding.causes.as_slice() {
        [] => lines.push(
            "  then      sign a body with the secret, and compare: hookgate sign --help".to_owned(),
        ),
        causes => lines.extend(
            causes
                .iter()
                .map(|cause| format!("  then      {}", term::clean(&cause.advice(name)))),
        ),
    }
    lines.join("\n")
}

/// Says what was tried.
fn tried_words(tried: &Tried) -> String {
    let parts = [
        (
            tried.own_secrets,
            "secret of the route",
            "secrets of the route",
        ),
        (
            tried.readings,
            "other reading of them",
            "other readings of them",
        ),
        (
            tried.other_secrets,
            "secret of other routes",
            "secrets of other routes",
        ),
        (tried.addresses, "other URL", "other URLs"),
        (
            tried.bodies,
            "other spelling of the body",
            "other spellings of the body",
        ),
        (
            tried.providers,
            "scheme of another provider",
            "schemes of other providers",
        ),
    ];
    let words: Vec<String> = parts
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, one, several)| format!("{count} {}", if count == 1 { one } else { several }))
        .collect();
    let cut = if tried.is_cut {
        "; not all of them together, because the body is large"
    } else {
        ""
    };
    format!("{}{cut}", words.join(", "))
}

/// Renders an explanation as JSON.
fn as_json(finding: &Finding, route: &str) -> serde_json::Value {
    let causes: Vec<_> = finding
        .causes
        .iter()
        .map(|cause| {
            json!({ "code": cause.code(), "title": cause.title(), "advice": cause.advice(route) })
        })
        .collect();
    let Tried {
        own_secrets,
        readings,
        other_secrets,
        bodies,
        addresses,
        providers,
        is_cut,
    } = finding.tried;
    json!({
        "refused": finding.refused.map(|why| why.code()),
        "causes": causes,
        "proven": finding.is_proven,
        "route": finding.matched.as_ref().map(|(route, _)| route),
        "secret": finding.matched.as_ref().map(|(_, secret)| secret),
        "tried": {
            "own_secrets": own_secrets,
            "readings": readings,
            "other_secrets": other_secrets,
            "bodies": bodies,
            "urls": addresses,
            "providers": providers,
            "cut": is_cut,
        },
    })
}

#[cfg(test)]
mod tests;
