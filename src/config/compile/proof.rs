//! Compiles the verification of a route's senders from preset, `verify` block and secrets.
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::StatusCode;

use crate::alarm::DisablesAfter;
use crate::config::compile::context::Context;
use crate::config::compile::verify;
use crate::config::diagnostic::{Place, did_you_mean, shown, unknown};
use crate::config::file::{self, Secrets};
use crate::config::presets::{Known, Preset, RefusedBody, StatusPattern};
use crate::config::secret::{Making, encoding_named};
use crate::units;
use crate::verify::Verifier;
use crate::verify::{Covers, SecretLocations, Shape};
use crate::verify::{KeyedBy, SecretSet, SecretTable};

/// The compiled `verify` block.
pub(super) struct Proof {
    pub(super) verifier: Option<Verifier>,
    pub(super) provider: Option<Arc<Preset>>,
    pub(super) covers: Covers,
    pub(super) has_id: bool,
    /// Whether two deliveries can have the same ID.
    pub(super) id_with_body: bool,
    pub(super) secrets_stand: SecretLocations,
}

/// The other keys of the route that matter here.
pub(super) struct Given<'a> {
    pub(super) route: &'a str,
    pub(super) params: Vec<&'a str>,
    pub(super) host: Option<&'a str>,
    pub(super) public_url: Option<String>,
    /// Whether there is a `public_url`, or one with an error.
    pub(super) may_have_public_url: bool,
}

/// The facts about a provider, parsed. Presets are checked when they are loaded; invalid facts are absent here.
pub(super) struct Facts {
    pub(super) answer_within: Option<Duration>,
    pub(super) retries_for: Option<Duration>,
    pub(super) retry_keeps_time: Known,
    pub(super) bodies_repeat: Known,
    pub(super) refused_status: Option<StatusCode>,
    pub(super) refused_body: Option<RefusedBody>,
    pub(super) stops_on: Vec<StatusPattern>,
    pub(super) disables_on: Vec<StatusPattern>,
    pub(super) disables_after: Option<DisablesAfter>,
    pub(super) success_status: Option<StatusCode>,
    pub(super) max_body: Option<usize>,
}

impl Facts {
    /// Parses the facts of a preset.
    pub(super) fn of(preset: Option<&Preset>) -> Self {
        let facts = preset.map(|preset| &preset.provider.facts);
        let duration = |text: Option<&String>| text.and_then(|text| units::duration(text).ok());
        let patterns = |texts: Option<&[String]>| {
            texts
                .unwrap_or_default()
                .iter()
                .filter_map(|text| StatusPattern::parse(text))
                .collect()
        };
        let status =
            |status: Option<u16>| status.and_then(|status| StatusCode::from_u16(status).ok());
        Self {
            answer_within: duration(facts.and_then(|facts| facts.answer_within.as_ref())),
            retries_for: duration(facts.and_then(|facts| facts.retries_for.as_ref())),
            retry_keeps_time: Known::of(facts.and_then(|facts| facts.retry_keeps_time.as_deref())),
            bodies_repeat: Known::of(facts.and_then(|facts| facts.bodies_repeat.as_deref())),
            refused_status: status(facts.and_then(|facts| facts.refused_status)),
            refused_body: facts
                .and_then(|facts| facts.refused_body.as_deref())
                .and_then(RefusedBody::parse),
            stops_on: patterns(facts.map(|facts| facts.stops_on.as_slice())),
            disables_on: patterns(facts.map(|facts| facts.disables_on.as_slice())),
            disables_after: facts
                .and_then(|facts| facts.disables_after.as_ref())
                .map(|rule| DisablesAfter {
                    failures: rule.failures,
                    lasting: duration(rule.lasting.as_ref()),
                }),
            success_status: status(facts.and_then(|facts| facts.success_status)),
            max_body: facts
                .and_then(|facts| facts.max_body.as_ref())
                .and_then(|text| units::size(text).ok()),
        }
    }
}

