//! Recognises texts that may be secrets, so that no report shows them.
use std::collections::{HashMap, HashSet};

use crate::config::diagnostic::{Step, looks_random};
use crate::config::yaml_tree::{Node, Spanned};

/// Returns the lines of a file that may contain a secret.
pub(super) fn suspect_lines(tree: &Spanned) -> HashSet<usize> {
    let mut suspects = Suspects::default();
    suspects.add(tree, "", false);
    suspects.lines
}

/// The lines that may contain a secret.
#[derive(Default)]
struct Suspects<'a> {
    lines: HashSet<usize>,
    /// Whether the values under a key may be secrets. Most keys repeat, and comparing one with known names takes a while.
    secretive: HashMap<&'a str, bool>,
}

impl<'a> Suspects<'a> {
    /// Adds the lines of a value under `key`; an item of a list has the key ``.
    fn add(&mut self, value: &'a Spanned, key: &str, near_secrets: bool) {
        match &value.node {
            Node::Scalar { text, .. } => {
                if may_be_secret_under(key, near_secrets, text) {
                    self.lines.extend(value.area.line..=value.area.end_line);
                }
            }
            Node::List(items) => items
                .iter()
                .for_each(|item| self.add(item, "", near_secrets)),
            Node::Map(entries) => {
                for entry in entries {
                    let is_word = entry
                        .key
                        .bytes()
                        .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                    // the key may be a secret itself
                    if near_secrets && !is_word {
                        self.lines.insert(entry.key_area.line);
                    }
                    let near_secrets = near_secrets
                        || *self
                            .secretive
                            .entry(&entry.key)
                            .or_insert_with(|| is_secretive(&entry.key));
                    self.add(&entry.value, &entry.key, near_secrets);
                }
            }
        }
    }
}

/// Returns whether a line of a file that is not valid YAML, or one of the lines that it belongs to, mentions secrets.
pub(super) fn may_hide_a_secret(text: &str, lines: &[&str], line: usize) -> bool {
    let mentions = |text: &str| {
        let text = text.to_ascii_lowercase();
        ["secret", "token", "inline", "insecure", "password", "key"]
            .iter()
            .any(|word| text.contains(word))
    };
    if text.to_ascii_lowercase().contains("inline") {
        return true;
    }
    let depth = |text: &str| text.len() - text.trim_start_matches([' ', '-', '\t']).len();
    let Some(mut least) = lines
        .get(line.saturating_sub(1))
        .map(|text| depth(text) + 1)
    else {
        return false;
    };
    for text in lines
        .iter()
        .take(line)
        .rev()
        .filter(|text| !text.trim().is_empty())
    {
        if depth(text) < least {
            if mentions(text) {
                return true;
            }
            least = depth(text);
        }
    }
    false
}

/// Returns whether a scalar may be a secret that was written into the config, on purpose or by accident.
pub(super) fn may_be_secret(path: &[Step], text: &str) -> bool {
    let near_secrets = path
        .iter()
        .any(|step| matches!(step, Step::Key(key) if is_secretive(key)));
    let key = match path.last() {
        Some(Step::Key(key)) => key.as_str(),
        Some(Step::Index(_)) | None => "",
    };
    may_be_secret_under(key, near_secrets, text)
}

/// Returns whether a scalar under `key` may be a secret. `near_secrets` says whether a key around it holds secrets.
fn may_be_secret_under(key: &str, near_secrets: bool, text: &str) -> bool {
    if looks_random(text)
        || text.contains("password=")
        || text
            .split_once("://")
            .is_some_and(|(_, rest)| rest.contains('@'))
    {
        return true;
    }
    if !near_secrets || key == "secret_encoding" || key == "secret_suffix" || key == "keep_token" {
        return false;
    }
    match key {
        "name" | "encoding" | "allow_whitespace" | "not_before" | "expires" => false,
        "by" => !text.starts_with('{') && !text.starts_with("header:"),
        "env" => !is_variable(text),
        "file" | "dir" => !text.contains(['/', '.']) || text.contains(['=', '+']),
        _ => !matches!(text, "" | "true" | "false" | "null" | "~"),
    }
}

/// Returns whether the values under this key may be secrets.
pub(super) fn is_secretive(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    // A longer key is not a typo of a known one, and measuring the distance would cost memory by its length.
    if key.len() > 64 {
        return true;
    }
    key == "sign"
        || ["secret", "token", "inline", "insecure", "password"]
            .iter()
            .any(|word| key.contains(word))
        || is_near(&key, "insecure_inline", 4)
        || is_near(&key, "secrets", 2)
}

/// Returns whether at most `most` edits make `key` out of `word`.
fn is_near(key: &str, word: &str, most: usize) -> bool {
    let lengths = key.chars().count().abs_diff(word.len());
    lengths <= most && strsim::damerau_levenshtein(key, word) <= most
}

/// Returns whether the text looks like the name of an environment variable, which a secret does not.
pub(super) fn is_variable(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_uppercase() || first == '_')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}
