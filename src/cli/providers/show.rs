//! The page of one preset.
use super::row::{Row, spelled};
use crate::cli::context;
use crate::cli::term::{BOLD, YELLOW};
use crate::config::file::{Facts, OneOrMany, Signature, Verify};
use crate::config::presets::{Known, Preset};
use crate::verify::Covers;

pub(super) fn show(row: &Row<'_>) -> String {
    let Preset { name, provider } = row.preset;
    let (verify, facts) = (&provider.verify, &provider.facts);
    let scheme = [Some(row.scheme()), verify.algorithm.as_deref()]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ");
    let proof = match (row.proof(), &facts.proven_by) {
        ("unproven", _) => {
            format!("{YELLOW}unproven{YELLOW:#}: test it with a live delivery first")
        }
        (_, Some(by)) => format!("proven by {by}"),
        (proof, None) => format!("proven: {proof}"),
    };
    let checked = facts
        .checked
        .as_ref()
        .map(|date| format!(", checked {date}"))
        .unwrap_or_default();
    let mut text = format!("{BOLD}{name}{BOLD:#}   {scheme}, {proof}{checked}\n");
    let mut line = |what: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {what:<15} {value}\n"));
        }
    };
    line("signature", signature(verify));
    if row.scheme() == "hmac" {
        line(
            "signed content",
            verify
                .signed_content
                .as_deref()
                .unwrap_or("{body}")
                .replace('\n', "\\n"),
        );
    }
    line("secret", secret(verify));
    line("timestamp", timestamp(row));
    line("delivery ID", delivery_id(row));
    line("response", response(row));
    line("after a failure", after_failure(row));
    line("bodies", bodies(facts));
    line("refusals", refusals(facts));
    line("handshake", handshake(row));
    line("not covered", not_covered(row.covers));
    line("notes", facts.notes.clone().unwrap_or_default());
    line("in a route", in_a_route(row));
    line("", second_secret(row));
    line("docs", facts.docs.clone().unwrap_or_default());
    text
}

/// Describes the signature: `Stripe-Signature: t=<unix>,v1=<hex>[,v1=…]`.
fn signature(verify: &Verify) -> String {
    if verify.scheme.as_deref() == Some("basic") {
        return "Authorization: Basic <base64 of user:password>".to_owned();
    }
    let Some(signature) = &verify.signature else {
        return "in the header that the route names".to_owned();
    };
    let Signature {
        header,
        query,
        json,
        prefix,
        encoding,
        separator,
        pair,
        ..
    } = signature;
    let location = match (header, query) {
        (Some(headers), _) => format!("{}: ", headers.all().join(" or ")),
        (None, Some(query)) => return format!("query parameter {query}"),
        (None, None) => match json {
            Some(pointer) => format!("{pointer} in the body: "),
            None => "in the header that the route names: ".to_owned(),
        },
    };
    let tag = format!(
        "{}<{}>",
        prefix.as_deref().unwrap_or_default(),
        encoding.as_deref().unwrap_or("token")
    );
    let separator = separator.as_deref().unwrap_or(",");
    let time = verify.timestamp.as_ref();
    let format = time
        .and_then(|time| time.format.as_deref())
        .unwrap_or("unix");
    match (pair, time.and_then(|time| time.pair.as_deref())) {
        (Some(pair), Some(time)) => {
            format!("{location}{time}=<{format}>{separator}{pair}={tag}[{separator}{pair}=…]")
        }
        (Some(pair), None) => format!("{location}{pair}={tag}[{separator}{pair}=…]"),
        (None, _) if signature.separator.is_some() => format!("{location}{tag}[{separator}…]"),
        (None, _) => format!("{location}{tag}"),
    }
}

fn secret(verify: &Verify) -> String {
    let words = |encoding: &str| match encoding {
        "base64" => "base64, decoded",
        "hex" => "hexadecimal, decoded",
        "whsec" => "base64 after whsec_, decoded",
        "whsec_or_utf8" => "base64 after whsec_, decoded; without whsec_ the text itself",
        "nfkd" => "the text in Unicode's NFKD form",
        "after_colon" => "what follows its first colon",
        _ => "the whole text, not decoded",
    };
    let text = match &verify.secret_encoding {
        None if verify.scheme.as_deref() == Some("basic") => "user:password".to_owned(),
        None => words("utf8").to_owned(),
        Some(OneOrMany::One(encoding)) => words(encoding).to_owned(),
        Some(OneOrMany::Many(encodings)) => encodings
            .iter()
            .map(|encoding| words(encoding))
            .collect::<Vec<_>>()
            .join("; or "),
    };
    match &verify.secret_suffix {
        Some(suffix) => format!("{text}, then {suffix}"),
        None => text,
    }
}

fn timestamp(row: &Row<'_>) -> String {
    let Some(time) = &row.preset.provider.verify.timestamp else {
        return String::new();
    };
    if !row.covers.timestamp {
        return "not covered, so not enforced".to_owned();
    }
    let tolerance = row
        .preset
        .provider
        .verify
        .tolerance
        .as_deref()
        .or(time.tolerance.as_deref())
        .unwrap_or("5m");
    format!("covered, tolerance {}", spelled(tolerance))
}

