//! The catalogue as pages in Markdown.
use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::event::catalogue::{Catalogue, TypeEntry, Version};
use crate::event::event_type::EventType;
use crate::event::fields;

/// The name of the page that lists the types.
const INDEX: &str = "README.md";

/// Returns the pages by file name: one for each type, and a list of all.
pub fn render(catalogue: &Catalogue) -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    let mut index = "# Events\n\n| type | versions | sent when |\n|---|---|---|\n".to_owned();
    for (event_type, entry) in catalogue.types() {
        let versions: Vec<String> = entry.versions.keys().map(u32::to_string).collect();
        // Writing to a String cannot fail.
        writeln!(
            index,
            "| [{event_type}]({event_type}.md) | {} | {} |",
            versions.join(", "),
            cell(entry.summary().unwrap_or_default())
        )
        .ok();
        pages.insert(format!("{event_type}.md"), page(event_type, entry));
    }
    pages.insert(INDEX.to_owned(), index);
    pages
}

/// Renders the page of a type, the newest version first.
fn page(event_type: &EventType, entry: &TypeEntry) -> String {
    let mut text = format!("# {event_type}\n");
    if let Some(about) = &entry.about {
        let (first, rest) = about.trim().split_once('\n').unwrap_or((about.trim(), ""));
        write!(text, "\n{}\n", first.trim_start_matches('#').trim()).ok();
        if !rest.trim().is_empty() {
            write!(text, "\n{}\n", rest.trim()).ok();
        }
    }
    for (number, version) in entry.versions.iter().rev() {
        let deprecated = if entry.deprecated.contains(number) {
            ", deprecated"
        } else {
            ""
        };
        write!(text, "\n## Version {number}{deprecated}\n").ok();
        text.push_str(&table(version));
        if let Some(example) = &version.example {
            write!(
                text,
                "\n```json\n{{\n  \"type\": \"{event_type}\",\n  \"timestamp\": \"2026-11-24T13:04:33.118Z\",\n  \"data\": {}\n}}\n```\n",
                indented(example.get())
            )
            .ok();
        }
    }
    text
}

/// Renders the fields of a version.
fn table(version: &Version) -> String {
    let fields = fields::list(&version.document);
    if fields.is_empty() {
        return String::new();
    }
    let head = "\n| field | type | always there | meaning |\n|---|---|---|---|\n".to_owned();
    fields.iter().fold(head, |text, field| {
        let always = if field.required { "yes" } else { "no" };
        format!(
            "{text}| `{}` | {} | {always} | {} |\n",
            cell(&field.path),
            cell(&field.kind),
            cell(&field.description)
        )
    })
}

/// Returns a text as a cell of a table.
fn cell(text: &str) -> String {
    let one_line: Vec<&str> = text.split_whitespace().collect();
    one_line.join(" ").replace('|', "\\|").replace('<', "&lt;")
}

/// Returns JSON with all lines but the first moved to the right. A fence inside the example cannot end the block.
fn indented(json: &str) -> String {
    json.trim()
        .replace('\n', "\n  ")
        .replace("```", "`\\u0060`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::catalogue::Files;

    #[test]
    fn pages_are_safe_to_show() {
        let files: Files = [
            ("a/about.md", "# One | line <b>\n\nMore."),
            (
                "a/1.schema.json",
                r#"{"properties":{"x|y":{"type":"string","description":"a\n|b<script>"}}}"#,
            ),
            ("a/1.example.json", "{\n\"x\": \"```\"}"),
        ]
        .into_iter()
        .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
        .collect();
        let pages = render(&Catalogue::compile(&files).0);
        assert_eq!(
            pages["README.md"],
            "# Events\n\n| type | versions | sent when |\n|---|---|---|\n| [a](a.md) | 1 | One \\| line &lt;b> |\n"
        );
        let page = &pages["a.md"];
        assert!(
            page.contains("| `x\\|y` | string | no | a \\|b&lt;script> |"),
            "{page}"
        );
        assert_eq!(page.matches("```").count(), 2, "{page}");
    }
}
