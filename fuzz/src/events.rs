//! Catalogues of events: what compiles can be published, mapped and compared, and no data is in anything said.
//!
//! The input: the schema of version 1, the schema of version 2, the mapping from 2 to 1, each on a line of its own; then data of version 2.
use std::collections::BTreeSet;

use hookgate::event::catalogue::{Catalogue, Files, Given, OnFault, Policy};
use hookgate::event::{EventType, diff, document, openapi, pages};
use serde_json::Value;
use serde_json::value::RawValue;

use super::request;

pub fn run(bytes: &[u8]) {
    let mut rest = bytes;
    let mut files = Files::new();
    for name in ["a/1.schema.json", "a/2.schema.json", "a/2-to-1.yaml"] {
        files.insert(name.to_owned(), request::line(&mut rest).to_vec());
    }
    files.insert("a/2.example.json".to_owned(), rest.to_vec());
    let (catalogue, findings) = Catalogue::compile(&files);
    assert_eq!(Catalogue::compile(&files).1, findings, "another verdict");
    assert!(findings.iter().all(|finding| !finding.message.is_empty()));
    openapi::document(&catalogue);
    pages::render(&catalogue);
    let event_type = EventType::new("a").unwrap();
    let entry = catalogue.get(&event_type).unwrap();
    let schemas: Vec<&Value> = entry
        .versions
        .values()
        .map(|version| &version.document)
        .collect();
    if let [one, two] = *schemas {
        assert!(
            diff::schemas(one, one)
                .iter()
                .all(|change| change.verdict != diff::Verdict::Breaking),
            "{one}"
        );
        diff::schemas(one, two);
    }
    if document::check(rest).is_ok() {
        published(&catalogue, &event_type, rest);
    }
}

/// A published event is valid in each version that is sent.
fn published(catalogue: &Catalogue, event_type: &EventType, data: &[u8]) {
    let data: Box<RawValue> = serde_json::from_slice(data).unwrap();
    let pins = BTreeSet::from([None, Some(1), Some(2)]);
    let warn = Policy {
        invalid: OnFault::Warn,
        unknown: OnFault::Warn,
    };
    assert!(
        catalogue
            .publish(event_type, &Given::One(None, &data), &pins, warn)
            .is_ok()
    );
    let given = Given::One(Some(2), &data);
    let Ok(published) = catalogue.publish(event_type, &given, &pins, Policy::default()) else {
        return;
    };
    assert_eq!(
        published.versions[&2].data.get(),
        data.get(),
        "the data was changed"
    );
    for (number, own) in &published.versions {
        let value = document::parse(own.data.get().as_bytes()).unwrap();
        let version = &catalogue.get(event_type).unwrap().versions[number];
        assert!(
            version.schema.is_valid(&value),
            "version {number} is not valid"
        );
    }
}
