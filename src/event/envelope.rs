//! The body of an event: the envelope around the data that the app published. The data stays byte for byte as it was given.
use std::time::SystemTime;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::event::event_type::EventType;

/// The body of an event: `{"type":"invoice.paid","timestamp":"2026-11-24T13:04:33.118Z","data":…}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The whole body.
    pub bytes: Bytes,
    /// The offset of the data in the body. [`data`] cuts it out again.
    pub data_at: usize,
}

/// Renders the body of an event. The time is written to the millisecond, in UTC.
pub fn render(event_type: &EventType, timestamp: SystemTime, data: &RawValue) -> Envelope {
    // only a year beyond 9999 is no timestamp
    let timestamp = jiff::Timestamp::try_from(timestamp).unwrap_or(jiff::Timestamp::MAX);
    // neither needs an escape in JSON
    let mut text = format!(r#"{{"type":"{event_type}","timestamp":"{timestamp:.3}","data":"#);
    let data_at = text.len();
    text.reserve_exact(data.get().len() + 1);
    text.push_str(data.get());
    text.push('}');
    Envelope {
        bytes: Bytes::from(text),
        data_at,
    }
}

/// Returns the data of a body that [`render`] made: the payload `raw`. `None` if the body has no data at this offset.
pub fn data(body: &Bytes, data_at: usize) -> Option<Bytes> {
    let end = body.len().checked_sub(1)?;
    let is_body = body.last() == Some(&b'}') && data_at < end;
    let starts = body
        .get(..data_at)
        .is_some_and(|before| before.ends_with(br#","data":"#));
    (is_body && starts).then(|| body.slice(data_at..end))
}

#[cfg(test)]
mod tests;
