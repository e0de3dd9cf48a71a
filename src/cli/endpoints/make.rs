//! `hookgate endpoints create` and `edit`.
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use http::Method;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::fields::FieldsArgs;
use super::name::EndpointName;
use super::secrets;
use super::shown::unknown;
use crate::cli::error::{Error, Exit};
use crate::cli::outbound_client::{OutboundClient, within};
use crate::cli::policy::quoted;
use crate::cli::term::{self, BOLD, Look, Sign};

/// Arguments of `endpoints create`.
#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// The tenant.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    tenant: String,
    /// The URL: `https`, a public host, port 443 unless the config allows others.
    #[arg(long)]
    url: String,
    #[command(flatten)]
    fields: FieldsArgs,
    /// A file with its secret (default: the gateway makes one and prints it).
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Prints a JSON object, with the secret.
    #[arg(long)]
    json: bool,
}

/// Arguments of `endpoints edit`.
#[derive(Debug, clap::Args)]
pub(super) struct EditArgs {
    #[command(flatten)]
    name: EndpointName,
    /// The new URL.
    #[arg(long)]
    url: Option<String>,
    #[command(flatten)]
    fields: FieldsArgs,
    /// Settings that get their default: `rate`, `headers` and so on. `versions` moves the pins of all types to their newest version.
    #[arg(long, value_name = "SETTING,…", value_delimiter = ',')]
    unset: Vec<String>,
    /// Prints a JSON object.
    #[arg(long)]
    json: bool,
}

/// An endpoint that was made, as the API shows it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Made {
    id: String,
    secret: Option<String>,
    unknown_types: Vec<String>,
}

impl Made {
    /// Warns of patterns that match nothing.
    fn warn(&self) {
        if let Some(words) = unknown(&self.unknown_types) {
            term::warn(&words);
        }
    }
}

/// Runs `endpoints create`.
pub(super) async fn create(client: &OutboundClient, args: &CreateArgs) -> Result<Exit, Error> {
    let mut fields = args.fields.fields()?;
    fields.insert("url".to_owned(), args.url.as_str().into());
    if let Some(path) = &args.secret_file {
        fields.insert("secret".to_owned(), secrets::read(path)?);
    }
    let target = within(&args.tenant, &["endpoints"]);
    let json: Box<RawValue> = client.change(Method::POST, &target, &fields).await?;
    if args.json {
        term::print_line(json.get())?;
        return Ok(Exit::DONE);
    }
    let made: Made = client.parse(json.get().as_bytes())?;
    let id = term::clean(&made.id);
    let look = Look::of_stdout();
    let line = format!(
        "{} endpoint {BOLD}{id}{BOLD:#} is made",
        look.sign(Sign::Good)
    );
    match &made.secret {
        Some(secret) => {
            term::say(&format!("{line}; its secret is shown this once:"));
            term::print_line(secret)?;
        }
        None => term::print_line(&line)?,
    }
    made.warn();
    term::say(&format!(
        "next: hookgate endpoints show {} {id}{}",
        term::clean(&quoted(&args.tenant)),
        client.options()
    ));
    Ok(Exit::DONE)
}

/// Runs `endpoints edit`.
pub(super) async fn edit(client: &OutboundClient, args: &EditArgs) -> Result<Exit, Error> {
    let mut fields = args.fields.fields()?;
    if let Some(url) = &args.url {
        fields.insert("url".to_owned(), url.as_str().into());
    }
    for name in &args.unset {
        if matches!(&**name, "secret" | "url") {
            let error = format!("`{name}` has no default");
            return Err(Error::usage(error).hint("hookgate endpoints rotate, or --url URL"));
        }
        fields.insert(name.replace('-', "_"), Value::Null);
    }
    if fields.is_empty() {
        return Err(Error::usage("no setting is given").hint(
            "--url URL, --types TYPE,…, --rate RATE and so on; hookgate endpoints edit --help lists them",
        ));
    }
    let target = args.name.target(&[]);
    let json: Box<RawValue> = client.change(Method::PATCH, &target, &fields).await?;
    if args.json {
        term::print_line(json.get())?;
        return Ok(Exit::DONE);
    }
    let changed: Made = client.parse(json.get().as_bytes())?;
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    term::print_line(&format!(
        "{} endpoint {BOLD}{}{BOLD:#} is changed: {}",
        Look::of_stdout().sign(Sign::Good),
        term::clean(&changed.id),
        term::clean(&names.join(", "))
    ))?;
    changed.warn();
    Ok(Exit::DONE)
}
