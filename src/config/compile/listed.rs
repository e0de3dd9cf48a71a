//! The secrets that a route lists, and their origins.
use crate::config::file::{self, VerifyOrNone};
use crate::config::snapshot::SecretOrigin;

/// Returns the secrets of a block that lists them.
pub(super) fn listed(verify: Option<&VerifyOrNone>) -> Vec<file::Secret> {
    match verify {
        Some(VerifyOrNone::Block(block)) => match &block.secrets {
            Some(file::Secrets::List(list)) => list.clone(),
            Some(file::Secrets::Table(_)) | None => Vec::new(),
        },
        Some(VerifyOrNone::None) | None => Vec::new(),
    }
}

/// Returns the origin of each secret.
pub(super) fn origins(secrets: &[file::Secret]) -> Vec<SecretOrigin> {
    let origin = |secret: &file::Secret| match (&secret.env, &secret.file) {
        (Some(_), _) => SecretOrigin::Env,
        (None, Some(_)) => SecretOrigin::File,
        (None, None) => SecretOrigin::Inline,
    };
    secrets.iter().map(origin).collect()
}
