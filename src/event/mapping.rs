//! Mappings: how the data of a version of an event is made from the data of a later version, as `2-to-1.yaml` says.
//!
//! Only what a step names is changed. Everything else keeps its bytes, so that a number is never rounded.
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::event::pointer;

mod tree;

use tree::Tree;

/// The largest number of steps.
const MAX_STEPS: usize = 256;

/// A mapping: steps that are done in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    steps: Vec<Step>,
}

/// One step of a mapping.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// Moves a value, if there is one.
    Move { from: Path, to: Path },
    /// Removes a value, if there is one.
    Drop(Path),
    /// Writes a value, whether there is one or not.
    Set { at: Path, to: String },
}

/// A JSON pointer below the root, and its steps.
#[derive(Clone, Debug, PartialEq)]
struct Path {
    text: String,
    steps: Vec<String>,
}

/// The reason why a text is not a mapping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NotAMapping {
    /// The reason, with what to write instead.
    pub message: String,
    /// The line, counted from 1.
    pub line: Option<usize>,
    /// The column, counted from 1.
    pub column: Option<usize>,
}

/// The reason why a mapping cannot be applied to some data. It holds pointers, and no value of the data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotMap {
    /// A value has to be put into something that is no object.
    #[error("`{}` cannot be written: what is around it is no object", pointer::shown(.0))]
    NoObject(String),
    /// The data is not JSON.
    #[error("the data is not JSON")]
    NotJson,
}

/// A mapping as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStep {
    r#move: Option<WrittenMove>,
    drop: Option<String>,
    set: Option<WrittenSet>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMove {
    from: String,
    to: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSet {
    at: String,
    to: Value,
}

impl NotAMapping {
    fn of_step(number: usize, message: impl std::fmt::Display) -> Self {
        Self {
            message: format!("step {number}: {message}"),
            line: None,
            column: None,
        }
    }
}

impl Mapping {
    /// Parses a mapping: a YAML list of `move`, `drop` and `set`.
    ///
    /// # Errors
    /// The text is not a mapping.
    pub fn parse(text: &str) -> Result<Self, NotAMapping> {
        let written: Vec<WrittenStep> =
            serde_yaml::from_str(text).map_err(|error| NotAMapping {
                message: "a mapping is a list of steps, such as `- move: { from: /amount/value, to: /amount_cents }`, `- drop: /lines` or `- set: { at: /currency, to: EUR }`"
                    .to_owned(),
                line: error.location().map(|at| at.line()),
                column: error.location().map(|at| at.column()),
            })?;
        if written.len() > MAX_STEPS {
            return Err(NotAMapping {
                message: format!("a mapping has at most {MAX_STEPS} steps"),
                line: None,
                column: None,
            });
        }
        let steps = written
            .into_iter()
            .enumerate()
            .map(|(index, step)| Step::new(step, index + 1))
            .collect::<Result<_, _>>()?;
        Ok(Self { steps })
    }

    /// Applies the mapping.
    ///
    /// # Errors
    /// A step cannot be done with this data.
    pub fn apply(&self, data: &RawValue) -> Result<Box<RawValue>, CannotMap> {
        let mut tree = Tree::new(data.get());
        for step in &self.steps {
            step.apply(&mut tree)?;
        }
        RawValue::from_string(tree.render()).map_err(|_| CannotMap::NotJson)
    }
}

impl Step {
    fn new(written: WrittenStep, number: usize) -> Result<Self, NotAMapping> {
        let path = |text: String| Path::new(text, number);
        match written {
            WrittenStep {
                r#move: Some(WrittenMove { from, to }),
                drop: None,
                set: None,
            } => {
                let (from, to) = (path(from)?, path(to)?);
                if to.steps.starts_with(&from.steps) {
                    let message = "a value cannot be moved to itself or into itself";
                    return Err(NotAMapping::of_step(number, message));
                }
                Ok(Self::Move { from, to })
            }
            WrittenStep {
                r#move: None,
                drop: Some(at),
                set: None,
            } => Ok(Self::Drop(path(at)?)),
            WrittenStep {
                r#move: None,
                drop: None,
                set: Some(WrittenSet { at, to }),
            } => Ok(Self::Set {
                at: path(at)?,
                to: to.to_string(),
            }),
            WrittenStep { .. } => Err(NotAMapping::of_step(
                number,
                "write exactly one of `move`, `drop` and `set`",
            )),
        }
    }

    fn apply<'t>(&'t self, tree: &mut Tree<'t>) -> Result<(), CannotMap> {
        let no_object = |path: &Path| CannotMap::NoObject(path.text.clone());
        match self {
            Self::Move { from, to } => match tree.take(&from.steps) {
                Some(value) => tree.put(&to.steps, value).map_err(|_| no_object(to)),
                None => Ok(()),
            },
            Self::Drop(at) => {
                drop(tree.take(&at.steps));
                Ok(())
            }
            Self::Set { at, to } => tree
                .put(&at.steps, Tree::new(to))
                .map_err(|_| no_object(at)),
        }
    }
}

impl Path {
    fn new(text: String, number: usize) -> Result<Self, NotAMapping> {
        match pointer::steps(&text) {
            Some(steps) if !steps.is_empty() => Ok(Self { text, steps }),
            _ => Err(NotAMapping::of_step(
                number,
                "a place is a JSON pointer to a field, such as `/amount/value`; `~` is written `~0`, and `/` in a key `~1`",
            )),
        }
    }
}

#[cfg(test)]
mod tests;
