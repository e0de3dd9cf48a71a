use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::event::mapping::CannotMap;

fn files(list: &[(&str, &str)]) -> Files {
    list.iter()
        .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
        .collect()
}

/// The findings as `level file:line:column: message`.
fn findings(list: &[(&str, &str)]) -> Vec<String> {
    Catalogue::compile(&files(list))
        .1
        .iter()
        .map(|finding| format!("{:?} {finding}", finding.level).to_lowercase())
        .collect()
}

/// The files of `demo/events`.
fn demo_files() -> Files {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/demo/events"));
    let mut found = Files::new();
    for folder in std::fs::read_dir(dir).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            found.insert(name, std::fs::read(&path).unwrap());
        }
    }
    found
}

fn demo() -> Catalogue {
    let (catalogue, findings) = Catalogue::compile(&demo_files());
    assert_eq!(findings, []);
    catalogue
}

fn event_type(name: &str) -> EventType {
    EventType::new(name).unwrap()
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

const ABOUT: (&str, &str) = ("a/about.md", "An a was made.");
const SCHEMA: (&str, &str) = (
    "a/1.schema.json",
    r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#,
);
const EXAMPLE: (&str, &str) = ("a/1.example.json", r#"{"n":1}"#);

#[test]
fn demo_catalogue_has_no_finding() {
    let catalogue = demo();
    let names: Vec<&str> = catalogue.types().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["invoice.paid", "order.created"]);
    let invoice = catalogue.get(&event_type("invoice.paid")).unwrap();
    assert_eq!(invoice.summary(), Some("An invoice was paid in full."));
    assert_eq!((invoice.lowest(), invoice.newest()), (Some(1), Some(2)));
    assert_eq!(invoice.deprecated, BTreeSet::from([1]));
}

#[test]
fn mistakes_have_a_place_and_a_remedy() {
    let closed = "{\n  \"properties\": {\n    \"x\": {\n      \"additionalProperties\": false\n    }\n  }\n}";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("a/1.schema.json", closed)],
            "error a/1.schema.json:4:7: `additionalproperties: false` closes the schema: no field could ever be added (leave it out)",
        ),
        (
            &[SCHEMA],
            "warning a: version 1 has no example (write 1.example.json)",
        ),
        (
            &[SCHEMA, ("a/1.example.json", "{\n \"n\": \"x\"}")],
            "error a/1.example.json:2:2: the example of version 1 is not valid: `/n` is not an integer",
        ),
        (
            &[SCHEMA, ("a/1.example.json", "{\"n\": 1, \"n\": 2}")],
            "error a/1.example.json:1:12: the object at `/` has a key twice",
        ),
        (
            &[SCHEMA, ("a/3.schema.json", "{}")],
            "warning a: there are versions 1, 3, but no version 2 (number the versions 1, 2, 3 and so on)",
        ),
        (
            &[("a b/1.schema.json", "{}")],
            "error a b: the name of the folder is no event type",
        ),
        (
            &[("hookgate.x/1.schema.json", "{}")],
            "error hookgate.x: the name of the folder is no event type: event types that begin with `hookgate` are reserved",
        ),
        (
            &[ABOUT],
            "error a: this type has no version (write 1.schema.json)",
        ),
        (
            &[SCHEMA],
            "warning a: there is no text about this type (write about.md",
        ),
        (
            &[("a/1.schema.json", "{")],
            "error a/1.schema.json:1:1: this is not json",
        ),
        (
            &[("a/1.schema.json", "[]")],
            "error a/1.schema.json:1:1: this is not a json schema",
        ),
        (
            &[("a/1.schema.json", "{\n\"type\": \"text\"}")],
            "error a/1.schema.json:2:1: json schema does not allow this value of `type`",
        ),
        (
            &[("a/1.schema.json", "{\"pattern\": \"(?=a)\"}")],
            "error a/1.schema.json:1:2: `pattern` is not a regular expression that can be matched in linear time",
        ),
        (
            &[("a/1.schema.json", "{\"format\": \"int64\"}")],
            "warning a/1.schema.json:1:2: this `format` is not known",
        ),
        (
            &[(
                "a/1.schema.json",
                "{\"$ref\": \"https://example.com/x.json\"}",
            )],
            "error a/1.schema.json:1:2: `$ref` may point into its own file or into a shared one; nothing is fetched",
        ),
        (
            &[("a/1.schema.json", "{\"$ref\": \"../b/1.schema.json\"}")],
            "error a/1.schema.json:1:2: `$ref` may point",
        ),
        (
            &[("a/1.schema.json", "{\"$ref\": \"../shared/x.json\"}")],
            "error a/1.schema.json:1:2: there is no file shared/x.json",
        ),
        (
            &[("a/1.schema.json", "{\"$ref\": \"#/$defs/x\"}")],
            "error a/1.schema.json:1:2: `$ref` points at nothing that is a schema",
        ),
        (
            &[("a/1.schema.json", "{\"$anchor\": \"x\"}")],
            "error a/1.schema.json:1:2: `$anchor` is not supported",
        ),
        (
            &[(
                "a/1.schema.json",
                "{\"$schema\": \"http://json-schema.org/draft-07/schema#\"}",
            )],
            "error a/1.schema.json:1:2: schemas of a catalogue are written in draft 2020-12",
        ),
        (
            &[("shared/x.json", "{\"type\": 1}")],
            "error shared/x.json:1:2: json schema does not allow this value of `type`",
        ),
        (
            &[("shared/x y.json", "{}")],
            "warning shared/x y.json: this file is not read",
        ),
        (
            &[SCHEMA, ("a/2-to-1.yaml", "[]")],
            "error a/2-to-1.yaml: there is no version 2",
        ),
        (
            &[SCHEMA, ("a/2.schema.json", "{}"), ("a/1-to-2.yaml", "[]")],
            "error a/1-to-2.yaml: a mapping leads from a version to a lower one",
        ),
        (
            &[
                SCHEMA,
                ("a/2.schema.json", "{}"),
                ("a/2-to-1.yaml", "- drop: /a\n- drp: /b\n"),
            ],
            "error a/2-to-1.yaml:2:3: a mapping is a list of steps",
        ),
        (
            &[
                ("a/1.schema.json", "{\"required\":[\"amount_cents\"]}"),
                ("a/2.schema.json", "{}"),
                ("a/2.example.json", "{}"),
                ("a/2-to-1.yaml", "[]"),
            ],
            "error a/2-to-1.yaml: this makes of the example of version 2 data that version 1 refuses: `/amount_cents` is missing (add the step that is missing)",
        ),
        (
            &[SCHEMA, ("a/type.yaml", "thin: /id")],
            "error a/type.yaml:1:1: the settings of a type are not understood",
        ),
        (
            &[SCHEMA, ("a/type.yaml", "deprecated: [7]")],
            "error a/type.yaml: there is no version 7",
        ),
        (
            &[SCHEMA, ("a/2.example.json", "{}")],
            "error a/2.example.json: there is no version 2",
        ),
        (
            &[SCHEMA, ("a/notes.txt", "")],
            "warning a/notes.txt: this file is not read",
        ),
        (
            &[("notes.txt", "")],
            "warning notes.txt: this file is in no folder of a type",
        ),
    ];
    for (list, expected) in cases {
        let found = findings(list);
        assert!(
            found.iter().any(|finding| finding.starts_with(expected)),
            "{expected}\n{found:#?}"
        );
    }
    assert_eq!(
        findings(&[
            ABOUT,
            SCHEMA,
            EXAMPLE,
            ("README.md", ""),
            (".git/x", "\0"),
            ("a/.DS_Store", "")
        ]),
        Vec::<String>::new()
    );
}

