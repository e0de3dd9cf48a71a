use super::*;
use crate::config::report::Report;

/// Returns the errors of these presets.
fn read<'a>(files: impl Iterator<Item = (&'a str, &'a [u8])>) -> Report {
    let mut problems = Diagnostics::default();
    let mut sources = Vec::new();
    for (index, (name, bytes)) in files.enumerate() {
        let mut source = Source::new(format!("providers/{name}.yaml"), bytes);
        let provider: file::Provider = source.parse(index, &mut problems);
        let facts = Place::root(index).key("facts");
        check_facts(&provider.facts, &facts, &mut problems);
        sources.push(source);
    }
    Report::new(&sources, &problems)
}

#[test]
fn every_embedded_preset_can_be_read() {
    let report = read(files());
    assert!(report.findings.is_empty(), "{}", report.render(false));
    let catalogue = Catalogue::built_in();
    assert_eq!(catalogue.get("github").unwrap().title(), "GitHub");
    assert!(catalogue.names().count() >= 25);
}

#[test]
fn ids_of_objects_are_no_delivery_ids() {
    let id = |name: &str| {
        Catalogue::built_in()
            .get(name)
            .unwrap()
            .provider
            .verify
            .delivery_id
            .clone()
    };
    for name in ["recurly", "postmark", "brevo", "assemblyai", "flutterwave"] {
        assert!(id(name).is_none(), "{name}");
    }
    for name in [
        "trello",
        "pipedrive",
        "surveymonkey",
        "deepgram",
        "buy-me-a-coffee",
        "flutterwave-v4",
    ] {
        assert_eq!(id(name).unwrap().with_body, Some(true), "{name}");
    }
}

/// Checks that presets whose body contains the event ID are marked as never repeating.
#[test]
fn presets_with_an_event_id_have_unique_bodies() {
    for preset in Catalogue::built_in().presets() {
        let id = preset.provider.verify.delivery_id.as_ref();
        let alone = id.is_some_and(|id| id.json.is_some() && id.with_body != Some(true));
        let is_known = Known::of(preset.provider.facts.bodies_repeat.as_deref()) == Known::No;
        // only events have the ID of slack; mailgun signs no body; users of the other two can map a body of their own
        let others = ["slack", "mailgun", "aws-eventbridge", "segment"];
        assert!(
            !alone || is_known || others.contains(&&*preset.name),
            "{}",
            preset.name
        );
    }
}

#[test]
fn preset_refusal_status_is_one_that_is_retried() {
    let report = |facts: &str| {
        let text = format!("title: Acme\nfacts: {facts}\n");
        read([("acme", text.as_bytes())].into_iter()).render(false)
    };
    for facts in [
        "{ refused_status: 403, stops_on: [403] }",
        "{ refused_status: 406, stops_on: [4xx] }",
        "{ refused_status: 410, disables_on: [410] }",
        "{ refused_status: 503, stops_on: [400], disables_on: [404, 5xx] }",
    ] {
        assert!(
            report(facts).contains("the provider does not retry after"),
            "{facts}"
        );
    }
    assert!(report("{ refused_status: 200 }").contains("not a valid refusal status"));
    for facts in ["{ stops_on: [99] }", "{ disables_on: [403, 6xx] }"] {
        assert!(report(facts).contains("not a failure status"), "{facts}");
    }
    for facts in [
        "{ bodies_repeat: true }",
        "{ retry_keeps_time: maybe }",
        "{ refused_body: none }",
    ] {
        assert!(!report(facts).is_empty(), "{facts}");
    }
    assert_eq!(
        report(
            "{ refused_status: 401, refused_body: empty, stops_on: [403, 5xx], bodies_repeat: no }"
        ),
        ""
    );
}
