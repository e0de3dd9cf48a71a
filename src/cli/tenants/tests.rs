//! Samples of `hookgate tenants`.
use super::*;

fn look(width: Option<usize>) -> Look {
    Look {
        width,
        utf8: true,
        zone: jiff::tz::TimeZone::UTC,
    }
}

fn tenants() -> Vec<Tenant> {
    let acme = Tenant {
        uid: "acme".to_owned(),
        created_at: "2026-11-21T09:14:02Z".to_owned(),
        name: Some("Acme \x1b[2J Inc.".to_owned()),
        limits: Limits {
            publish: Some("100/s".to_owned()),
            endpoints: Some(10),
        },
    };
    let other = Tenant {
        uid: "org:4711".to_owned(),
        created_at: "2026-11-22T13:04:33Z".to_owned(),
        ..Tenant::default()
    };
    vec![acme, other]
}

#[test]
fn samples() {
    let found = Listed {
        items: tenants(),
        is_whole: true,
    };
    let list = render_list(&found, &look(Some(100)));
    let plain = |text: &str| anstream::adapter::strip_str(text).to_string();
    insta::assert_snapshot!("list_plain", plain(&list));
    insta::assert_snapshot!("list_coloured", list.replace('\x1b', "^"));
    let paused = EndpointState {
        state: "paused".to_owned(),
    };
    let endpoints = [EndpointState::default(), paused];
    let shown: Vec<String> = tenants()
        .iter()
        .map(|tenant| render(tenant, &endpoints, &look(None)))
        .collect();
    insta::assert_snapshot!("show_plain", plain(&shown.join("\n")));
    assert_eq!(foot(&found, "tenant"), "2 tenants");
    let part = Listed {
        is_whole: false,
        ..found
    };
    assert_eq!(
        foot(&part, "tenant"),
        "2 tenants shown; for more: --limit 20"
    );
}
