//! The verifier of the receiver: a scheme, and its secrets.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::cli::context;
use crate::cli::error::Error;
use crate::cli::policy;
use crate::config::presets::Catalogue;
use crate::verify::{Shape, Verifier};

/// The scheme of the gateway's own messages.
const STANDARD: &str = "standard-webhooks";
/// The hint for a secret that cannot be used.
const EXAMPLE: &str = "whsec_ and 24 to 64 bytes in base64, one secret a line";
/// The largest number of secrets.
const MAX_SECRETS: usize = 16;

/// Returns the verifier of Standard Webhooks with the secrets of these files.
///
/// # Errors
/// A file or a secret cannot be used.
pub(super) fn standard(files: &[PathBuf]) -> Result<Verifier, Error> {
    let preset = context::preset(Catalogue::built_in(), STANDARD)?;
    let shape = context::shape(&preset, None)?;
    policy::with_secrets(shape, lines(files)?, EXAMPLE)
}

/// Returns the verifier of Standard Webhooks with one secret.
///
/// # Errors
/// The secret cannot be used.
pub(super) fn one(secret: Zeroizing<Vec<u8>>) -> Result<Verifier, Error> {
    let preset = context::preset(Catalogue::built_in(), STANDARD)?;
    let shape = context::shape(&preset, None)?;
    policy::with_secrets(shape, vec![secret], EXAMPLE)
}

/// Returns the verifier of a scheme of `outbound.schemes`, with the secrets of these files; or else that of a route, whose own secrets are used
/// if there are no files.
///
/// # Errors
/// There is no such scheme and no such route, it verifies nothing, or a file or a secret cannot be used.
pub(super) fn scheme(config: &Path, name: &str, files: &[PathBuf]) -> Result<Verifier, Error> {
    let loaded = Arc::new(context::load(config)?);
    let outbound = loaded.snapshot.outbound.as_ref();
    if let Some(shape) = outbound.and_then(|outbound| outbound.schemes.get(name)) {
        if files.is_empty() {
            return Err(
                Error::usage(format!("the scheme {name} needs the secret of an endpoint"))
                    .hint("--secret-file FILE"),
            );
        }
        let hint = format!("the encoding that {name} has in `outbound.schemes`");
        return policy::with_secrets(Shape::clone(shape), lines(files)?, &hint);
    }
    let policy = policy::route_of(&loaded, name).map_err(|error| match outbound {
        Some(outbound) if !outbound.schemes.is_empty() => {
            let known: Vec<&str> = outbound.schemes.keys().map(|name| &**name).collect();
            error.hint(format!(
                "`outbound.schemes` has {}; the routes are above",
                known.join(", ")
            ))
        }
        Some(_) | None => error,
    })?;
    let verifier = policy.verifier()?;
    let shape = verifier.shape().clone();
    if files.is_empty() {
        return Ok(shape.with_secrets(verifier.secrets().clone(), None));
    }
    let hint = format!("the encoding that route {name} has in its `verify`");
    policy::with_secrets(shape, lines(files)?, &hint)
}

/// Reads files with a secret a line.
fn lines(files: &[PathBuf]) -> Result<Vec<Zeroizing<Vec<u8>>>, Error> {
    let mut texts = Vec::new();
    for file in files {
        let whole = policy::secret_file(file)?;
        let lines = whole.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        for line in lines.filter(|line| !line.is_empty()) {
            let location = file.display().to_string();
            policy::warn_of_faults(line, &format!("a secret in {location}"));
            texts.push(Zeroizing::new(line.to_vec()));
            if texts.len() > MAX_SECRETS {
                return Err(
                    Error::usage(format!("there are more than {MAX_SECRETS} secrets"))
                        .at(location)
                        .hint("keep those of the endpoint that you rehearse"),
                );
            }
        }
    }
    match files.first() {
        Some(file) if texts.is_empty() => Err(Error::usage("the secret file has no secret")
            .at(file.display().to_string())
            .hint(EXAMPLE)),
        Some(_) | None => Ok(texts),
    }
}