#[test]
fn limits_are_kept() {
    let large = "x".repeat(MAX_FILE_BYTES + 1);
    let found = findings(&[("a/1.schema.json", &large)]);
    assert!(
        found
            .iter()
            .any(|finding| finding.contains("larger than 256 kib"))
    );
    let mut many = Files::new();
    for number in 0..2_001 {
        many.insert(format!("t{number}/1.schema.json"), b"{}".to_vec());
    }
    let (catalogue, found) = Catalogue::compile(&many);
    assert_eq!(catalogue.types().len(), 2_000);
    assert!(
        found
            .iter()
            .any(|finding| finding.message == "there are 2001 types; at most 2000 are allowed")
    );
    assert!(found.last().unwrap().message.contains("more warnings"));
    let versions: Vec<(String, Vec<u8>)> = (1..=65)
        .map(|n| (format!("a/{n}.schema.json"), b"{}".to_vec()))
        .collect();
    let (_, found) = Catalogue::compile(&versions.into_iter().collect());
    assert!(
        found
            .iter()
            .any(|finding| finding.message == "a type has at most 64 versions")
    );
    let mut not_text = files(&[SCHEMA]);
    not_text.insert("a/about.md".to_owned(), vec![0xff]);
    assert!(
        Catalogue::compile(&not_text)
            .1
            .iter()
            .any(|finding| finding.message.contains("UTF-8"))
    );
}

