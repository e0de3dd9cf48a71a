//! Signs in a request: in what a signature differs from the expected one, and what the request looks like where nothing matches.
use super::cause::Cause;
use crate::verify::probe::Found;
use crate::verify::{Algorithm, Shape};

/// Returns in what a signature that was found elsewhere differs from the one that the scheme reads.
pub(super) fn differences(
    shape: &Shape,
    found: &Found<'_>,
    (algorithm, own): (Algorithm, Algorithm),
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
        causes.push(Cause::Label {
            found: String::from_utf8_lossy(found.label).into(),
            expected: shape.signature_label().into(),
        });
    }
    causes
}

/// Returns whether a value looks like a time in milliseconds, or in seconds: 13 or 10 digits that begin with the present.
pub(super) fn is_other_unit(value: &[u8]) -> bool {
    let digits = value.split(|byte| !byte.is_ascii_digit());
    let mut numbers = digits.filter(|number| matches!(number.len(), 10 | 13));
    numbers.any(|number| number.starts_with(b"1") || number.starts_with(b"2"))
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
