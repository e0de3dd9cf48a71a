use super::*;
use crate::config::file::short_forms::SHORT_FORMS;
use crate::config::{file, type_schema, yaml_tree};

/// Compares a text with the block of this name. Returns the errors.
fn errors(schema: &Value, block: &str, text: &str) -> Vec<String> {
    let (tree, faults) = yaml_tree::read(text);
    assert!(faults.is_empty(), "{text}");
    let meaning: Meaning = serde_yaml::from_str(text).unwrap();
    let part = serde_json::json!({ "$ref": format!("#/$defs/{block}") });
    let mut problems = Diagnostics::default();
    Shape {
        schema,
        problems: &mut problems,
    }
    .value(&part, &Place::root(0), &tree.unwrap(), &meaning);
    problems.list.into_iter().map(|one| one.message).collect()
}

#[test]
fn short_forms_name_blocks_and_their_keys() {
    let schema = type_schema::of::<file::File>();
    for form in SHORT_FORMS {
        let at = format!("{} {:?}", form.block, form.given);
        assert!(schema["$defs"][form.block].is_object(), "{at}");
        if !form.write.starts_with('{') {
            assert!(["none", "queue", "fail"].contains(&form.write), "{at}");
            continue;
        }
        let value = match (form.block, form.write) {
            (_, write) if write.contains(": [$]") => "10.0.0.0/8",
            ("Retry" | "Egress", write) if !write.contains("max_attempts") => "[5s]",
            ("Acknowledgement" | "Breaker" | "Retry", write) if !write.contains("body") => "200",
            _ => "value",
        };
        let text = form.write.replace(", …", "").replace('$', value);
        assert_eq!(errors(&schema, form.block, &text), [""; 0], "{at}: {text}");
    }
}
