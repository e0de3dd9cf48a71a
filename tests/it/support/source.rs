//! Reads the sources of the program.

/// Returns the code without comments and without items that are compiled for tests alone.
///
/// It relies on rustfmt, which ends such an item with a line of the same indentation.
pub fn without_tests(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if !line.trim_start().starts_with("#[cfg(test)]") {
            code.push_str(line.split("//").next().unwrap_or_default());
            code.push('\n');
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let item = lines
            .by_ref()
            .find(|line| !line.trim_start().starts_with("#["))
            .unwrap_or_default();
        if item.ends_with('{') {
            let end = format!("{}}}", " ".repeat(indent));
            lines.by_ref().find(|line| line.starts_with(&end));
        } else if !item.ends_with([';', ',']) {
            lines.by_ref().find(|line| line.ends_with([';', ',']));
        }
    }
    code
}
