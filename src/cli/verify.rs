//! `hookgate verify`: checks a recorded request as the gateway does, offline.
use std::path::PathBuf;
use std::time::SystemTime;

use serde_json::json;

use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::message::{Fault, Message, SentTo};
use crate::cli::policy::{Policy, PolicyArgs};
use crate::cli::term::{self, BOLD, Look, Sign};
use crate::clock::{Clock as _, FrozenClock, SystemClock, rfc3339};
use crate::refusal::Refusal;
use crate::request::{Body, Received};
use crate::verify::Covers;

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    policy: PolicyArgs,
    /// The URL that the sender used, if the signature covers it or the request does not contain it.
    #[arg(long, value_parser = SentTo::parse)]
    url: Option<SentTo>,
    /// The time to judge by: unix seconds or RFC 3339 (default: now).
    #[arg(long, value_name = "TIME", value_parser = context::moment, allow_negative_numbers = true)]
    now: Option<SystemTime>,
    /// Prints the verdict as a JSON object.
    #[arg(long)]
    json: bool,
    /// A file with the raw HTTP/1.1 request, head and body; `-` is stdin.
    request: PathBuf,
}

/// The verdict on a request.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Authentic {
        secret: String,
        covers: Covers,
        delivery_id: Option<String>,
        event_type: Option<String>,
        signed_at: Option<SystemTime>,
    },
    Refused {
        code: &'static str,
        message: String,
    },
}

/// Runs `verify`.
pub(super) fn verify(args: &VerifyArgs) -> Result<Exit, Error> {
    let policy = args.policy.read()?;
    let bytes = context::read(&args.request, "the request")?;
    let verdict = judge(&policy, &bytes, args.url.as_ref(), args.now)?;
    let text = if args.json {
        verdict.json().to_string()
    } else {
        verdict.text(&Look::of_stdout())
    };
    term::print_line(&text)?;
    Ok(if matches!(verdict, Verdict::Authentic { .. }) {
        Exit::DONE
    } else {
        Exit::NO
    })
}

fn judge(
    policy: &Policy,
    bytes: &[u8],
    url: Option<&SentTo>,
    now: Option<SystemTime>,
) -> Result<Verdict, Error> {
    let now = now.map_or_else(|| SystemClock.now(), |now| FrozenClock(now).now());
    let verifier = policy.verifier()?;
    let read = Message::parse(bytes).and_then(|message| {
        let head = message.head(url, now)?;
        Ok((message, head))
    });
    let (message, head) = match read {
        Ok(read) => read,
        Err(Fault::Unreadable(why)) => {
            return Err(Error::usage("the request cannot be read").why(why));
        }
        Err(Fault::Malformed(why)) => {
            return Ok(Verdict::Refused {
                code: Refusal::Malformed.code(),
                message: why.to_owned(),
            });
        }
    };
    if message.lacks_host() && url.is_none() {
        term::warn("the request has no `Host`; over HTTP/1.1 the gateway refuses it as malformed");
    }
    let params = policy.params(&head);
    let received = Received {
        head,
        body: Body::from(message.body),
    };
    Ok(match verifier.verify(received, &params, now) {
        Ok(authentic) => Verdict::Authentic {
            secret: authentic.secret().to_string(),
            covers: authentic.covers(),
            delivery_id: authentic.delivery_id().map(str::to_owned),
            event_type: verifier.event_type(authentic.received()),
            signed_at: authentic.signed_at(),
        },
        Err(refused) => Verdict::Refused {
            code: refused.why.code(),
            message: refused.why.to_string(),
        },
    })
}

impl Verdict {
    fn json(&self) -> serde_json::Value {
        match self {
            Self::Authentic {
                secret,
                covers,
                delivery_id,
                event_type,
                signed_at,
            } => json!({
                "verdict": "authentic",
                "secret": secret,
                "covers": covered(*covers),
                "delivery_id": delivery_id,
                "event_type": event_type,
                "signed_at": signed_at.map(rfc3339),
            }),
            Self::Refused { code, message } => {
                json!({ "verdict": "refused", "code": code, "message": message })
            }
        }
    }

    /// Renders the verdict: `✓ authentic, secret-1; covers body; delivery ID …`.
    fn text(&self, look: &Look) -> String {
        match self {
            Self::Authentic {
                secret,
                covers,
                delivery_id,
                event_type,
                signed_at,
            } => {
                let sign = look.sign(Sign::Good);
                // an unnamed secret is already called `secret-1`
                let word = if secret.starts_with("secret-") {
                    ""
                } else {
                    "secret "
                };
                let mut text = format!(
                    "{sign} {BOLD}authentic{BOLD:#}, {word}{}; covers {covers}",
                    term::clean(secret)
                );
                if let Some(id) = delivery_id {
                    text.push_str(&format!("; delivery ID {}", term::clean(id)));
                }
                if let Some(event_type) = event_type {
                    text.push_str(&format!("; event type {}", term::clean(event_type)));
                }
                if let Some(at) = signed_at {
                    text.push_str(&format!("; signed at {}", rfc3339(*at)));
                }
                text
            }
            Self::Refused { code, message } => {
                format!("{} {BOLD}{code}{BOLD:#}: {message}", look.sign(Sign::Bad))
            }
        }
    }
}

/// Returns the names of the covered parts.
pub(super) fn covered(covers: Covers) -> Vec<String> {
    if covers.nothing() {
        Vec::new()
    } else {
        covers
            .header_value()
            .split(',')
            .map(str::to_owned)
            .collect()
    }
}
