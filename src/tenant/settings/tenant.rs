//! The settings of tenants.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{owned, stored};
use crate::tenant::fields::{
    self, Invalid, line, object, or_default, pointer, small, unknown_field,
};
use crate::tenant::texts::optional_rate;
use crate::units::Rate;

/// The longest name of a tenant, in characters.
const MAX_NAME: usize = 200;
/// The most endpoints of a tenant.
pub const MAX_ENDPOINTS: u32 = 1_000;

/// Bounds of a tenant, where they differ from the config's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TenantLimits {
    /// The most events that it may publish in a time, such as `100/s`.
    #[serde(with = "optional_rate", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub publish: Option<Rate>,
    /// The most endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub endpoints: Option<u32>,
}

/// The settings of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TenantSettings {
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub name: Option<String>,
    /// The bounds.
    #[schemars(with = "Option<TenantLimits>")]
    pub limits: TenantLimits,
}

impl TenantSettings {
    /// The names of the fields.
    pub const FIELDS: [&'static str; 2] = ["name", "limits"];

    /// Reads all fields. A field that is missing or `null` has its default.
    ///
    /// # Errors
    /// The first field that cannot be used.
    pub fn read(fields: &Map<String, Value>) -> Result<Self, Invalid> {
        Self::default().changed(fields)
    }

    /// Returns the settings with these fields changed. A field that is `null` gets its default, and so does a field of `limits`.
    ///
    /// # Errors
    /// The first field that cannot be used.
    pub fn changed(&self, fields: &Map<String, Value>) -> Result<Self, Invalid> {
        let mut changed = self.clone();
        for (name, value) in fields {
            let at = &pointer("", name);
            match &**name {
                "name" => {
                    let read = |value, at: &str| line(value, at, MAX_NAME).map(owned);
                    changed.name = or_default(value, at, None, read)?;
                }
                "limits" if value.is_null() => changed.limits = TenantLimits::default(),
                "limits" => changed.limits.change(object(value, at)?, at)?,
                _ => return Err(unknown_field("", name, &Self::FIELDS)),
            }
        }
        Ok(changed)
    }

    /// Returns the text that the store keeps.
    pub fn to_json(&self) -> String {
        stored(self)
    }

    /// Reads the text that the store keeps.
    ///
    /// # Errors
    /// The text is not that of this version.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

impl TenantLimits {
    /// Changes the fields that are given.
    fn change(&mut self, given: &Map<String, Value>, at: &str) -> Result<(), Invalid> {
        for (name, value) in given {
            let at = &pointer(at, name);
            match &**name {
                "publish" => {
                    let read = |value, at: &str| fields::rate(value, at).map(Some);
                    self.publish = or_default(value, at, None, read)?;
                }
                "endpoints" => {
                    let read = |value, at: &str| small(value, at, MAX_ENDPOINTS).map(Some);
                    self.endpoints = or_default(value, at, None, read)?;
                }
                _ => return Err(unknown_field("/limits", name, &["publish", "endpoints"])),
            }
        }
        Ok(())
    }
}
