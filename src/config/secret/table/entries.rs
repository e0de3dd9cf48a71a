//! Parses a table of secrets in one YAML file.
use crate::config::diagnostic::{Diagnostics, Place};
use crate::config::yaml_tree::{self, Entry, Node};
use crate::verify::is_key;

/// The largest number of keys of a table.
pub(super) const MAX_KEYS: usize = 10_000;
/// The fault of a name that cannot be a key.
pub(super) const NOT_A_KEY: &str = "keys are at most 128 letters, digits, `_` and `-`";

/// Parses the map of a table in one file, and reports errors.
pub(super) fn entries(text: &str, place: &Place, problems: &mut Diagnostics) -> Option<Vec<Entry>> {
    let (tree, faults) = yaml_tree::read(text);
    if let Some(fault) = faults.first() {
        problems.error(
            place,
            format!(
                "the table of secrets is not valid: see line {}",
                fault.area.line
            ),
            fault.help.clone(),
        );
        return None;
    }
    let Some(Node::Map(entries)) = tree.map(|tree| tree.node) else {
        problems.error(
            place,
            "the table of secrets is not a map",
            "write one `KEY: SECRET` per line".to_owned(),
        );
        return None;
    };
    if entries.len() > MAX_KEYS {
        problems.error(place, format!("there are more than {MAX_KEYS} keys"), None);
        return None;
    }
    Some(entries)
}

/// Returns the text of an entry, or the error.
pub(super) fn text_of(node: Node, key: &str) -> Result<String, String> {
    match node {
        _ if !is_key(key) => Err(NOT_A_KEY.to_owned()),
        Node::Scalar { text, plain: true } if matches!(&*text, "null" | "Null" | "NULL" | "~") => {
            Err("the secret is empty".to_owned())
        }
        Node::Scalar { text, .. } => Ok(text),
        Node::List(_) | Node::Map(_) => Err("the secret is not text".to_owned()),
    }
}