fn delivery_id(row: &Row<'_>) -> String {
    let Some(id) = &row.preset.provider.verify.delivery_id else {
        return "none; duplicates are found by the signed body".to_owned();
    };
    let location = match (&id.header, &id.json, &id.query) {
        (Some(header), ..) => header.all().join(" or "),
        (None, Some(pointer), _) => format!("{pointer} in the body"),
        (None, None, query) => format!("query parameter {}", query.as_deref().unwrap_or_default()),
    };
    let together = "duplicates are found by ID and body together";
    match (row.covers.id, id.with_body == Some(true)) {
        (true, false) => format!("{location}, covered"),
        (true, true) => format!("{location}, covered, but not of one delivery: {together}"),
        (false, _) => format!("{location}, not covered: {together}"),
    }
}

fn response(row: &Row<'_>) -> String {
    let facts = &row.preset.provider.facts;
    let status = facts
        .success_status
        .map_or_else(|| "2xx".to_owned(), |status| status.to_string());
    let within = facts
        .answer_within
        .as_deref()
        .map(|text| format!(" within {}", spelled(text)))
        .unwrap_or_default();
    let retries = facts.retries_for.as_deref().map(spelled);
    let retries = retries
        .map(|text| format!("; retries for {text}, so IDs are remembered {text}"))
        .unwrap_or_default();
    if within.is_empty() && retries.is_empty() && facts.success_status.is_none() {
        String::new()
    } else {
        format!("{status}{within}{retries}")
    }
}

/// Returns how a retry is signed, and the statuses that end the retries.
fn after_failure(row: &Row<'_>) -> String {
    let facts = &row.preset.provider.facts;
    let time = match Known::of(facts.retry_keeps_time.as_deref()) {
        _ if !row.covers.timestamp => None,
        Known::Yes => Some("a retry keeps the time of the first attempt".to_owned()),
        Known::No => Some("a retry is signed with a new time".to_owned()),
        Known::Unknown => {
            Some("unknown whether a retry keeps the time of the first attempt".to_owned())
        }
    };
    let listed = |patterns: &[String]| patterns.join(" and ");
    let stops =
        (!facts.stops_on.is_empty()).then(|| format!("no retry after {}", listed(&facts.stops_on)));
    let disables = (!facts.disables_on.is_empty())
        .then(|| format!("disables the endpoint after {}", listed(&facts.disables_on)));
    [time, stops, disables]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; ")
}

/// Returns whether two events can have the same bytes.
fn bodies(facts: &Facts) -> String {
    match Known::of(facts.bodies_repeat.as_deref()) {
        Known::Yes => "two events can have the same bytes".to_owned(),
        Known::No => "two events never have the same bytes".to_owned(),
        Known::Unknown => "unknown whether two events can have the same bytes".to_owned(),
    }
}

/// Returns how a request that is not authentic is answered, where the preset says so.
fn refusals(facts: &Facts) -> String {
    let body = if facts.refused_body.as_deref() == Some("empty") {
        " without a body"
    } else {
        ""
    };
    match (facts.refused_status, body) {
        (None, "") => String::new(),
        (status, body) => format!(
            "{}{body} for requests that are not authentic",
            status.unwrap_or(401)
        ),
    }
}

/// Returns the answer of the gateway, then the provider's own description.
fn handshake(row: &Row<'_>) -> String {
    let value = row
        .preset
        .provider
        .facts
        .handshake
        .clone()
        .unwrap_or_default();
    let kinds = row.handshakes().join(" and ");
    if kinds.is_empty() {
        value
    } else {
        format!("{kinds}, answered by the gateway: {value}")
    }
}

fn not_covered(covers: Covers) -> String {
    let parts = [
        (covers.body || covers.fields, "body"),
        (covers.timestamp, "time"),
        (covers.path || covers.url, "path"),
        (covers.query || covers.url, "query"),
        (covers.method, "method"),
    ];
    let mut parts: Vec<&str> = parts
        .into_iter()
        .filter(|(covered, _)| !covered)
        .map(|(_, name)| name)
        .collect();
    parts.push(if covers.headers {
        "other headers"
    } else {
        "headers"
    });
    parts.join(", ")
}

fn in_a_route(row: &Row<'_>) -> String {
    let variable = row
        .preset
        .name
        .to_ascii_uppercase()
        .replace(['-', '.'], "_");
    let signature = if context::shape(row.preset, None).is_ok() {
        ""
    } else {
        "signature: { header: X-YOUR-HEADER }, "
    };
    format!(
        "{BOLD}verify: {{ provider: {}, {signature}secrets: [{{ env: {variable}_SECRET }}] }}{BOLD:#}",
        row.preset.name
    )
}

fn second_secret(row: &Row<'_>) -> String {
    let variable = row
        .preset
        .name
        .to_ascii_uppercase()
        .replace(['-', '.'], "_");
    let text =
        format!("{BOLD}handshake: {{ verify_token: {{ env: {variable}_VERIFY_TOKEN }} }}{BOLD:#}");
    let mut handshakes = row.written_handshakes().iter();
    if handshakes.any(|handshake| handshake.guard.is_some()) {
        text
    } else {
        String::new()
    }
}
