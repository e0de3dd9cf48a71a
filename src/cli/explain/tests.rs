use super::*;
use crate::explain::{Cause, Finding, SecretChange, Tried};

fn finding(causes: Vec<Cause>) -> Finding {
    Finding {
        refused: Some(crate::verify::NotAuthentic::SignatureMismatch),
        is_proven: !causes.is_empty(),
        matched: (!causes.is_empty()).then(|| ("github-labs".into(), "2026-11".into())),
        causes,
        tried: Tried {
            own_secrets: 2,
            readings: 18,
            other_secrets: 31,
            ..Tried::default()
        },
    }
}

fn shown(finding: &Finding) -> String {
    as_text(&Explanation::new(finding, "github"), &Look::of_stdout())
}

#[test]
fn explanation_says_cause_match_and_what_to_do() {
    insta::assert_snapshot!(shown(&finding(vec![Cause::OtherRoute {
        route: "github-labs".into(),
        name: "2026-11".into(),
    }])));
    insta::assert_snapshot!(shown(&finding(vec![Cause::Secret {
        name: "2026-11".into(),
        changes: vec![SecretChange::AsBase64],
    }])));
    insta::assert_snapshot!(shown(&finding(Vec::new())));
}

#[test]
fn explanation_as_json_has_stable_codes() {
    let cause = Cause::NoSignature {
        expected: "x-hub-signature-256".into(),
    };
    let explanation = Explanation::new(&finding(vec![cause]), "github");
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["causes"][0]["code"], "no_signature");
    assert_eq!(json["matches"]["route"], "github-labs");
    assert_eq!(json["tried"]["other_secrets"], 31);
}
