//! `hookgate endpoints rotate`: gives an endpoint a new secret.
use std::path::{Path, PathBuf};

use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::fields::seconds;
use super::name::EndpointName;
use super::shown::time;
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::outbound_client::OutboundClient;
use crate::cli::policy;
use crate::cli::term::{self, BOLD, Look, Sign};

/// Arguments of `endpoints rotate`.
#[derive(Debug, clap::Args)]
pub(super) struct RotateArgs {
    #[command(flatten)]
    name: EndpointName,
    /// The time for which the old secrets stay valid, up to 7d (default 24h). 0s ends them at once.
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    overlap: Option<u64>,
    /// A file with the new secret (default: the gateway makes one and prints it).
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The name of the new secret (default: the date).
    #[arg(long = "name", value_name = "NAME")]
    secret_name: Option<String>,
    /// Prints a JSON object, with the secret.
    #[arg(long)]
    json: bool,
}

/// A new secret, as the API shows it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct NewSecret {
    name: String,
    secret: Option<String>,
    signs_from: String,
    old_until: Option<String>,
}

/// Reads a secret for a request.
///
/// # Errors
/// The file cannot be read, or it is no text.
pub(super) fn read(path: &Path) -> Result<Value, Error> {
    let bytes = policy::secret_file(path)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Error::usage("the secret is no text").at(path.display().to_string()))?;
    Ok(text.into())
}

/// Runs `endpoints rotate`.
pub(super) async fn rotate(client: &OutboundClient, args: &RotateArgs) -> Result<Exit, Error> {
    let mut fields = Map::new();
    if let Some(overlap) = args.overlap {
        fields.insert("overlap".to_owned(), overlap.into());
    }
    if let Some(name) = &args.secret_name {
        fields.insert("name".to_owned(), name.as_str().into());
    }
    if let Some(path) = &args.secret_file {
        fields.insert("secret".to_owned(), read(path)?);
    }
    let target = args.name.target(&["rotate"]);
    let json: Box<RawValue> = client.change(Method::POST, &target, &fields).await?;
    if args.json {
        term::print_line(json.get())?;
        return Ok(Exit::DONE);
    }
    let new: NewSecret = client.parse(json.get().as_bytes())?;
    let (look, now) = (Look::of_stdout(), context::now());
    let until = new.old_until.as_deref();
    let until = match until {
        None => String::new(),
        Some(_) if args.overlap == Some(0) => {
            ", the old ones are not valid any more: requests fail until your customer has it"
                .to_owned()
        }
        Some(at) => format!(", the old ones are valid until {}", time(at, now, &look)),
    };
    let line = format!(
        "{} secret {BOLD}{}{BOLD:#} signs from {}{until}",
        look.sign(Sign::Good),
        term::clean(&new.name),
        time(&new.signs_from, now, &look)
    );
    match &new.secret {
        Some(secret) => {
            term::say(&format!("{line}; it is shown this once:"));
            term::print_line(secret)?;
        }
        None => term::print_line(&line)?,
    }
    Ok(Exit::DONE)
}
