//! `hookgate providers`: what is built in, and what each preset does.
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::table::{Align, Cell, Table, cut};
use crate::cli::term::{self, BOLD, GREEN, Look, PLAIN, YELLOW};
use crate::cli::verify::covered;
use crate::config::compile::handshake::kind;
use crate::config::file::{Facts, OneOrMany, Signature, Verify};
use crate::provider::{Catalogue, Known, Preset};
use crate::units;
use crate::verify::Covers;

/// How much of a handshake a list shows on a terminal.
const HANDSHAKE: usize = 24;

/// Arguments of `providers`.
#[derive(Debug, clap::Args)]
pub(super) struct ProvidersArgs {
    #[command(subcommand)]
    command: ProvidersCommand,
}

#[derive(Debug, Subcommand)]
enum ProvidersCommand {
    /// Lists the presets.
    #[command(after_help = "Examples:\n  hookgate providers list --proof sdk\n  hookgate providers list --json | jq -r .name")]
    List {
        /// Only those proven so.
        #[arg(long)]
        proof: Option<Proof>,
        /// Prints one JSON object a line.
        #[arg(long, conflicts_with = "markdown")]
        json: bool,
        /// Prints the table of docs/providers.md.
        #[arg(long)]
        markdown: bool,
    },
    /// Shows one preset.
    #[command(after_help = "Examples:\n  hookgate providers show stripe\n  hookgate providers show github --json | jq .facts")]
    Show {
        /// Its name.
        name: String,
        /// Prints a JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Who judged the requests that a preset is tested with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Proof {
    Sdk,
    ThirdParty,
    Published,
    Library,
    Unproven,
}

impl Proof {
    fn name(self) -> &'static str {
        match self {
            Self::Sdk => "sdk",
            Self::ThirdParty => "third-party",
            Self::Published => "published",
            Self::Library => "library",
            Self::Unproven => "unproven",
        }
    }
}

/// A preset as it is shown.
struct Row<'a> {
    preset: &'a Preset,
    /// Nothing, if the preset leaves a token's header to the route.
    covers: Covers,
    /// Whether a delivery that waited can be signed anew.
    resignable: bool,
}

impl<'a> Row<'a> {
    fn of(preset: &'a Preset) -> Self {
        let shape = context::shape(preset, None).ok();
        let resignable = shape.as_ref().is_some_and(|shape| shape.resignable().is_ok());
        Self { preset, covers: shape.map(|shape| shape.covers()).unwrap_or_default(), resignable }
    }

    fn proof(&self) -> &str {
        self.preset.provider.facts.proof.as_deref().unwrap_or("unproven")
    }

    fn scheme(&self) -> &str {
        self.preset.provider.verify.scheme.as_deref().unwrap_or_default()
    }

    fn delivery_id(&self) -> String {
        let Some(id) = &self.preset.provider.verify.delivery_id else { return "content".to_owned() };
        let place = match (&id.header, &id.json, &id.query) {
            (Some(header), ..) => format!("header:{}", header.all().join(" or ")),
            (None, Some(pointer), _) => format!("json:{pointer}"),
            (None, None, Some(name)) => format!("query:{name}"),
            (None, None, None) => return "content".to_owned(),
        };
        if id.with_body == Some(true) { format!("{place} with the body") } else { place }
    }

    /// The kinds of its handshakes that the gate answers.
    fn handshakes(&self) -> Vec<&'static str> {
        let written = self.preset.provider.handshake.as_ref().map(OneOrMany::all).unwrap_or_default();
        written.iter().map(kind).collect()
    }

    fn retries(&self) -> String {
        self.preset.provider.facts.retries_for.as_deref().map_or_else(String::new, |text| format!("for {}", spelled(text)))
    }

    fn json(&self) -> Value {
        let Preset { name, provider } = self.preset;
        json!({
            "name": name,
            "title": self.preset.title(),
            "scheme": self.scheme(),
            "proof": self.proof(),
            "covers": covered(self.covers),
            "resignable": self.resignable,
            "delivery_id": provider.verify.delivery_id,
            "event_type": provider.verify.event_type,
            "handshakes": self.handshakes(),
            "facts": provider.facts,
        })
    }
}

