use super::*;
use crate::config::presets::Preset;

fn look() -> Look {
    Look {
        width: Some(100),
        utf8: true,
        zone: jiff::tz::TimeZone::UTC,
    }
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn rows(names: &[&str]) -> Vec<std::sync::Arc<Preset>> {
    names
        .iter()
        .map(|name| Catalogue::built_in().get(name).unwrap())
        .collect()
}

#[test]
fn list_fits_100_columns() {
    let presets = rows(&["github", "slack", "stripe", "ably", "gitlab", "square"]);
    let rows: Vec<Row<'_>> = presets.iter().map(|preset| Row::of(preset)).collect();
    let text = table(&rows, &look());
    assert!(plain(&text).lines().all(|line| line.chars().count() <= 100));
    insta::assert_snapshot!("list_plain", plain(&text));
    insta::assert_snapshot!("list_coloured", text.replace('\x1b', "^"));
}

#[test]
fn a_preset_is_shown() {
    for name in [
        "stripe",
        "github",
        "gitlab",
        "brevo",
        "datadog",
        "docusign",
        "standard-webhooks",
        "meta",
        "zoom",
    ] {
        let preset = context::preset(Catalogue::built_in(), name).unwrap();
        insta::assert_snapshot!(format!("show_{name}"), plain(&show(&Row::of(&preset))));
    }
    let preset = context::preset(Catalogue::built_in(), "stripe").unwrap();
    insta::assert_snapshot!(
        "show_stripe_coloured",
        show(&Row::of(&preset)).replace('\x1b', "^")
    );
}

#[test]
fn table_in_the_docs_is_up_to_date() {
    let docs = include_str!("../../../docs/providers.md");
    let rows: Vec<Row<'_>> = Catalogue::built_in()
        .presets()
        .map(|preset| Row::of(preset))
        .collect();
    let table = docs.split("<!-- table -->\n").nth(1).unwrap();
    assert_eq!(
        table,
        markdown_table(&rows),
        "hookgate providers list --markdown prints it"
    );
}

#[test]
fn every_preset_can_be_shown() {
    for preset in Catalogue::built_in().presets() {
        let row = Row::of(preset);
        assert!(show(&row).contains("in a route"), "{}", preset.name);
        assert!(
            context::shape(preset, None).is_ok() || row.scheme() == "token",
            "{}",
            preset.name
        );
        assert!(
            context::shape(preset, None).is_ok() || context::shape(preset, Some("X-Token")).is_ok(),
            "{}",
            preset.name
        );
        assert_eq!(row.json()["name"], *preset.name);
    }
}
