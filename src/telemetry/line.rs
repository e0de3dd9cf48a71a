//! The log line of a request.
use std::fmt::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde::Serialize;

use super::json_line::JsonLine;
use super::log_policy::LogFormat;
use super::record::{Cut, Ended, Facts};
use super::shown::shown;
use crate::clock::rfc3339;
use crate::units::saturating;

/// Characters of a method that are shown: senders make up their own.
pub(super) const METHOD_SHOWN: usize = 32;

/// Characters of a certificate's name that are shown.
const SUBJECT_SHOWN: usize = 128;

/// The fields of a line, in their order.
struct Line<'a> {
    ts: String,
    level: &'static str,
    msg: &'static str,
    route: Option<&'a str>,
    provider: Option<&'a str>,
    method: &'a str,
    path: &'a str,
    status: Option<u16>,
    code: Option<&'static str>,
    why: Option<&'a str>,
    would_refuse: Option<&'static str>,
    from: Option<&'static str>,
    client: IpAddr,
    client_subject: Option<&'a str>,
    request_id: &'a str,
    sender_request_id: Option<&'a str>,
    secret: Option<&'a str>,
    delivery_id: Option<&'a str>,
    event: Option<&'a str>,
    skew_ms: Option<i64>,
    bytes: u64,
    answer_bytes: Option<u64>,
    verify_us: Option<u64>,
    upstream_ms: Option<u64>,
    attempts: Option<u32>,
}

/// Formats the line of a request that ended at `at`, with its newline.
pub(super) fn of_request(
    format: LogFormat,
    facts: &Facts,
    ended: Ended,
    at: SystemTime,
) -> Vec<u8> {
    let (level, status, code) = match ended {
        Ended::Forwarded(status) if facts.would_be().is_some() => ("warn", Some(status), None),
        Ended::Forwarded(status) => ("info", Some(status), None),
        Ended::Duplicate(status) => ("info", Some(status), Some("duplicate")),
        Ended::Accepted(status, acceptance) => ("info", Some(status), Some(acceptance.code())),
        Ended::Handshake => ("info", Some(StatusCode::OK), Some("handshake")),
        Ended::Passed(status) => ("info", Some(status), None),
        Ended::Cut(status, cut) => (
            if cut == Cut::BrokenOff {
                "warn"
            } else {
                "info"
            },
            Some(status),
            Some(cut.code()),
        ),
        Ended::Refused { refusal, status } => ("warn", Some(status), Some(refusal.code())),
        Ended::Abandoned => ("warn", None, Some("abandoned")),
    };
    let method = shown(facts.method.as_str().as_bytes(), METHOD_SHOWN);
    let subject = facts
        .certificate
        .as_ref()
        .map(|certificate| shown(certificate.subject().as_bytes(), SUBJECT_SHOWN));
    let why = if matches!(ended, Ended::Refused { .. }) {
        facts.reason()
    } else {
        facts.logged_reason()
    };
    let line = Line {
        ts: rfc3339(at),
        level,
        msg: "request",
        route: facts.route.as_deref(),
        provider: facts.provider.as_deref(),
        method: &method,
        path: &facts.path,
        status: status.map(|status| status.as_u16()),
        code,
        why: why.as_deref(),
        would_refuse: facts.would_be(),
        from: facts.from_quarantine.then_some("quarantine"),
        client: facts.client.ip,
        client_subject: subject.as_deref().filter(|subject| !subject.is_empty()),
        request_id: facts.request_id.as_str(),
        sender_request_id: facts.sender_request_id.as_deref(),
        secret: facts.secret.as_deref(),
        delivery_id: facts.delivery_id.as_deref(),
        event: facts.event_type.as_deref(),
        skew_ms: facts.skew_ms,
        bytes: facts.body_bytes,
        answer_bytes: facts.answer_bytes,
        verify_us: facts.verify_time.map(|took| saturating(took.as_micros())),
        upstream_ms: facts.upstream_time.map(|took| saturating(took.as_millis())),
        attempts: (facts.attempts > 0).then_some(facts.attempts),
    };
    match format {
        LogFormat::Json => json_request(&line),
        LogFormat::Pretty => pretty(&line),
    }
}

