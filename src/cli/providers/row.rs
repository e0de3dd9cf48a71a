//! A preset and the properties that the commands show.
use serde_json::{Value, json};

use crate::cli::verify::covered;
use crate::cli::{context, term};
use crate::config::compile::handshake::kind;
use crate::config::file::{Handshake, OneOrMany};
use crate::config::presets::Preset;
use crate::units;
use crate::verify::Covers;

/// A preset and its properties.
pub(super) struct Row<'a> {
    pub(super) preset: &'a Preset,
    /// The covered parts; none if the preset leaves the token's header to the route.
    pub(super) covers: Covers,
    /// Whether a queued delivery can be signed again.
    pub(super) resignable: bool,
}

impl<'a> Row<'a> {
    pub(super) fn of(preset: &'a Preset) -> Self {
        let shape = context::shape(preset, None).ok();
        let resignable = shape
            .as_ref()
            .is_some_and(|shape| shape.resignable().is_ok());
        Self {
            preset,
            covers: shape.map(|shape| shape.covers()).unwrap_or_default(),
            resignable,
        }
    }

    pub(super) fn proof(&self) -> &str {
        self.preset
            .provider
            .facts
            .proof
            .as_deref()
            .unwrap_or("unproven")
    }

    pub(super) fn scheme(&self) -> &str {
        self.preset
            .provider
            .verify
            .scheme
            .as_deref()
            .unwrap_or_default()
    }

    pub(super) fn delivery_id(&self) -> String {
        let Some(id) = &self.preset.provider.verify.delivery_id else {
            return "content".to_owned();
        };
        let location = match (&id.header, &id.json, &id.query) {
            (Some(header), ..) => format!("header:{}", header.all().join(" or ")),
            (None, Some(pointer), _) => format!("json:{pointer}"),
            (None, None, Some(name)) => format!("query:{name}"),
            (None, None, None) => return "content".to_owned(),
        };
        if id.with_body == Some(true) {
            format!("{location} with the body")
        } else {
            location
        }
    }

    /// Returns the handshakes of the preset.
    pub(super) fn written_handshakes(&self) -> &[Handshake] {
        let written = self.preset.provider.handshake.as_ref();
        written.map(OneOrMany::all).unwrap_or_default()
    }

    /// Returns the kinds of handshakes that the gateway answers.
    pub(super) fn handshakes(&self) -> Vec<&'static str> {
        self.written_handshakes().iter().map(kind).collect()
    }

    pub(super) fn retries(&self) -> String {
        self.preset
            .provider
            .facts
            .retries_for
            .as_deref()
            .map_or_else(String::new, |text| format!("for {}", spelled(text)))
    }

    pub(super) fn json(&self) -> Value {
        let Preset { name, provider } = self.preset;
        json!({
            "name": name,
            "title": self.preset.title(),
            "scheme": self.scheme(),
            "proof": self.proof(),
            "covers": covered(self.covers),
            "resignable": self.resignable,
            "delivery_id": provider.verify.delivery_id,
            "event_type": provider.verify.event_type,
            "handshakes": self.handshakes(),
            "facts": provider.facts,
        })
    }
}

/// Spells a duration: `3d` as `3 d`.
pub(super) fn spelled(text: &str) -> String {
    units::duration(text)
        .map(term::long_age)
        .unwrap_or_else(|_| text.to_owned())
}