#[test]
fn shared_schemas_refer_to_each_other() {
    let (catalogue, found) = Catalogue::compile(&files(&[
        ABOUT,
        (
            "a/1.schema.json",
            r##"{"properties":{"x":{"$ref":"../shared/x.json#/$defs/inner"}, "self":{"$ref":"#"}}}"##,
        ),
        ("a/1.example.json", r#"{"x":{"y":"text"}}"#),
        (
            "shared/x.json",
            r##"{"$id":"https://acme.example/x","$defs":{"inner":{"properties":{"y":{"$ref":"y.json"},"again":{"$ref":"#/$defs/inner"}}}}}"##,
        ),
        ("shared/y.json", r#"{"type":"string"}"#),
        ("shared/unused.json", "{}"),
    ]));
    assert_eq!(found, []);
    let version = &catalogue.get(&event_type("a")).unwrap().versions[&1];
    assert!(
        version
            .schema
            .is_valid(&serde_json::json!({"x":{"again":{"y":"a"}}}))
    );
    assert!(
        !version
            .schema
            .is_valid(&serde_json::json!({"x":{"again":{"y":1}}}))
    );
    let defs: Vec<&str> = version.document["$defs"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(defs, ["shared/x.json", "shared/y.json"]);
}

#[test]
fn schema_that_only_refers_to_itself_ends() {
    for schema in [
        r##"{"$ref":"#"}"##,
        r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}"##,
    ] {
        let (catalogue, _) =
            Catalogue::compile(&files(&[ABOUT, ("a/1.schema.json", schema), EXAMPLE]));
        let _ = catalogue.types().len();
    }
}

#[test]
fn breach_never_quotes_the_data() {
    let schema = serde_json::json!({
        "properties": {
            "a": { "type": ["integer", "null"] }, "b": { "enum": [1] }, "c": { "format": "uuid" }, "d": { "pattern": "^x" },
            "e": { "maxLength": 2 }, "f": { "anyOf": [{ "type": "null" }] }, "g": { "const": 1 }
        },
        "propertyNames": { "maxLength": 3 }
    });
    let schema = Schema::compile(&schema).unwrap();
    let secret = "secret-1";
    let data = serde_json::json!({ "a": secret, "b": secret, "c": secret, "d": secret, "e": secret, "f": secret, "g": secret });
    let shown: Vec<String> = schema
        .breaches(&data)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        shown,
        [
            "`/a` is not null or an integer",
            "`/b` is not one of the values of `enum`",
            "`/c` does not have the format `uuid`",
            "`/d` does not match `pattern`",
            "`/e` is longer than 2",
            "`/f` fits no branch of `anyOf`",
            "`/g` is not the value of `const`",
        ]
    );
    let named = schema.breaches(&serde_json::json!({ "secret-1": 1 }));
    assert_eq!(
        named[0].to_string(),
        "`/` has a field whose name the schema does not allow"
    );
}

#[test]
fn pin_gets_its_version_or_the_nearest_lower_one() {
    for (pin, there_are, expected) in [
        (Some(2), vec![1, 2, 3], Some(2)),
        (Some(2), vec![1, 3], Some(1)),
        (Some(2), vec![3, 4], Some(3)),
        (Some(9), vec![3, 4], Some(4)),
        (None, vec![3, 4], Some(3)),
        (None, vec![], None),
    ] {
        assert_eq!(
            version_for(pin, there_are.clone()),
            expected,
            "{pin:?} {there_are:?}"
        );
    }
}

#[test]
fn publish_makes_the_pinned_versions() {
    let catalogue = demo();
    let data = raw(
        r#"{"id":"in_1", "amount":{"value":1250.0,"currency":"EUR"},"status":"paid","paid_at":"2026-11-24T13:04:33Z"}"#,
    );
    let invoice = event_type("invoice.paid");
    let publish = |given: &Given<'_>, pins: &[Option<u32>]| {
        catalogue.publish(
            &invoice,
            given,
            &pins.iter().copied().collect(),
            Policy::default(),
        )
    };
    let published = publish(&Given::One(None, &data), &[Some(2)]).unwrap();
    assert_eq!((published.version, published.versions.len()), (2, 1));
    assert_eq!(published.versions[&2].data.get(), data.get());
    // the type is younger than an endpoint without a pin: it gets the lowest version
    for pin in [None, Some(1)] {
        let published = publish(&Given::One(Some(2), &data), &[pin, Some(2)]).unwrap();
        assert_eq!(published.version_for(pin), 1);
        assert_eq!(published.versions[&1].mapped_from, Some(2));
        assert_eq!(
            published.versions[&1].data.get(),
            r#"{"id":"in_1","paid_at":"2026-11-24T13:04:33Z","amount_cents":1250.0,"currency":"EUR"}"#
        );
    }
    let old =
        raw(r#"{"id":"in_1","amount_cents":1,"currency":"EUR","paid_at":"2026-11-24T13:04:33Z"}"#);
    let both = Given::Many(BTreeMap::from([(1, &*old), (2, &*data)]));
    let published = publish(&both, &[Some(1)]).unwrap();
    assert_eq!(
        (published.version, published.versions[&1].data.get()),
        (2, old.get())
    );
    let pins = BTreeSet::from([None, Some(1), Some(2), Some(9)]);
    let made = |given: &Given<'_>| catalogue.made_for(&invoice, given, &pins);
    assert_eq!([made(&Given::One(None, &data)), made(&both)], [1, 0]);
    // no mapping leads up: the pin 2 gets version 1
    let published = publish(&Given::One(Some(1), &old), &[Some(2)]).unwrap();
    assert_eq!((published.version, published.version_for(Some(2))), (1, 1));
}

#[test]
fn publish_refuses_what_does_not_fit() {
    let catalogue = demo();
    let invoice = event_type("invoice.paid");
    let data =
        raw(r#"{"id":"secret","amount":{},"status":"paid","paid_at":"2026-11-24T13:04:33Z"}"#);
    let pins = BTreeSet::from([Some(1)]);
    let publish =
        |name: &EventType, given: &Given<'_>, policy| catalogue.publish(name, given, &pins, policy);
    let fault = publish(&invoice, &Given::One(None, &data), Policy::default()).unwrap_err();
    assert_eq!(fault.code(), "invalid_data");
    assert!(!fault.to_string().contains("secret"), "{fault}");
    assert!(fault.at().is_some() && fault.help().contains("version 2"));
    let unknown = publish(
        &event_type("invoice.lost"),
        &Given::One(None, &data),
        Policy::default(),
    )
    .unwrap_err();
    assert_eq!(
        (unknown.code(), unknown.to_string().as_str()),
        ("unknown_type", "the catalogue has no type `invoice.lost`")
    );
    let version = publish(&invoice, &Given::One(Some(7), &data), Policy::default()).unwrap_err();
    assert_eq!(
        (version.code(), version.help().as_str()),
        ("unknown_version", "there are versions 1, 2")
    );
    let nothing = publish(&invoice, &Given::Many(BTreeMap::new()), Policy::default()).unwrap_err();
    assert_eq!(nothing, PublishFault::NothingGiven);
    let warn = Policy {
        invalid: OnFault::Warn,
        unknown: OnFault::Warn,
    };
    let published = publish(&event_type("invoice.lost"), &Given::One(None, &data), warn).unwrap();
    assert_eq!((published.version, published.faults.len()), (1, 1));
    // both the data and what the mapping makes of it are not valid
    let published = publish(&invoice, &Given::One(None, &data), warn).unwrap();
    assert_eq!(
        published.versions.keys().copied().collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(published.faults.len(), 2);
}

#[test]
fn mapping_that_makes_invalid_data_refuses_the_event() {
    let (catalogue, _) = Catalogue::compile(&files(&[
        (
            "a/1.schema.json",
            r#"{"required":["n"],"properties":{"n":{"type":"integer"}}}"#,
        ),
        ("a/2.schema.json", "{}"),
        (
            "a/2-to-1.yaml",
            "- move: { from: /m/n, to: /n }\n- set: { at: /x/y, to: 1 }",
        ),
    ]));
    let pins = BTreeSet::from([Some(1)]);
    let publish = |data: &str| {
        let data = raw(data);
        catalogue.publish(
            &event_type("a"),
            &Given::One(None, &data),
            &pins,
            Policy::default(),
        )
    };
    assert!(publish(r#"{"m":{"n":1}}"#).is_ok());
    let fault = publish("{}").unwrap_err();
    assert_eq!(
        fault.to_string(),
        "the data of version 2, mapped to version 1 for an endpoint, is not valid: `/n` is missing"
    );
    assert!(fault.help().contains("2-to-1.yaml"));
    let fault = publish(r#"{"m":{"n":1},"x":1}"#).unwrap_err();
    let why = CannotMap::NoObject("/x/y".to_owned());
    assert_eq!(
        fault,
        PublishFault::CannotMap {
            from: 2,
            to: 1,
            why
        }
    );
}

#[test]
fn mappings_are_chained_by_the_fewest() {
    let (catalogue, _) = Catalogue::compile(&files(&[
        ("a/1.schema.json", "{}"),
        ("a/2.schema.json", "{}"),
        ("a/3.schema.json", "{}"),
        ("a/4.schema.json", "{}"),
        ("a/4-to-3.yaml", "- set: { at: /by, to: 43 }"),
        ("a/3-to-2.yaml", "- set: { at: /by2, to: 32 }"),
        ("a/2-to-1.yaml", "[]"),
        ("a/3-to-1.yaml", "- set: { at: /by1, to: 31 }"),
    ]));
    let data = raw("{}");
    let pins = BTreeSet::from([Some(1), Some(2)]);
    let published = catalogue
        .publish(
            &event_type("a"),
            &Given::One(None, &data),
            &pins,
            Policy::default(),
        )
        .unwrap();
    assert_eq!(published.versions[&1].data.get(), r#"{"by":43,"by1":31}"#);
    assert_eq!(published.versions[&2].data.get(), r#"{"by":43,"by2":32}"#);
}
