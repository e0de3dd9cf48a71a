//! `hookgate explain`: says in plain words why a captured request is refused, and what to do.
use std::path::PathBuf;
use std::time::SystemTime;

use crate::api::actions::Empty;
use crate::api::explain::{Explanation, Tried};
use crate::cli::ask::GateArgs;
use crate::cli::captured;
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::message::{Fault, SentTo};
use crate::cli::policy::{PolicyArgs, quoted};
use crate::cli::term::{self, BOLD, Look, Sign};
use crate::clock::{Clock as _, FrozenClock, SystemClock};
use crate::config::verifier;
use crate::explain::{Question, Subject, explain as search};
use crate::request::{Body, Received, RequestId};

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
    /// The admin listener of the gateway that keeps the request, HOST:PORT or unix:PATH (default: as `hookgate status`).
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// The file with the admin token (default: as `hookgate status`).
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Prints the explanation as a JSON object.
    #[arg(long)]
    json: bool,
    /// The ID of a request that the gateway keeps, as `hookgate status` shows it; or a file with a request: raw HTTP/1.1, an entry of a HAR file,
    /// or a curl command; `-` is stdin.
    request: PathBuf,
}

/// Runs `explain`.
pub(super) fn explain(args: &ExplainArgs) -> Result<Exit, Error> {
    let kept = kept(args)?;
    let explanation = match &kept {
        Some(id) => ask(args, id)?,
        None => search_here(args)?,
    };
    let text = if args.json {
        serde_json::to_string(&explanation)
            .map_err(|error| Error::no("the explanation cannot be written as JSON").cause(error))?
    } else {
        as_text(&explanation, &Look::of_stdout())
    };
    term::print_line(&text)?;
    let when = match explanation.refused.as_deref() {
        Some("signature_mismatch") => Some("Once this is mended, release"),
        Some(_) => None,
        None => Some("Release"),
    };
    if let Some(when) = when.filter(|_| kept.is_some() && !args.json) {
        let route = quoted(&explanation.judged_by);
        term::say(&format!(
            "{when} what was refused: hookgate reverify --route {route}"
        ));
    }
    Ok(
        if explanation.causes.is_empty() && explanation.refused.is_some() {
            Exit::NO
        } else {
            Exit::DONE
        },
    )
}

/// Returns the ID of a request that the gateway keeps, if the argument is one and no file.
fn kept(args: &ExplainArgs) -> Result<Option<RequestId>, Error> {
    let request = args.request.display().to_string();
    if request == "-" || args.request.exists() {
        return Ok(None);
    }
    match RequestId::parse(&request.to_ascii_uppercase()) {
        Some(_) if args.policy.is_given() || args.now.is_some() || args.url.is_some() => {
            Err(Error::usage(
                "with the ID of a request, leave out `--provider`, `--route`, `--url` and `--now`: the gateway knows them",
            ))
        }
        Some(id) => Ok(Some(id)),
        None => Err(Error::usage(format!(
            "`{request}` is neither a file nor the ID of a request"
        ))
        .hint("hookgate explain --help")),
    }
}

/// Asks the gateway that keeps the request.
fn ask(args: &ExplainArgs, id: &RequestId) -> Result<Explanation, Error> {
    let gate = GateArgs::new(
        args.admin.clone(),
        args.policy.config(),
        args.token_file.clone(),
    );
    let client = gate.client()?;
    let target = format!("/-/refusals/{id}/explain");
    context::block_on(client.post(&target, &Empty {}))?
}

/// Explains a request of a file.
fn search_here(args: &ExplainArgs) -> Result<Explanation, Error> {
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
    let finding = search(&Question {
        received: &received,
        params: &params,
        route: Subject {
            name: policy.name(),
            verifier: policy.verifier()?,
        },
        others: &policy.others(),
        providers: &verifier::shapes(),
        own_provider: policy.provider(),
        now,
    });
    Ok(Explanation::new(&finding, policy.name()))
}

/// Renders an explanation for people.
fn as_text(explanation: &Explanation, look: &Look) -> String {
    let name = term::clean(&explanation.judged_by);
    let Some(refused) = &explanation.refused else {
        let secret = explanation.matches.as_ref();
        return format!(
            "{} {BOLD}authentic{BOLD:#}: secret {} of {name} matches",
            look.sign(Sign::Good),
            term::clean(secret.map_or("", |matches| &matches.secret))
        );
    };
    let mut lines = vec![format!("{}   {name}", term::clean(refused))];
    let sign = look.sign(if explanation.proven {
        Sign::Bad
    } else {
        Sign::Warning
    });
    for cause in &explanation.causes {
        lines.push(format!(
            "{sign} {BOLD}{}{BOLD:#}",
            term::clean(&cause.title)
        ));
    }
    if explanation.causes.is_empty() {
        lines.push(format!(
            "{sign} {BOLD}None of the known causes was found.{BOLD:#} Most likely the secret itself is another one."
        ));
    }
    lines.push(String::new());
    if let Some(matches) = &explanation.matches {
        lines.push(format!(
            "  matches   secret {} of {}",
            term::clean(&matches.secret),
            term::clean(&matches.route)
        ));
    }
    lines.push(format!("  tried     {}", tried_words(&explanation.tried)));
    match explanation.causes.as_slice() {
        [] => lines.push(
            "  then      enter the secret anew, at the provider and in the config".to_owned(),
        ),
        causes => lines.extend(
            causes
                .iter()
                .map(|cause| format!("  then      {}", term::clean(&cause.advice))),
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
        (tried.urls, "other URL", "other URLs"),
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
    let cut = if tried.cut {
        "; not all of them together, because the body is large"
    } else {
        ""
    };
    format!("{}{cut}", words.join(", "))
}

#[cfg(test)]
mod tests;
