//! Signs in a request: in what a signature differs from the expected one, and what the request looks like where nothing matches.
use super::cause::Cause;
use crate::verify::probe::Found;
use crate::verify::{Algorithm, NotAuthentic, Shape};

/// Returns in what a signature that was found elsewhere differs from the one that the scheme reads.
pub(super) fn differences(
    shape: &Shape,
    found: &Found<'_>,
    (algorithm, own): (Algorithm, Algorithm),
    refused: NotAuthentic,
) -> Vec<Cause> {
    let mut causes = Vec::new();
    let expected = shape.signature_headers();
    let is_expected = found.header.is_some_and(|header| {
        expected
            .iter()
            .any(|name| name.as_str().eq_ignore_ascii_case(header))
    });
    if algorithm != own {
        causes.push(Cause::Algorithm {
            found: algorithm,
            expected: own,
        });
    }
    if !is_expected && let [name, ..] = expected {
        causes.push(Cause::Header {
            found: found
                .header
                .map(|header| header.to_ascii_lowercase().into()),
            expected: name.as_str().into(),
        });
    }
    if let Some(expected) = shape
        .tag_encoding()
        .filter(|expected| *expected != found.encoding)
    {
        causes.push(Cause::Encoding {
            found: found.encoding,
            expected,
        });
    }
    if causes.is_empty() {
        let (label, expected) = (last_word(found.label), shape.signature_label());
        causes.push(if label == expected {
            Cause::Form(refused)
        } else {
            Cause::Label {
                found: label.into(),
                expected: expected.into(),
            }
        });
    }
    causes
}

/// Returns the word that stands directly before a signature, such as `v0=`.
fn last_word(label: &[u8]) -> String {
    let Some((end, word)) = label.split_last() else {
        return String::new();
    };
    let words = word.rsplit(|byte| b"=:".contains(byte));
    let word = words.into_iter().next().unwrap_or_default();
    format!("{}{}", String::from_utf8_lossy(word), char::from(*end))
}

/// Returns whether a JSON body says that it belongs to a test.
pub(super) fn is_test(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Modes {
        livemode: Option<bool>,
        live_mode: Option<bool>,
        test: Option<bool>,
        test_mode: Option<bool>,
        sandbox: Option<bool>,
    }
    serde_json::from_slice::<Modes>(body).is_ok_and(|modes| {
        modes.livemode.or(modes.live_mode) == Some(false)
            || [modes.test, modes.test_mode, modes.sandbox].contains(&Some(true))
    })
}
