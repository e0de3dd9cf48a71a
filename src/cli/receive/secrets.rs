//! The verifier of the receiver: a scheme, and its secrets.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::cli::context;
use crate::cli::error::Error;
use crate::cli::policy;
use crate::config::presets::Catalogue;
use crate::verify::Verifier;

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

/// Returns the verifier of a route of a config; with the secrets of these files, if there are any, instead of the route's.
///
/// # Errors
/// There is no such route, it verifies nothing, or a file or a secret cannot be used.
pub(super) fn route(config: &Path, name: &str, files: &[PathBuf]) -> Result<Verifier, Error> {
    let policy = policy::route_of(&Arc::new(context::load(config)?), name)?;
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
