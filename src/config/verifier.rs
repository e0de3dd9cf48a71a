//! Verifiers of presets, and the schemes of presets without a route.
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::config::compile;
use crate::config::diagnostic::{Diagnostics, Place};
use crate::config::file::{self, OneOrMany};
use crate::config::presets::{Catalogue, Preset};
use crate::verify::{SecretError, SecretSet, SecretText, Shape, Verifier};

/// The reason why no verifier can be made of a preset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PresetError {
    /// There is no embedded preset of this name.
    #[error("no preset is called `{0}`: `hookgate providers list` shows all presets")]
    Unknown(Box<str>),
    /// The preset leaves something to the route, such as the header of a token.
    #[error("the preset `{0}` leaves something to the route: write a config, and load it")]
    Incomplete(Box<str>),
    /// The secret cannot be used with this preset.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl Verifier {
    /// Makes a verifier of an embedded preset, such as `github`, and one secret: the text that the provider shows.
    ///
    /// If the provider signs the URL, requests are verified against their own URL, so it must be the one that the sender used.
    ///
    /// # Errors
    /// There is no such preset, it leaves something to the route, or it cannot use the secret.
    pub fn from_preset(name: &str, secret: &[u8]) -> Result<Self, PresetError> {
        let preset = Catalogue::built_in()
            .get(name)
            .ok_or_else(|| PresetError::Unknown(name.into()))?;
        let shape = shape(&preset, None).map_err(|_| PresetError::Incomplete(name.into()))?;
        let secret = SecretText {
            name: "secret-1".into(),
            text: Zeroizing::new(secret.to_vec()),
            encodings: None,
            not_before: None,
            expires: None,
        };
        let secrets = SecretSet::list(
            shape.secret_kind(),
            shape.secret_encodings(),
            shape.secret_suffix(),
            &[secret],
        )
        .map_err(|bad| bad.first().map_or(SecretError::Empty, |bad| bad.why))?;
        Ok(shape.with_secrets(secrets, None))
    }
}

/// Compiles the scheme of a preset without a route. `header` is the header of the signature or token, if the preset leaves it to the route.
///
/// # Errors
/// The first thing that the preset leaves to a route.
pub fn shape(preset: &Preset, header: Option<&str>) -> Result<Shape, Option<String>> {
    let mut problems = Diagnostics::default();
    let signature = header.map(|header| file::Signature {
        header: Some(OneOrMany::One(header.to_owned())),
        ..file::Signature::default()
    });
    let block = file::Verify {
        provider: Some(preset.name.to_string()),
        signature,
        ..file::Verify::default()
    };
    let provider = Some(&preset.provider);
    let shape = compile::verify::compile(&block, provider, &Place::root(0), &mut problems);
    shape
        .filter(|_| !problems.has_errors())
        .ok_or_else(|| problems.list.first().map(|problem| problem.message.clone()))
}

/// Returns the schemes of all embedded presets that leave nothing to a route, by the names of the presets.
pub fn shapes() -> Vec<(Arc<str>, Shape)> {
    let presets = Catalogue::built_in().presets();
    presets
        .filter_map(|preset| Some((Arc::clone(&preset.name), shape(preset, None).ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preset_error_names_the_fault() {
        let error = |name, secret| Verifier::from_preset(name, secret).unwrap_err();
        assert_eq!(
            error("git-hub", b"a secret"),
            PresetError::Unknown("git-hub".into())
        );
        assert_eq!(error("github", b""), SecretError::Empty.into());
        for preset in Catalogue::built_in().presets() {
            let made = Verifier::from_preset(&preset.name, b"");
            let is_expected = matches!(
                made,
                Err(PresetError::Incomplete(_) | PresetError::Secret(_))
            );
            assert!(is_expected, "{}", preset.name);
        }
    }
}
