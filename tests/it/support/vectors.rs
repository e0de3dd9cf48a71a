//! Golden requests: bytes, headers, secret and time as some other software judged them, run through the real verifier.
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use bytes::Bytes;
use hookgate::clock::{Clock as _, Dates, FrozenClock, Now};
use hookgate::config::compile::verify::compile;
use hookgate::config::diagnostic::{Diagnostics, Place};
use hookgate::config::file;
use hookgate::request::{Client, Params, Received, RequestHead, RequestId};
use hookgate::verify::secret::{SecretSet, SecretText};
use hookgate::verify::{CannotSign, NotAuthentic, Shape, Verifier};
use http::{HeaderName, HeaderValue};
use serde::Deserialize;

/// One request and the verdict of the software that judged it.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) now: u64,
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body_b64: String,
    #[serde(default)]
    pub(crate) secret: Option<String>,
    #[serde(default)]
    pub(crate) secrets: Vec<String>,
    #[serde(default)]
    config: Config,
    pub(crate) valid: bool,
}

/// The judge's other arguments, if they are a part of the secret here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    client_id: Option<String>,
}

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

/// The verdicts that differ on purpose, by provider and case.
pub(crate) type Deviations = BTreeMap<String, BTreeMap<String, Deviation>>;

/// One difference, with its reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deviation {
    pub(crate) we: Verdict,
    pub(crate) reason: String,
}

/// The verdict of the gate.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Accept,
    Refuse,
}

/// The cases of one file.
pub(crate) fn load(path: &Path) -> Vec<Case> {
    let text = std::fs::read(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    let vectors: Vectors =
        serde_json::from_slice(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    vectors.cases
}

/// All vector files with their provider, in order.
pub(crate) fn files() -> Vec<(String, PathBuf)> {
    let mut files: Vec<_> = std::fs::read_dir("tests/vectors")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    // handshakes are answered, not judged: tests/it/handshakes.rs has them
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
            && !path.ends_with("handshakes.json")
    });
    files.sort();
    let provider = |path: &Path| {
        path.file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .split('.')
            .next()
            .unwrap()
            .to_owned()
    };
    files
        .into_iter()
        .map(|path| (provider(&path), path))
        .collect()
}

/// Returns the verdicts that differ on purpose.
pub(crate) fn deviations() -> Deviations {
    serde_yaml::from_str(&std::fs::read_to_string("tests/vectors/deviations.yaml").unwrap())
        .unwrap()
}

/// The preset, compiled as a user's `verify: { provider: NAME }`.
pub(crate) fn shape(name: &str, preset: &file::Provider) -> Shape {
    let block = file::Verify {
        provider: Some(name.to_owned()),
        ..file::Verify::default()
    };
    let mut problems = Diagnostics::default();
    let shape = compile(&block, Some(preset), &Place::root(0), &mut problems);
    shape.unwrap_or_else(|| panic!("{name}: {:#?}", problems.list))
}

impl Case {
    pub(crate) fn now(&self) -> Now {
        FrozenClock::at_unix(self.now).now()
    }

    pub(crate) fn body(&self) -> Bytes {
        base64::engine::general_purpose::STANDARD
            .decode(&self.body_b64)
            .unwrap()
            .into()
    }

    /// The secrets as a user would paste them; where the provider's key has the client ID in it, as `id&secret`.
    pub(crate) fn texts(&self) -> Vec<String> {
        let paste = |text: &String| {
            self.config
                .client_id
                .as_ref()
                .map_or_else(|| text.clone(), |id| format!("{id}&{text}"))
        };
        self.secret.iter().chain(&self.secrets).map(paste).collect()
    }

    pub(crate) fn secrets(&self) -> Vec<SecretText> {
        let named = self
            .texts()
            .into_iter()
            .zip(1..)
            .map(|(text, number)| SecretText {
                name: format!("secret-{number}").into(),
                text: text.into_bytes().into(),
                encodings: None,
                not_before: None,
                expires: None,
            });
        named.collect()
    }

    /// Host and port of the URL.
    pub(crate) fn authority(&self) -> &str {
        let rest = self.url.split_once("://").unwrap().1;
        &rest[..rest.find(['/', '?']).unwrap_or(rest.len())]
    }

