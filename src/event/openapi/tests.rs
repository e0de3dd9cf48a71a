use std::collections::BTreeSet;

use super::*;
use crate::event::catalogue::Files;

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    let files: Files = [
        ("a.b/1.schema.json", r##"{"$defs":{"x":{"type":"string"}},"properties":{"p":{"$ref":"#/$defs/x"},"q":{"$ref":"#"},"m":{"$ref":"../shared/m.json"}}}"##),
        ("a.b/1.example.json", r#"{"p":"1"}"#),
        ("a.b/type.yaml", "deprecated: [1]"),
        ("a.b/2.schema.json", "true"),
        ("shared/m.json", r##"{"$defs":{"i":{"type":"integer"}},"properties":{"v":{"$ref":"#/$defs/i"}}}"##),
    ]
    .into_iter()
    .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
    .collect();
    let document = document(&Catalogue::compile(&files).0);
    let text = document.to_string();
    let references: BTreeSet<&str> = text
        .split("\"$ref\":\"#")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert!(references.len() > 7, "{references:?}");
    for reference in references {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
    assert_eq!(document["webhooks"]["a.b.1"]["post"]["deprecated"], true);
    assert_eq!(document["components"]["schemas"]["a.b.2.data"], true);
    assert_eq!(document["webhooks"].as_object().unwrap().len(), 2);
}
