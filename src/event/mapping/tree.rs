//! JSON that is taken apart only where it is changed.
use serde_json::value::RawValue;

use crate::event::pointer;

/// A JSON value. A value that was not looked into is still its text.
#[derive(Clone, Debug)]
pub(super) enum Tree<'t> {
    /// A value as it is written.
    Text(&'t str),
    /// An object in the order of its keys.
    Object(Vec<(String, Self)>),
    /// A list.
    List(Vec<Self>),
}

/// The error for a value whose place is inside something that is no object.
#[derive(Debug)]
pub(super) struct NoObject;

impl<'t> Tree<'t> {
    /// Returns the tree of a text, which must be JSON.
    pub(super) fn new(text: &'t str) -> Self {
        Self::Text(text.trim())
    }

    /// Removes the value at a place, and returns it.
    pub(super) fn take(&mut self, steps: &[String]) -> Option<Self> {
        let (step, rest) = steps.split_first()?;
        self.open();
        match self {
            Self::Object(members) => {
                let at = members.iter().position(|(key, _)| key == step)?;
                if rest.is_empty() {
                    return Some(members.remove(at).1);
                }
                members.get_mut(at)?.1.take(rest)
            }
            Self::List(items) => {
                let at = pointer::index(step).filter(|at| *at < items.len())?;
                if rest.is_empty() {
                    return Some(items.remove(at));
                }
                items.get_mut(at)?.take(rest)
            }
            Self::Text(_) => None,
        }
    }

    /// Writes a value at a place. Objects on the way are made; an item of a list must be there.
    pub(super) fn put(&mut self, steps: &[String], value: Self) -> Result<(), NoObject> {
        let Some((step, rest)) = steps.split_first() else {
            *self = value;
            return Ok(());
        };
        self.open();
        match self {
            Self::Object(members) => {
                if let Some((_, member)) = members.iter_mut().find(|(key, _)| key == step) {
                    return member.put(rest, value);
                }
                let mut member = Self::Object(Vec::new());
                member.put(rest, value)?;
                members.push((step.clone(), member));
                Ok(())
            }
            Self::List(items) => {
                let at = pointer::index(step).ok_or(NoObject)?;
                items.get_mut(at).ok_or(NoObject)?.put(rest, value)
            }
            Self::Text(_) => Err(NoObject),
        }
    }

    /// Takes the text of an object or of a list apart.
    fn open(&mut self) {
        let Self::Text(text) = *self else { return };
        let opened = match text.as_bytes().first() {
            Some(b'{') => pointer::members(text).map(|members| {
                let member = |(key, value): (&'t RawValue, &'t RawValue)| {
                    let key = serde_json::from_str(key.get()).unwrap_or_default();
                    (key, Self::new(value.get()))
                };
                Self::Object(members.into_iter().map(member).collect())
            }),
            Some(b'[') => serde_json::from_str::<Vec<&'t RawValue>>(text)
                .ok()
                .map(|items| {
                    Self::List(
                        items
                            .into_iter()
                            .map(|item| Self::new(item.get()))
                            .collect(),
                    )
                }),
            _ => None,
        };
        if let Some(opened) = opened {
            *self = opened;
        }
    }

    /// Renders the tree as JSON.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::Text(own) => text.push_str(own),
            Self::Object(members) => {
                text.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    text.push_str(&serde_json::Value::from(key.as_str()).to_string());
                    text.push(':');
                    value.write(text);
                }
                text.push('}');
            }
            Self::List(items) => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    item.write(text);
                }
                text.push(']');
            }
        }
    }
}