/// Runs `providers`.
pub(super) fn providers(args: &ProvidersArgs) -> Result<Exit, Error> {
    let catalogue = Catalogue::built_in();
    match &args.command {
        ProvidersCommand::List { proof, json, markdown } => list(catalogue, *proof, *json, *markdown),
        ProvidersCommand::Show { name, json } => {
            let preset = context::preset(catalogue, name)?;
            let row = Row::of(&preset);
            if *json {
                term::print_line(&row.json().to_string())?;
            } else {
                term::print(&show(&row))?;
            }
            Ok(Exit::DONE)
        }
    }
}

fn list(catalogue: &Catalogue, proof: Option<Proof>, json: bool, markdown: bool) -> Result<Exit, Error> {
    let all = catalogue.presets().count();
    let rows: Vec<Row<'_>> = catalogue.presets().map(|preset| Row::of(preset)).collect();
    let rows: Vec<Row<'_>> = rows.into_iter().filter(|row| proof.is_none_or(|proof| row.proof() == proof.name())).collect();
    if json {
        term::print(&rows.iter().map(|row| format!("{}\n", row.json())).collect::<String>())?;
        return Ok(Exit::DONE);
    }
    if markdown {
        term::print(&markdown_table(&rows))?;
        return Ok(Exit::DONE);
    }
    let look = Look::of_stdout();
    term::print(&table(&rows, &look))?;
    term::say(&footer(&rows, all, proof));
    Ok(Exit::DONE)
}