/// Compiles the `verify` block at `place`.
pub(super) fn proof(
    block: &file::Verify,
    given: Given<'_>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Proof {
    let provider = provider(block.provider.as_deref(), place, cx);
    let known = block.provider.is_none() || provider.is_some();
    let preset = provider.as_ref().map(|preset| &preset.provider);
    let shape = if known {
        verify::compile(block, preset, place, &mut cx.problems)
    } else {
        None
    };
    let Some(secrets) = &block.secrets else {
        let help = "add `secrets: [{ file: /run/secrets/NAME }]`".to_owned();
        cx.problems
            .missing(place, "secrets", "`verify` has no secrets", help);
        return Proof::of(shape.as_ref(), block, provider);
    };
    let mut proof = Proof::of(shape.as_ref(), block, provider);
    let secrets = secret_set(secrets, shape.as_ref(), &given, &place.key("secrets"), cx);
    let Some(shape) = shape else { return proof };
    if matches!(&secrets, Some(SecretSet::Table { by: KeyedBy::Header(name), .. }) if shape.secret_locations().has_header(name.as_str()))
    {
        let help = "use another header or a path parameter in `by`".to_owned();
        cx.problems.error(
            &place.key("secrets").key("by"),
            "the key of the table would be the token itself, and keys are not secret",
            help,
        );
    }
    let uses_url = shape.uses_url();
    if uses_url && !given.may_have_public_url && given.host.is_none() {
        let help = "add `public_url` to the route: the URL that the sender was given".to_owned();
        cx.problems.warning(
            place,
            "the signature covers the URL, but the URL that senders use is not configured",
            help,
        );
    }
    if let Some(secrets) = &secrets {
        note_what_is_free(&shape, secrets, &given, place, cx);
    }
    proof.verifier = secrets.map(|secrets| shape.with_secrets(secrets, given.public_url));
    proof
}

/// Reports parts of a request that a sender can choose freely: a path parameter that is neither signed nor selects the secret, and the host.
fn note_what_is_free(
    shape: &Shape,
    secrets: &SecretSet,
    given: &Given<'_>,
    place: &Place,
    cx: &mut Context<'_>,
) {
    if let Some(host) = given
        .host
        .filter(|host| host.starts_with('*') && (!shape.uses_url() || given.public_url.is_some()))
    {
        let message = format!(
            "the signature does not cover the host: a request that is signed for one host of {} is valid for all of them",
            shown(host)
        );
        cx.problems.warning(
            place,
            message,
            "if each host has its own senders, write one route with its own secrets per host"
                .to_owned(),
        );
    }
    if shape.covers_path(given.public_url.is_some()) {
        return;
    }
    let selects = |name: &str| matches!(secrets, SecretSet::Table { by: KeyedBy::Param(by), .. } if **by == *name);
    let free: Vec<String> = given
        .params
        .iter()
        .filter(|name| !selects(name))
        .map(|name| format!("`{{{name}}}`"))
        .collect();
    if free.is_empty() {
        return;
    }
    let message = format!(
        "the signature does not cover {} of the path, and the secret is not selected by it",
        free.join(", ")
    );
    let help = match (given.params.as_slice(), secrets) {
        ([only], SecretSet::List(_)) => {
            format!("write `secrets: {{ by: \"{{{only}}}\", dir: … }}`, or use two routes")
        }
        _ => "use two routes, each with a literal path and its own secrets".to_owned(),
    };
    cx.problems.error_at_key(
        place,
        message,
        format!("{help}; otherwise a request that is signed for one path is valid for another"),
    );
}

impl Proof {
    /// Returns a proof without a verifier.
    fn of(shape: Option<&Shape>, block: &file::Verify, provider: Option<Arc<Preset>>) -> Self {
        let of_preset = provider
            .as_ref()
            .and_then(|preset| preset.provider.verify.delivery_id.as_ref());
        let id = block.delivery_id.as_ref().or(of_preset);
        Self {
            verifier: None,
            id_with_body: id.is_some_and(|id| id.with_body == Some(true)),
            provider,
            covers: shape.map(Shape::covers).unwrap_or_default(),
            has_id: shape.is_some_and(|shape| shape.delivery_id().is_some()),
            secrets_stand: shape.map(Shape::secret_locations).unwrap_or_default(),
        }
    }
}

