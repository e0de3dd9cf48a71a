//! Parses YAML to a tree of values with their positions, and rejects features of YAML that a config must not use.
//!
//! The tree is for the caret and the shape check. The meaning of the text comes from serde on the same text.
use std::collections::HashSet;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::config::diagnostic::Step;

/// The largest size of a file, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;
/// The deepest nesting of maps and lists.
const MAX_DEPTH: usize = 32;
/// The largest number of faults that are reported for one file.
const MAX_FAULTS: usize = 100;

/// A range of the text. Lines and columns count from 1, columns in characters; the end is exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Area {
    /// The first line.
    pub line: usize,
    /// The first column.
    pub column: usize,
    /// The last line.
    pub end_line: usize,
    /// The column after the last character.
    pub end_column: usize,
}

impl Area {
    /// Returns an area of one character.
    pub fn at(line: usize, column: usize) -> Self {
        Self {
            line,
            column,
            end_line: line,
            end_column: column + 1,
        }
    }

    /// Returns the area of a span.
    fn of(span: Span) -> Self {
        Self {
            line: span.start.line(),
            column: span.start.col() + 1,
            end_line: span.end.line(),
            end_column: span.end.col() + 1,
        }
    }
}

/// A value and its position.
#[derive(Debug)]
pub struct Spanned {
    /// The position.
    pub area: Area,
    /// The value.
    pub node: Node,
}

/// A value.
#[derive(Debug)]
pub enum Node {
    /// A text, a number, a boolean, or no value.
    Scalar {
        /// The text, quotes and escapes resolved.
        text: String,
        /// Whether it is written without quotes, so that it may be a number, a boolean or no value.
        plain: bool,
    },
    /// A list.
    List(Vec<Spanned>),
    /// A map.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The position of the key.
    pub key_area: Area,
    /// The value.
    pub value: Spanned,
    /// Whether the map already has this key. Such an entry is ignored.
    pub repeated: bool,
}

/// A fault of the text as YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The position.
    pub area: Area,
    /// The error in the user's terms.
    pub message: String,
    /// The fix.
    pub help: Option<String>,
    /// Whether the text cannot be used at all because of it.
    pub fatal: bool,
}

impl Spanned {
    /// Returns an empty map.
    fn nothing() -> Self {
        Self {
            area: Area::at(1, 1),
            node: Node::Map(Vec::new()),
        }
    }

    /// Returns the value at `path` or the nearest one around it, the position of its key if it is in a map, and whether it is the value itself.
    pub fn find(&self, path: &[Step]) -> (&Self, Option<Area>, bool) {
        let mut found = (self, None);
        for step in path {
            let next = match (&found.0.node, step) {
                (Node::Map(entries), Step::Key(key)) => entries
                    .iter()
                    .find(|entry| entry.key == *key)
                    .map(|entry| (&entry.value, Some(entry.key_area))),
                (Node::List(items), Step::Index(index)) => {
                    items.get(*index).map(|item| (item, None))
                }
                (Node::Map(_) | Node::List(_) | Node::Scalar { .. }, _) => None,
            };
            let Some(next) = next else {
                return (found.0, found.1, false);
            };
            found = next;
        }
        (found.0, found.1, true)
    }
}

/// Parses `text`. An empty text is an empty map. If a tree is returned, no fault is fatal.
pub fn read(text: &str) -> (Option<Spanned>, Vec<Fault>) {
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        faults: Vec::new(),
    };
    let tree = reader.document();
    let fatal = reader.faults.iter().any(|fault| fault.fatal);
    (tree.filter(|_| !fatal), reader.faults)
}

