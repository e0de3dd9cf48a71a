//! Signs what is sent to an endpoint: by Standard Webhooks, or in a scheme of the config.
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use super::rows::{OpenSecrets, UnusableEndpoint};
use super::rules::Rules;
use crate::clock::Now;
use crate::config::snapshot::STANDARD;
use crate::request::{Client, HeaderLines, Params, RequestHead, RequestId};
use crate::store::address_book::Endpoint;
use crate::tenant::secret::{self, Signers};
use crate::tenant::settings::EndpointSettings;
use crate::tenant::url::EndpointUrl;
use crate::verify::{
    CannotSign, Locator, SecretSet, SecretText, Shape, SigningKey, Verifier, standard,
};

/// The signatures of an endpoint.
pub(super) enum Signer {
    /// Standard Webhooks, with every live secret, the newest first.
    Standard(Vec<SigningKey>),
    /// A scheme of the config, with one secret.
    Scheme(Box<Verifier>),
}

/// The facts of a request that its signature is made of.
pub(super) struct Signable<'a> {
    pub(super) id: &'a str,
    pub(super) event_type: &'a str,
    pub(super) url: &'a EndpointUrl,
    pub(super) body: &'a [u8],
    pub(super) now: Now,
}

impl Signer {
    /// Makes the signatures of Standard Webhooks; `None` without a usable secret.
    pub(super) fn standard(secrets: &[SecretText]) -> Option<Self> {
        let keys: Vec<SigningKey> = secrets
            .iter()
            .filter_map(|secret| SigningKey::new(secret).ok())
            .collect();
        (!keys.is_empty()).then_some(Self::Standard(keys))
    }

    /// Makes the signature of a scheme; `None` if the scheme cannot use the secret.
    pub(super) fn scheme(shape: &Shape, secret: SecretText, url: &EndpointUrl) -> Option<Self> {
        let set = SecretSet::list(
            shape.secret_kind(),
            shape.secret_encodings(),
            shape.secret_suffix(),
            &[secret],
        );
        let text = url.text();
        let public_url = text
            .split_once('?')
            .map_or(text, |(path, _)| path)
            .to_owned();
        let verifier = shape.clone().with_secrets(set.ok()?, Some(public_url));
        Some(Self::Scheme(Box::new(verifier)))
    }

    /// Returns the headers that sign a request.
    pub(super) fn sign(&self, request: &Signable<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
        match self {
            Self::Standard(keys) => {
                standard::sign_all(keys, request.id, request.now.wall, request.body).map(Vec::from)
            }
            Self::Scheme(verifier) => by_scheme(verifier, request).ok(),
        }
    }
}

/// Signs in a scheme of the config. The headers of its delivery ID and event type are written, too: the signature may cover them.
fn by_scheme(
    verifier: &Verifier,
    request: &Signable<'_>,
) -> Result<Vec<(HeaderName, HeaderValue)>, CannotSign> {
    let shape = verifier.shape();
    let named = [
        (shape.delivery_id(), request.id),
        (shape.event_type(), request.event_type),
    ];
    let mut lines = Vec::new();
    for (at, value) in named {
        if let Some(Locator::Header(names)) = at
            && let Some(name) = names.names().first()
        {
            let value = HeaderValue::from_str(value).map_err(|_| CannotSign::Unwritable)?;
            lines.push((name.clone(), value));
        }
    }
    let mut head = head(request);
    for (name, value) in &lines {
        head.headers.insert(name, value);
    }
    let signed = verifier.sign(&head, &Params::default(), request.body, 0, request.now.wall)?;
    lines.retain(|(name, _)| signed.headers.iter().all(|(other, _)| other != name));
    lines.extend(signed.headers);
    Ok(lines)
}

/// Returns the head of a request as the signature sees it.
fn head(request: &Signable<'_>) -> RequestHead {
    RequestHead {
        request_id: RequestId::from_u128(0),
        method: Method::POST,
        target: request.url.target().clone(),
        authority: request.url.authority().to_owned(),
        tls: request.url.tls(),
        headers: HeaderLines::default(),
        declared_size: u64::try_from(request.body.len()).ok(),
        // nobody sent it
        client: Client {
            ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            own: false,
            behind_trusted_proxy: false,
        },
        certificate: None,
        received: request.now,
    }
}

/// Returns whether events to an endpoint can be signed with its secrets in its scheme.
pub(crate) fn can_sign(row: &Endpoint, rules: &Rules, now: Now) -> bool {
    let settings = EndpointSettings::from_json(&row.settings).ok();
    let url = EndpointUrl::restore(&row.url).ok();
    let Some((settings, url)) = settings.zip(url) else {
        return false;
    };
    let scheme = settings.sign.name();
    let secrets = signing(row, scheme, rules, now).unwrap_or_default();
    signer(&secrets, scheme, &url, rules).is_some()
}

/// Returns the secrets that sign at `now`.
pub(super) fn signing(
    row: &Endpoint,
    scheme: &str,
    rules: &Rules,
    now: Now,
) -> Result<Vec<SecretText>, UnusableEndpoint> {
    let opened = OpenSecrets::of(row, &rules.keys)?;
    let signers = if scheme == STANDARD {
        Signers::All
    } else {
        Signers::Oldest
    };
    let entries = secret::signing(&opened.entries, signers, now.wall);
    let texts = entries.into_iter().filter_map(|entry| {
        let secret = opened.get(entry.n)?;
        Some(secret.for_signing(Arc::clone(&entry.name)))
    });
    Ok(texts.collect())
}

/// Makes the signatures of an endpoint.
pub(super) fn signer(
    secrets: &[SecretText],
    scheme: &str,
    url: &EndpointUrl,
    rules: &Rules,
) -> Option<Signer> {
    if scheme == STANDARD {
        return Signer::standard(secrets);
    }
    let shape = rules.outbound.schemes.get(scheme)?;
    Signer::scheme(shape, secrets.first()?.clone(), url)
}
