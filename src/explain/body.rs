//! Other spellings of a body: what the sender may have signed before something rewrote it on its way.
use std::borrow::Cow;
use std::io::Read as _;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::json::{Document, Spacing, TextForm};
use crate::request::RequestHead;

/// The largest body of which other spellings of its JSON are tried, in bytes.
const MAX_JSON: usize = 1 << 20;
/// The most bytes of all other spellings together.
const MAX_SPELLINGS: usize = 64 << 20;
/// The most bytes that a compressed body may have when it is decompressed.
const MAX_DECOMPRESSED: u64 = 8 << 20;

/// The change that turns the received body into the one that was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyChange {
    /// The JSON was written anew.
    Json {
        /// The spaces of the signed document.
        spacing: Spacing,
        /// Whether the keys of the signed document are in alphabetical order, and those of the received one are not.
        is_sorted: bool,
        /// The form of its strings and numbers.
        form: TextForm,
    },
    /// The signed body has no spaces or line ends behind it.
    WithoutEnd,
    /// The signed body ends with a line feed.
    WithLineFeed,
    /// The signed body ends with CR LF.
    WithCrLf,
    /// The lines of the signed body end with LF alone.
    LfLines,
    /// The lines of the signed body end with CR LF.
    CrLfLines,
    /// The signed body has no byte order mark before it.
    WithoutBom,
    /// The signed body is what the received one decompresses to.
    Decompressed,
    /// The signed body is the JSON in the parameter `payload` of the form.
    FormPayload,
    /// The parameters of the signed form are escaped in another way.
    FormEscapes,
    /// The signed body is a JSON object of the form's parameters.
    FormAsJson,
    /// The signed body is a form of the fields of the JSON object.
    JsonAsForm,
    /// The characters of the signed body are in Latin-1.
    Latin1,
    /// The signed body is empty.
    Empty,
}

/// A sign that the body was rewritten in a way that cannot be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodySign {
    /// The headers say that it is compressed, and it is not.
    NotCompressed,
    /// The headers say JSON, and it is a form.
    FormUnderJson,
    /// The headers say form, and it is JSON.
    JsonUnderForm,
    /// The scheme reads JSON, and the body is none.
    NoJson,
    /// The keys of its JSON are in alphabetical order, which few senders write.
    SortedKeys,
    /// It is empty.
    Empty,
}

/// Returns other spellings of a body, the likeliest first, none twice.
pub(super) fn spellings<'b>(
    head: &RequestHead,
    body: &'b [u8],
) -> Vec<(BodyChange, Cow<'b, [u8]>)> {
    let mut all = Spellings {
        received: body,
        found: Vec::new(),
        bytes: 0,
    };
    all.add_ends();
    all.add_decompressed(head);
    if body.len() <= MAX_JSON {
        let document = Document::parse(body.strip_prefix(BOM).unwrap_or(body));
        match &document {
            Some(document) => all.add_json(document),
            None => all.add_forms(),
        }
    }
    all.add(BodyChange::Empty, b"".as_slice());
    all.found
}

/// The byte order mark of UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The spellings found so far.
struct Spellings<'b> {
    received: &'b [u8],
    found: Vec<(BodyChange, Cow<'b, [u8]>)>,
    /// The bytes of all that were looked at.
    bytes: usize,
}

impl<'b> Spellings<'b> {
    fn add(&mut self, change: BodyChange, body: impl Into<Cow<'b, [u8]>>) {
        let body = body.into();
        self.bytes = self.bytes.saturating_add(body.len());
        if self.bytes <= MAX_SPELLINGS
            && *body != *self.received
            && self.found.iter().all(|(_, found)| *found != body)
        {
            self.found.push((change, body));
        }
    }

    fn add_ends(&mut self) {
        let body = self.received;
        self.add(BodyChange::WithoutEnd, body.trim_ascii_end());
        self.add(BodyChange::WithLineFeed, [body, b"\n"].concat());
        self.add(BodyChange::WithCrLf, [body, b"\r\n"].concat());
        if let Some(rest) = body.strip_prefix(BOM) {
            self.add(BodyChange::WithoutBom, rest);
        }
        if let Ok(text) = std::str::from_utf8(body) {
            let lf = text.replace("\r\n", "\n");
            self.add(BodyChange::CrLfLines, lf.replace('\n', "\r\n").into_bytes());
            self.add(BodyChange::LfLines, lf.into_bytes());
            let latin1: Option<Vec<u8>> = text
                .chars()
                .map(|character| u8::try_from(u32::from(character)).ok())
                .collect();
            if let Some(latin1) = latin1 {
                self.add(BodyChange::Latin1, latin1);
            }
        }
    }

