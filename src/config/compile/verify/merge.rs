//! Merges a block and its preset, key by key.
use crate::config::file;

/// Merges a block and its preset. If two keys exclude each other, the block's key removes the preset's.
pub(super) fn merged(block: &file::Verify, preset: Option<&file::Verify>) -> file::Verify {
    let Some(preset) = preset else {
        return block.clone();
    };
    let mut under = preset.clone();
    if block
        .scheme
        .as_ref()
        .is_some_and(|scheme| preset.scheme.as_ref() != Some(scheme))
    {
        under = file::Verify {
            delivery_id: under.delivery_id,
            event_type: under.event_type,
            ..file::Verify::default()
        };
    }
    if block.signed_content.is_some() {
        under.concatenated = None;
    }
    let tolerance = |verify: &file::Verify| {
        let nested = verify
            .timestamp
            .as_ref()
            .and_then(|time| time.tolerance.clone());
        verify.tolerance.clone().or(nested)
    };
    file::Verify {
        provider: block.provider.clone(),
        tolerance: tolerance(block).or_else(|| tolerance(&under)),
        scheme: block.scheme.clone().or(under.scheme),
        algorithm: block.algorithm.clone().or(under.algorithm),
        signature: over(block.signature.as_ref(), under.signature, signature_over),
        signed_content: block.signed_content.clone().or(under.signed_content),
        concatenated: block.concatenated.clone().or(under.concatenated),
        timestamp: over(block.timestamp.as_ref(), under.timestamp, timestamp_over),
        delivery_id: block.delivery_id.clone().or(under.delivery_id),
        event_type: block.event_type.clone().or(under.event_type),
        secret_encoding: block.secret_encoding.clone().or(under.secret_encoding),
        secret_suffix: block.secret_suffix.clone().or(under.secret_suffix),
        secrets: block.secrets.clone(),
    }
}

/// Merges two optional blocks.
fn over<T: Clone>(
    upper: Option<&T>,
    under: Option<T>,
    merge: impl FnOnce(&T, T) -> T,
) -> Option<T> {
    match (upper, under) {
        (Some(upper), Some(under)) => Some(merge(upper, under)),
        (Some(upper), None) => Some(upper.clone()),
        (None, under) => under,
    }
}

/// Merges two `signature` blocks.
fn signature_over(upper: &file::Signature, under: file::Signature) -> file::Signature {
    let placed = upper.header.is_some() || upper.query.is_some() || upper.json.is_some();
    file::Signature {
        header: upper
            .header
            .clone()
            .or(if placed { None } else { under.header }),
        query: upper
            .query
            .clone()
            .or(if placed { None } else { under.query }),
        json: upper
            .json
            .clone()
            .or(if placed { None } else { under.json }),
        prefix: upper.prefix.clone().or(under.prefix),
        encoding: upper.encoding.clone().or(under.encoding),
        separator: upper.separator.clone().or(under.separator),
        pair: upper.pair.clone().or(under.pair),
        repeated: upper.repeated.or(under.repeated),
        expect: upper.expect.clone().or(under.expect),
    }
}

/// Merges two `timestamp` blocks.
fn timestamp_over(upper: &file::Timestamp, under: file::Timestamp) -> file::Timestamp {
    let placed = upper.header.is_some()
        || upper.pair.is_some()
        || upper.item.is_some()
        || upper.json.is_some();
    file::Timestamp {
        header: upper
            .header
            .clone()
            .or(if placed { None } else { under.header }),
        pair: upper
            .pair
            .clone()
            .or(if placed { None } else { under.pair }),
        item: upper.item.or(if placed { None } else { under.item }),
        json: upper
            .json
            .clone()
            .or(if placed { None } else { under.json }),
        format: upper.format.clone().or(under.format),
        tolerance: upper.tolerance.clone().or(under.tolerance),
    }
}
