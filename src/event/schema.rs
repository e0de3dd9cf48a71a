//! JSON Schemas of events: draft 2020-12, formats checked, patterns matched in linear time, nothing fetched. `jsonschema` is named here alone.
use std::fmt;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

use crate::event::pointer;

pub(crate) mod bundle;
pub(crate) mod keywords;

/// The largest number of breaches that are listed.
const MAX_BREACHES: usize = 8;
/// The largest size of a compiled pattern, in bytes.
const MAX_PATTERN: usize = 1 << 20;

/// A compiled schema.
pub struct Schema(Validator);

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").finish_non_exhaustive()
    }
}

/// A breach of a schema by some data. It names the place and the rule, and never holds a value or a key that the schema does not name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The JSON pointer of the value.
    pub at: String,
    /// The keyword of the rule.
    pub keyword: String,
    /// The breach in words: `is not an integer`.
    pub message: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", pointer::shown(&self.at), self.message)
    }
}

/// The reason why a document is not a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotASchema {
    /// The JSON pointer of the fault in the schema.
    pub(crate) at: String,
    /// The reason.
    pub(crate) message: String,
}

impl Schema {
    /// Compiles a schema whose references all point into itself.
    pub(crate) fn compile(schema: &Value) -> Result<Self, NotASchema> {
        let fault = |error: ValidationError<'_>| NotASchema {
            at: error.instance_path().as_str().to_owned(),
            message: schema_fault(&error),
        };
        let options = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .offline()
            .should_validate_formats(true)
            .should_ignore_unknown_formats(true)
            .with_pattern_options(
                PatternOptions::regex()
                    .size_limit(MAX_PATTERN)
                    .dfa_size_limit(MAX_PATTERN),
            );
        options.build(schema).map(Self).map_err(fault)
    }

    /// Returns whether the data is valid.
    pub fn is_valid(&self, data: &Value) -> bool {
        self.0.is_valid(data)
    }

    /// Returns the breaches of the schema by the data, the first few if there are many.
    pub fn breaches(&self, data: &Value) -> Vec<Breach> {
        self.0
            .iter_errors(data)
            .take(MAX_BREACHES)
            .map(|error| breach(&error))
            .collect()
    }
}

/// Returns whether a format is checked.
pub(crate) fn is_known_format(name: &str) -> bool {
    jsonschema::options().is_known_format(Draft::Draft202012, name)
}

/// Describes a fault of a schema, without its values.
fn schema_fault(error: &ValidationError<'_>) -> String {
    let at = error.instance_path().as_str();
    let keyword = at
        .rsplit('/')
        .find(|step| !step.is_empty() && pointer::index(step).is_none());
    match (error.kind(), keyword) {
        (ValidationErrorKind::Referencing(_), _) => {
            "`$ref` points at nothing, or at nothing that is allowed".to_owned()
        }
        (ValidationErrorKind::Format { format }, Some(keyword)) if format == "regex" => format!(
            "`{keyword}` is not a regular expression that can be matched in linear time: look-around and back-references are not supported"
        ),
        (_, Some(keyword)) => format!("JSON Schema does not allow this value of `{keyword}`"),
        (_, None) => {
            "this is not a JSON Schema: write an object, such as `{ \"type\": \"object\" }`"
                .to_owned()
        }
    }
}

/// Describes a breach in words of our own: the messages of the library quote the data.
fn breach(error: &ValidationError<'_>) -> Breach {
    let mut at = error.instance_path().as_str().to_owned();
    if let ValidationErrorKind::Required { property } = error.kind() {
        at.push_str(&pointer::step(property.as_str().unwrap_or_default()));
    }
    Breach {
        at,
        keyword: error.kind().keyword().to_owned(),
        message: words(error.kind()),
    }
}

fn words(kind: &ValidationErrorKind) -> String {
    use ValidationErrorKind as Kind;
    match kind {
        Kind::Required { .. } => "is missing".to_owned(),
        Kind::Type { kind } => format!("is not {}", types(kind)),
        Kind::Enum { .. } => "is not one of the values of `enum`".to_owned(),
        Kind::Constant { .. } => "is not the value of `const`".to_owned(),
        Kind::Format { format } => format!("does not have the format `{format}`"),
        Kind::Pattern { .. } => "does not match `pattern`".to_owned(),
        Kind::Minimum { limit } => format!("is less than {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("is not greater than {limit}"),
        Kind::Maximum { limit } => format!("is greater than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("is not less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("is not a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("is shorter than {limit}"),
        Kind::MaxLength { limit } => format!("is longer than {limit}"),
        Kind::MinItems { limit } => format!("has fewer items than {limit}"),
        Kind::MaxItems { limit } => format!("has more items than {limit}"),
        Kind::MinProperties { limit } => format!("has fewer fields than {limit}"),
        Kind::MaxProperties { limit } => format!("has more fields than {limit}"),
        Kind::AdditionalItems { .. } | Kind::UnevaluatedItems { .. } => {
            "has an item that the schema does not allow".to_owned()
        }
        Kind::AdditionalProperties { .. } | Kind::UnevaluatedProperties { .. } => {
            "has a field that the schema does not allow".to_owned()
        }
        Kind::PropertyNames { .. } => "has a field whose name the schema does not allow".to_owned(),
        Kind::UniqueItems => "has an item twice".to_owned(),
        Kind::Contains => "has too few or too many items of the kind of `contains`".to_owned(),
        Kind::AnyOf { .. } => "fits no branch of `anyOf`".to_owned(),
        Kind::OneOfNotValid { .. } => "fits no branch of `oneOf`".to_owned(),
        Kind::OneOfMultipleValid { .. } => "fits more than one branch of `oneOf`".to_owned(),
        Kind::Not { .. } => "fits the schema of `not`".to_owned(),
        Kind::FalseSchema => "is not allowed here".to_owned(),
        Kind::ContentEncoding { .. } | Kind::ContentMediaType { .. } | Kind::FromUtf8 { .. } => {
            "does not have the encoding that the schema asks for".to_owned()
        }
        Kind::BacktrackLimitExceeded { .. }
        | Kind::RegexEngineFailure { .. }
        | Kind::Custom { .. }
        | Kind::Referencing(_) => "cannot be checked by the schema".to_owned(),
    }
}

/// Names the types that a schema asks for: `an integer`, `a string or null`.
fn types(kind: &TypeKind) -> String {
    let named = |name: &str| match name {
        "null" => "null".to_owned(),
        "integer" | "array" | "object" => format!("an {name}"),
        _ => format!("a {name}"),
    };
    match kind {
        TypeKind::Single(one) => named(&one.to_string()),
        TypeKind::Multiple(set) => set
            .iter()
            .map(|one| named(&one.to_string()))
            .collect::<Vec<_>>()
            .join(" or "),
    }
}