/// Formats the line that stands for `count` refusals of the second before, with its newline.
pub(super) fn of_held(
    format: LogFormat,
    route: &str,
    code: &str,
    count: u64,
    at: SystemTime,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct RepeatedRefusal<'a> {
        ts: String,
        level: &'static str,
        msg: &'static str,
        route: &'a str,
        code: &'a str,
        count: u64,
    }
    let line = RepeatedRefusal {
        ts: rfc3339(at),
        level: "warn",
        msg: "more requests like this",
        route,
        code,
        count,
    };
    match format {
        LogFormat::Json => json(&line),
        LogFormat::Pretty => format!(
            "{} WARN  {} route={route} code={code} count={count}\n",
            line.ts, line.msg
        )
        .into_bytes(),
    }
}

fn json_request(line: &Line<'_>) -> Vec<u8> {
    // no `..`: a new field must be written
    let Line {
        ts,
        level,
        msg,
        route,
        provider,
        method,
        path,
        status,
        code,
        why,
        would_refuse,
        from,
        client,
        client_subject,
        request_id,
        sender_request_id,
        secret,
        delivery_id,
        event,
        skew_ms,
        bytes,
        answer_bytes,
        verify_us,
        upstream_ms,
        attempts,
    } = line;
    let mut json = JsonLine::new("ts", ts);
    json.text("level", *level);
    json.text("msg", *msg);
    json.text("route", *route);
    json.text("provider", *provider);
    json.text("method", *method);
    json.text("path", *path);
    json.number("status", status.map(u64::from));
    json.text("code", *code);
    json.text("why", *why);
    json.text("would_refuse", *would_refuse);
    json.text("from", *from);
    json.ip("client", *client);
    json.text("client_subject", *client_subject);
    json.text("request_id", *request_id);
    json.text("sender_request_id", *sender_request_id);
    json.text("secret", *secret);
    json.text("delivery_id", *delivery_id);
    json.text("event", *event);
    json.signed("skew_ms", *skew_ms);
    json.number("bytes", *bytes);
    json.number("answer_bytes", *answer_bytes);
    json.number("verify_us", *verify_us);
    json.number("upstream_ms", *upstream_ms);
    json.number("attempts", attempts.map(u64::from));
    json.end()
}

pub(super) fn json(line: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// Appends a field to a line for people. A value with blanks is quoted, so that a blank does not look like its end.
pub(super) fn push_field(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    if value.contains(|c: char| c == ' ' || c == '"' || c.is_control()) {
        text.push_str(&format!("{value:?}"));
    } else {
        text.push_str(value);
    }
}

fn pretty(line: &Line<'_>) -> Vec<u8> {
    let mut text = format!(
        "{} {:5} {} {}",
        line.ts,
        line.level.to_uppercase(),
        line.method,
        line.path
    );
    let status = line.status.map(|status| status.to_string());
    let more = [
        (" ", status.as_deref()),
        (" ", line.code),
        (" why=", line.why),
        (" would_refuse=", line.would_refuse),
        (" from=", line.from),
        (" route=", line.route),
        (" provider=", line.provider),
        (" secret=", line.secret),
        (" delivery_id=", line.delivery_id),
        (" event=", line.event),
        (" client_subject=", line.client_subject),
    ];
    for (name, value) in more {
        if let Some(value) = value {
            push_field(&mut text, name, value);
        }
    }
    let mut tail = || {
        write!(
            text,
            " client={} request_id={} bytes={}",
            line.client, line.request_id, line.bytes
        )?;
        if let Some(bytes) = line.answer_bytes {
            write!(text, " answer_bytes={bytes}")?;
        }
        if let Some(took) = line.verify_us {
            write!(text, " verify={:?}", Duration::from_micros(took))?;
        }
        if let Some(took) = line.upstream_ms {
            write!(text, " upstream={took}ms")?;
        }
        std::fmt::Result::Ok(())
    };
    // writing to a string does not fail
    tail().unwrap_or_default();
    text.push('\n');
    text.into_bytes()
}