    fn add_decompressed(&mut self, head: &RequestHead) {
        let is_gzip = self.received.starts_with(&[0x1f, 0x8b]);
        let is_deflate = head
            .headers
            .get(&CONTENT_ENCODING)
            .is_some_and(|coding| coding.eq_ignore_ascii_case(b"deflate"));
        let mut decompressed = Vec::new();
        let read = if is_gzip {
            flate2::read::MultiGzDecoder::new(self.received)
                .take(MAX_DECOMPRESSED)
                .read_to_end(&mut decompressed)
        } else if is_deflate {
            flate2::read::ZlibDecoder::new(self.received)
                .take(MAX_DECOMPRESSED)
                .read_to_end(&mut decompressed)
        } else {
            return;
        };
        if read.is_ok() {
            self.add(BodyChange::Decompressed, decompressed);
        }
    }

    fn add_json(&mut self, document: &Document<'_>) {
        let sorted = document.sorted();
        for (is_sorted, document) in [(false, document), (true, &sorted)] {
            for form in TextForm::ALL {
                for spacing in Spacing::ALL {
                    let change = BodyChange::Json {
                        spacing,
                        is_sorted,
                        form,
                    };
                    let text = document.write(spacing, form, self.received.len());
                    if let Some(text) = text {
                        self.add(change, text.into_bytes());
                    }
                }
            }
        }
        if let Document::Map(entries) = document {
            let mut form = form_urlencoded::Serializer::new(String::new());
            for (key, value) in entries {
                if let Document::Scalar(value) = value {
                    form.append_pair(&decoded(key), &decoded(value));
                }
            }
            self.add(BodyChange::JsonAsForm, form.finish().into_bytes());
        }
    }

    fn add_forms(&mut self) {
        let is_form = self.received.contains(&b'=')
            && self.received.iter().all(|byte| byte.is_ascii_graphic());
        if !is_form {
            return;
        }
        let pairs: Vec<_> = form_urlencoded::parse(self.received).collect();
        if let Some((_, payload)) = pairs.iter().find(|(name, _)| name == "payload") {
            self.add(BodyChange::FormPayload, payload.as_bytes().to_vec());
        }
        let mut form = form_urlencoded::Serializer::new(String::new());
        let form = form.extend_pairs(&pairs).finish();
        self.add(
            BodyChange::FormEscapes,
            form.replace('+', "%20").into_bytes(),
        );
        self.add(BodyChange::FormEscapes, form.into_bytes());
        let entries: Vec<String> = pairs
            .iter()
            .filter_map(|(name, value)| {
                let [name, value] = [name, value].map(serde_json::to_string);
                Some(format!("{}:{}", name.ok()?, value.ok()?))
            })
            .collect();
        let object = format!("{{{}}}", entries.join(","));
        self.add(BodyChange::FormAsJson, object.into_bytes());
    }
}

/// Returns the text of a scalar, without quotes and escapes.
fn decoded(scalar: &str) -> Cow<'_, str> {
    if scalar.starts_with('"') {
        serde_json::from_str::<String>(scalar).map_or(scalar.into(), Cow::Owned)
    } else {
        scalar.into()
    }
}

/// Returns a sign that the body was rewritten, if there is one.
pub(super) fn sign(head: &RequestHead, body: &[u8], reads_json: bool) -> Option<BodySign> {
    let says = |name, part: &str| {
        head.headers.get(name).is_some_and(|value| {
            String::from_utf8_lossy(value)
                .to_ascii_lowercase()
                .contains(part)
        })
    };
    let document = if body.len() <= MAX_JSON {
        Document::parse(body)
    } else {
        None
    };
    let is_form = document.is_none()
        && body.contains(&b'=')
        && body.iter().all(|byte| byte.is_ascii_graphic());
    if body.is_empty() {
        Some(BodySign::Empty)
    } else if says(&CONTENT_ENCODING, "gzip") && !body.starts_with(&[0x1f, 0x8b]) {
        Some(BodySign::NotCompressed)
    } else if is_form && says(&CONTENT_TYPE, "json") {
        Some(BodySign::FormUnderJson)
    } else if document.is_some() && says(&CONTENT_TYPE, "x-www-form-urlencoded") {
        Some(BodySign::JsonUnderForm)
    } else if document.is_none() && reads_json && body.len() <= MAX_JSON {
        Some(BodySign::NoJson)
    } else if document.is_some_and(|document| document.is_sorted()) {
        Some(BodySign::SortedKeys)
    } else {
        None
    }
}