fn table(rows: &[Row<'_>], look: &Look) -> String {
    let columns = ["NAME", "SCHEME", "PROOF", "COVERS", "RETRIES", "HANDSHAKE"].map(|title| (title, Align::Left));
    let mut table = Table::new(&columns, 0);
    for row in rows {
        let style = match row.proof() {
            "unproven" => YELLOW,
            "sdk" => GREEN,
            _ => PLAIN,
        };
        let covers = row.covers.to_string();
        let covers = Cell::styled(covers, if row.covers.nothing() { YELLOW } else { PLAIN });
        let retries = Some(row.retries()).filter(|text| !text.is_empty()).unwrap_or_else(|| look.none().to_owned());
        let handshake = row.preset.provider.facts.handshake.as_deref().unwrap_or_else(|| look.none());
        // The last column would keep its whole sentence, and what is covered would give way to it.
        let handshake = cut(handshake, if look.width.is_some() { HANDSHAKE } else { usize::MAX }, look);
        table.row([
            Cell::styled(&*row.preset.name, BOLD),
            row.scheme().into(),
            Cell::styled(row.proof(), style),
            covers,
            retries.into(),
            handshake.into(),
        ]);
    }
    table.render(look)
}

/// How many are shown, and what to type for others.
fn footer(rows: &[Row<'_>], all: usize, proof: Option<Proof>) -> String {
    let unproven = rows.iter().filter(|row| row.proof() == "unproven").count();
    match proof {
        Some(_) => format!("{} of {all}; hookgate providers show NAME says what one does", rows.len()),
        None => format!("{all}, {} proven, {unproven} not; hookgate providers show NAME says what one does", all - unproven),
    }
}

/// The table of `docs/providers.md`.
fn markdown_table(rows: &[Row<'_>]) -> String {
    let head = "| name | scheme | proof | covers | resign | delivery ID | bodies repeat |\n|---|---|---|---|---|---|---|\n".to_owned();
    rows.iter().fold(head, |text, row| {
        let covers = [
            (row.covers.body, "body"),
            (row.covers.fields, "fields of the body"),
            (row.covers.timestamp, "time"),
            (row.covers.id, "ID"),
            (row.covers.url, "URL"),
            (row.covers.method, "method"),
            (row.covers.path, "path"),
            (row.covers.query, "query"),
            (row.covers.headers, "headers"),
        ];
        let covers: Vec<&str> = covers.into_iter().filter(|(covered, _)| *covered).map(|(_, name)| name).collect();
        let covers = if covers.is_empty() { "nothing".to_owned() } else { covers.join(", ") };
        let resign = if row.resignable { "yes" } else { "no" };
        let repeat = row.preset.provider.facts.bodies_repeat.as_deref().unwrap_or("unknown");
        let (name, scheme, proof, id) = (&row.preset.name, row.scheme(), row.proof(), row.delivery_id());
        format!("{text}| {name} | {scheme} | {proof} | {covers} | {resign} | {id} | {repeat} |\n")
    })
}

fn show(row: &Row<'_>) -> String {
    let Preset { name, provider } = row.preset;
    let (verify, facts) = (&provider.verify, &provider.facts);
    let scheme = [Some(row.scheme()), verify.algorithm.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let proof = match (row.proof(), &facts.proven_by) {
        ("unproven", _) => format!("{YELLOW}unproven{YELLOW:#}: try it with a live delivery first"),
        (_, Some(by)) => format!("proven by {by}"),
        (proof, None) => format!("proven: {proof}"),
    };
    let checked = facts.checked.as_ref().map(|date| format!(", checked {date}")).unwrap_or_default();
    let mut text = format!("{BOLD}{name}{BOLD:#}   {scheme}, {proof}{checked}\n");
    let mut line = |what: &str, said: String| {
        if !said.is_empty() {
            text.push_str(&format!("  {what:<15} {said}\n"));
        }
    };
    line("signature", signature(verify));
    if row.scheme() == "hmac" {
        line("signed content", verify.signed_content.as_deref().unwrap_or("{body}").replace('\n', "\\n"));
    }
    line("secret", secret(verify));
    line("timestamp", timestamp(row));
    line("delivery ID", delivery_id(row));
    line("answer wanted", wanted(row));
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

/// `Stripe-Signature: t=<unix>,v1=<hex>[,v1=…]`
fn signature(verify: &Verify) -> String {
    if verify.scheme.as_deref() == Some("basic") {
        return "Authorization: Basic <base64 of user:password>".to_owned();
    }
    let Some(signature) = &verify.signature else { return "in the header that the route names".to_owned() };
    let Signature { header, query, json, prefix, encoding, separator, pair, .. } = signature;
    let place = match (header, query) {
        (Some(headers), _) => format!("{}: ", headers.all().join(" or ")),
        (None, Some(query)) => return format!("query parameter {query}"),
        (None, None) => match json {
            Some(pointer) => format!("{pointer} in the body: "),
            None => "in the header that the route names: ".to_owned(),
        },
    };
    let tag = format!("{}<{}>", prefix.as_deref().unwrap_or_default(), encoding.as_deref().unwrap_or("token"));
    let separator = separator.as_deref().unwrap_or(",");
    let time = verify.timestamp.as_ref();
    let format = time.and_then(|time| time.format.as_deref()).unwrap_or("unix");
    match (pair, time.and_then(|time| time.pair.as_deref())) {
        (Some(pair), Some(time)) => format!("{place}{time}=<{format}>{separator}{pair}={tag}[{separator}{pair}=…]"),
        (Some(pair), None) => format!("{place}{pair}={tag}[{separator}{pair}=…]"),
        (None, _) if signature.separator.is_some() => format!("{place}{tag}[{separator}…]"),
        (None, _) => format!("{place}{tag}"),
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
        Some(OneOrMany::Many(encodings)) => encodings.iter().map(|encoding| words(encoding)).collect::<Vec<_>>().join("; or "),
    };
    match &verify.secret_suffix {
        Some(suffix) => format!("{text}, then {suffix}"),
        None => text,
    }
}

fn timestamp(row: &Row<'_>) -> String {
    let Some(time) = &row.preset.provider.verify.timestamp else { return String::new() };
    if !row.covers.timestamp {
        return "not covered, so not enforced".to_owned();
    }
    let tolerance = row.preset.provider.verify.tolerance.as_deref().or(time.tolerance.as_deref()).unwrap_or("5m");
    format!("covered, tolerance {}", spelled(tolerance))
}

fn delivery_id(row: &Row<'_>) -> String {
    let Some(id) = &row.preset.provider.verify.delivery_id else { return "none; duplicates are known by the signed body".to_owned() };
    let place = match (&id.header, &id.json, &id.query) {
        (Some(header), ..) => header.all().join(" or "),
        (None, Some(pointer), _) => format!("{pointer} in the body"),
        (None, None, query) => format!("query parameter {}", query.as_deref().unwrap_or_default()),
    };
    let together = "duplicates are known by ID and body together";
    match (row.covers.id, id.with_body == Some(true)) {
        (true, false) => format!("{place}, covered"),
        (true, true) => format!("{place}, covered, but not of one delivery: {together}"),
        (false, _) => format!("{place}, not covered: {together}"),
    }
}

fn wanted(row: &Row<'_>) -> String {
    let facts = &row.preset.provider.facts;
    let status = facts.success_status.map_or_else(|| "2xx".to_owned(), |status| status.to_string());
    let within = facts.answer_within.as_deref().map(|text| format!(" within {}", spelled(text))).unwrap_or_default();
    let retries = facts.retries_for.as_deref().map(spelled);
    let retries = retries.map(|text| format!("; retries for {text}, so IDs are remembered {text}")).unwrap_or_default();
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
        Known::Unknown => Some("unknown whether a retry keeps the time of the first attempt".to_owned()),
    };
    let listed = |patterns: &[String]| patterns.join(" and ");
    let stops = (!facts.stops_on.is_empty()).then(|| format!("no retry after {}", listed(&facts.stops_on)));
    let disables = (!facts.disables_on.is_empty()).then(|| format!("disables the endpoint after {}", listed(&facts.disables_on)));
    [time, stops, disables].into_iter().flatten().collect::<Vec<_>>().join("; ")
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
    let body = if facts.refused_body.as_deref() == Some("empty") { " without a body" } else { "" };
    match (facts.refused_status, body) {
        (None, "") => String::new(),
        (status, body) => format!("{}{body} for what is not authentic", status.unwrap_or(401)),
    }
}

/// What the gate answers, then how the provider tells it.
fn handshake(row: &Row<'_>) -> String {
    let said = row.preset.provider.facts.handshake.clone().unwrap_or_default();
    let kinds = row.handshakes().join(" and ");
    if kinds.is_empty() { said } else { format!("{kinds}, answered by the gate: {said}") }
}

fn not_covered(covers: Covers) -> String {
    let parts = [
        (covers.body || covers.fields, "body"),
        (covers.timestamp, "time"),
        (covers.path || covers.url, "path"),
        (covers.query || covers.url, "query"),
        (covers.method, "method"),
    ];
    let mut parts: Vec<&str> = parts.into_iter().filter(|(covered, _)| !covered).map(|(_, name)| name).collect();
    parts.push(if covers.headers { "other headers" } else { "headers" });
    parts.join(", ")
}

fn in_a_route(row: &Row<'_>) -> String {
    let variable = row.preset.name.to_ascii_uppercase().replace(['-', '.'], "_");
    let signature = if context::shape(row.preset, None).is_ok() { "" } else { "signature: { header: X-YOUR-HEADER }, " };
    format!("{BOLD}verify: {{ provider: {}, {signature}secrets: [{{ env: {variable}_SECRET }}] }}{BOLD:#}", row.preset.name)
}

fn second_secret(row: &Row<'_>) -> String {
    let written = row.preset.provider.handshake.as_ref().map(OneOrMany::all).unwrap_or_default();
    let variable = row.preset.name.to_ascii_uppercase().replace(['-', '.'], "_");
    let text = format!("{BOLD}handshake: {{ verify_token: {{ env: {variable}_VERIFY_TOKEN }} }}{BOLD:#}");
    if written.iter().any(|one| one.guard.is_some()) { text } else { String::new() }
}

/// `3d` as `3 d`
fn spelled(text: &str) -> String {
    units::duration(text).map(term::long_age).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests;