    /// Path and query of the URL.
    pub(crate) fn target(&self) -> String {
        let rest = &self.url.split_once("://").unwrap().1[self.authority().len()..];
        if rest.starts_with('/') {
            rest.to_owned()
        } else {
            format!("/{rest}")
        }
    }

    /// Whether the gate is to let it through: as judged, or as a deviation says.
    pub(crate) fn due(&self, deviations: Option<&BTreeMap<String, Deviation>>) -> bool {
        match deviations.and_then(|known| known.get(&self.name)) {
            Some(deviation) => deviation.we == Verdict::Accept,
            None => self.valid,
        }
    }

    pub(crate) fn received(&self) -> Received {
        let headers = self.headers.iter().map(|(name, value)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            (name.parse::<HeaderName>().unwrap(), value)
        });
        let body = self.body();
        let head = RequestHead {
            certificate: None,
            request_id: RequestId::from_u128(1),
            method: self.method.parse().unwrap(),
            target: self.target().into(),
            authority: self.authority().to_owned(),
            tls: self.url.starts_with("https:"),
            headers: headers.collect(),
            declared_size: u64::try_from(body.len()).ok(),
            client: Client {
                ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
                own: true,
                behind_trusted_proxy: false,
            },
            received: self.now(),
        };
        Received {
            head,
            body: body.into(),
        }
    }

    /// The verifier of a route with this preset and these secrets; the secret that the gate would not even load is why there is none.
    pub(crate) fn verifier(&self, shape: &Shape) -> Result<Verifier, String> {
        let set = SecretSet::list(
            shape.secret_kind(),
            shape.secret_encodings(),
            shape.secret_suffix(),
            &self.secrets(),
        );
        let set = set.map_err(|bad| {
            bad.iter()
                .map(|bad| bad.why.to_string())
                .collect::<Vec<_>>()
                .join(", ")
        })?;
        Ok(shape.clone().with_secrets(set, None))
    }

    /// Our verdict, through both doors: in one call, and in chunks of 7 bytes.
    pub(crate) fn verdict(&self, shape: &Shape) -> Result<(), String> {
        let verifier = self.verifier(shape)?;
        let params = Params::default();
        let whole = verifier
            .verify(self.received(), &params, self.now())
            .map_err(|refused| refused.why);
        let received = self.received();
        let mut check = verifier.begin(&received.head, &params);
        received
            .body
            .bytes()
            .chunks(7)
            .for_each(|chunk| check.update(chunk));
        let chunked = check
            .finish(received, self.now(), &Dates::at(self.now().wall))
            .map_err(|refused| refused.why);
        assert_eq!(
            whole.as_ref().err(),
            chunked.as_ref().err(),
            "{}: the two doors differ",
            self.name
        );
        whole.map(|_| ()).map_err(|why| why.code().to_owned())
    }

    /// Returns the verdicts of the gate's own verifier at `later`: on the request signed anew, and on the request as it came.
    pub(crate) fn resigned(
        &self,
        shape: &Shape,
        later: Now,
    ) -> Result<[Result<(), NotAuthentic>; 2], CannotSign> {
        let (verifier, params) = (self.verifier(shape).unwrap(), Params::default());
        let authentic = verifier
            .verify(self.received(), &params, self.now())
            .map_err(|refused| refused.why)
            .unwrap();
        let head = verifier.resign(&authentic, &params, later.wall, &Dates::at(later.wall))?;
        let again = Received {
            head,
            body: self.body().into(),
        };
        Ok([again, self.received()].map(|request| {
            verifier
                .verify(request, &params, later)
                .map(|_| ())
                .map_err(|refused| refused.why)
        }))
    }

    /// Says so if our verdict is neither that of the software that judged the case nor a difference on purpose.
    pub(crate) fn disagrees(
        &self,
        shape: &Shape,
        deviations: Option<&BTreeMap<String, Deviation>>,
    ) -> Option<String> {
        let want = self.due(deviations);
        let ours = self.verdict(shape);
        (ours.is_ok() != want).then(|| {
            format!(
                "{}: we say {ours:?}, due is {}",
                self.name,
                if want { "authentic" } else { "refused" }
            )
        })
    }
}