struct Reader<'a> {
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    /// Notes a fault.
    fn fault(&mut self, span: Span, message: impl Into<String>, help: &str, fatal: bool) {
        if self.faults.len() < MAX_FAULTS {
            let help = (!help.is_empty()).then(|| help.to_owned());
            self.faults.push(Fault {
                area: Area::of(span),
                message: message.into(),
                help,
                fatal,
            });
        }
    }

    /// Returns the next event.
    fn next(&mut self) -> Option<(Event<'a>, Span)> {
        match self.events.next_event()? {
            Ok(next) => Some(next),
            Err(error) => {
                let message = format!("invalid YAML: {}", error.info());
                self.fault(Span::empty(*error.marker()), message, "", true);
                None
            }
        }
    }

    /// Parses the only document.
    fn document(&mut self) -> Option<Spanned> {
        let mut tree = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::Nothing | Event::DocumentEnd => {}
                Event::DocumentStart(_) if tree.is_some() => {
                    self.fault(
                        span,
                        "there must be only one YAML document",
                        "remove the second document",
                        true,
                    );
                    return None;
                }
                Event::DocumentStart(_) => {
                    let (first, span) = self.next()?;
                    tree = Some(self.value(first, span, 0)?);
                }
                Event::StreamEnd => return Some(tree.unwrap_or_else(Spanned::nothing)),
                Event::Alias(_)
                | Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)
                | Event::MappingEnd => {
                    return None;
                }
            }
        }
    }

    /// Returns the value that `event` begins.
    fn value(&mut self, event: Event<'a>, span: Span, depth: usize) -> Option<Spanned> {
        if depth > MAX_DEPTH {
            self.fault(
                span,
                format!("maps and lists are nested more than {MAX_DEPTH} levels deep"),
                "",
                true,
            );
            return None;
        }
        let (node, end) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_extras(span, anchor, tag.is_some());
                (
                    Node::Scalar {
                        text: text.into_owned(),
                        plain: style == ScalarStyle::Plain,
                    },
                    span,
                )
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_extras(span, anchor, tag.is_some());
                self.list(depth)?
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_extras(span, anchor, tag.is_some());
                self.map(depth)?
            }
            Event::Alias(_) => {
                self.fault(
                    span,
                    "YAML aliases are not allowed",
                    "repeat the value here",
                    true,
                );
                (
                    Node::Scalar {
                        text: String::new(),
                        plain: true,
                    },
                    span,
                )
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return None,
        };
        Some(Spanned {
            area: Area::of(Span::new(span.start, end.end)),
            node,
        })
    }

    /// Parses the items of a list.
    fn list(&mut self, depth: usize) -> Option<(Node, Span)> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Some((Node::List(items), span));
            }
            items.push(self.value(event, span, depth + 1)?);
        }
    }

    /// Parses the entries of a map.
    fn map(&mut self, depth: usize) -> Option<(Node, Span)> {
        let mut entries = Vec::new();
        let mut names = HashSet::new();
        loop {
            let (event, key_span) = self.next()?;
            if event == Event::MappingEnd {
                return Some((Node::Map(entries), key_span));
            }
            let key = self.value(event, key_span, depth + 1)?;
            let (event, span) = self.next()?;
            let value = self.value(event, span, depth + 1)?;
            let Node::Scalar { text: name, plain } = key.node else {
                self.fault(key_span, "a key must be text", "", true);
                continue;
            };
            if plain && name == "<<" {
                self.fault(
                    key_span,
                    "YAML merge keys are not allowed",
                    "write the keys here",
                    true,
                );
            }
            let repeated = !names.insert(name.clone());
            if repeated {
                self.fault(
                    key_span,
                    "this key is repeated",
                    "keep one of the two",
                    false,
                );
            }
            entries.push(Entry {
                key: name,
                key_area: key.area,
                value,
                repeated,
            });
        }
    }

    /// Notes anchors and tags as faults.
    fn refuse_extras(&mut self, span: Span, anchor: usize, tag: bool) {
        if anchor > 0 {
            self.fault(
                span,
                "YAML anchors are not allowed",
                "write the value where it is needed",
                true,
            );
        }
        if tag {
            self.fault(span, "YAML tags are not allowed", "remove the tag", true);
        }
    }
}