/// Finds the preset of that name.
pub(super) fn provider(
    name: Option<&str>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Arc<Preset>> {
    let name = name?;
    let preset = cx.catalogue.get(name);
    if preset.is_none() {
        let near = did_you_mean(name, cx.catalogue.names());
        let help =
            near.unwrap_or_else(|| "run `hookgate providers list` to see all providers".to_owned());
        cx.problems.error(
            &place.key("provider"),
            format!("unknown provider `{}`", unknown(name)),
            help,
        );
    }
    preset
}

/// Loads the secrets, even if the scheme has an error, so that their errors are reported in the same run.
fn secret_set(
    secrets: &Secrets,
    shape: Option<&Shape>,
    given: &Given<'_>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<SecretSet> {
    let list = match secrets {
        Secrets::Table(table) => return secret_table(table, shape, given, place, cx),
        Secrets::List(list) => list,
    };
    let loaded = cx.loader.list(list, given.route, place, &mut cx.problems);
    let shape = shape?;
    let (indices, texts): (Vec<usize>, Vec<_>) = loaded.into_iter().unzip();
    match SecretSet::list(
        shape.secret_kind(),
        shape.secret_encodings(),
        shape.secret_suffix(),
        &texts,
    ) {
        Ok(set) => Some(set),
        Err(bad) => {
            for bad in bad {
                let index = indices.get(bad.index).copied().unwrap_or(bad.index);
                cx.problems.error(
                    &place.index(index),
                    bad.why,
                    "write it as the provider shows it, or set its `encoding`".to_owned(),
                );
            }
            None
        }
    }
}

/// Loads a table of secrets.
fn secret_table(
    table: &file::SecretTable,
    shape: Option<&Shape>,
    given: &Given<'_>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<SecretSet> {
    let file::SecretTable {
        by,
        dir,
        file,
        encoding,
    } = table;
    let by = keyed_by(by.as_deref(), given, place, cx);
    let encoding = encoding
        .as_deref()
        .map(|name| encoding_named(name, &place.key("encoding"), &mut cx.problems));
    let shape = shape?;
    let encodings = encoding.flatten().map_or_else(
        || shape.secret_encodings().to_vec(),
        |encoding| vec![encoding],
    );
    let making = Making {
        kind: shape.secret_kind(),
        encodings,
        suffix: shape.secret_suffix().map(ToOwned::to_owned),
    };
    let map = match (dir, file) {
        (Some(dir), None) => cx
            .loader
            .directory(dir, &making, &place.key("dir"), &mut cx.problems),
        (None, Some(file)) => {
            cx.loader
                .map_file(file, &making, &place.key("file"), &mut cx.problems)
        }
        (None, None) | (Some(_), Some(_)) => {
            let spoiled = ["dir", "file"]
                .iter()
                .any(|key| cx.problems.is_spoiled(&place.key(key)));
            if !spoiled {
                cx.problems.error(
                    place,
                    "the source of the secrets is missing or ambiguous",
                    "use exactly one of `dir`, `file`".to_owned(),
                );
            }
            return None;
        }
    };
    Some(SecretSet::table(
        making.kind,
        &making.encodings,
        by?,
        SecretTable::new(map),
    ))
}

/// Parses the `by` of a table.
fn keyed_by(
    by: Option<&str>,
    given: &Given<'_>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<KeyedBy> {
    let Some(by) = by else {
        let help = "add `by: \"{parameter}\"` or `by: header:NAME`".to_owned();
        cx.problems
            .missing(place, "by", "the table has no `by`", help);
        return None;
    };
    let place = place.key("by");
    if let Some(name) = by.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
        if given.params.contains(&name) {
            return Some(KeyedBy::Param(name.into()));
        }
        let near = did_you_mean(name, given.params.iter().copied());
        let help = near.unwrap_or_else(|| format!("add it to the path: `/{{{}}}`", unknown(name)));
        cx.problems.error(
            &place,
            format!("the path has no parameter `{}`", unknown(name)),
            help,
        );
        return None;
    }
    let header = by
        .strip_prefix("header:")
        .and_then(|name| HeaderName::try_from(name.trim()).ok());
    if header.is_none() {
        cx.problems.error(
            &place,
            "this is not a valid key of a table",
            "write `\"{parameter}\"` of the path, or `header:NAME`".to_owned(),
        );
    }
    header.map(KeyedBy::Header)
}
