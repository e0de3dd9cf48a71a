use std::sync::Arc;

use zeroize::Zeroizing;

use super::*;

#[test]
fn nothing_shows_the_secret() {
    let text = SecretText {
        name: "new".into(),
        text: Zeroizing::new(b"s3cret".to_vec()),
        encodings: None,
        not_before: None,
        expires: None,
    };
    let set = SecretSet::list(SecretKind::Token, &[], None, std::slice::from_ref(&text)).unwrap();
    let shown = format!("{text:?} {set:?}");
    assert!(
        shown.contains("new") && !shown.contains("s3cret") && !shown.contains("115, 51"),
        "{shown}"
    );
}

#[test]
fn one_entry_of_a_table_changes_alone() {
    let table = SecretTable::default();
    let entry = |text: &str| -> Arc<[Candidate]> {
        let text = SecretText {
            name: "k".into(),
            text: Zeroizing::new(text.as_bytes().to_vec()),
            encodings: None,
            not_before: None,
            expires: None,
        };
        Candidate::make(SecretKind::Token, &[], None, &text)
            .unwrap()
            .into()
    };
    table.set("a", Some(&entry("1")));
    table.set("b", Some(&entry("2")));
    let unchanged = table.get("a").unwrap();
    table.set("b", None);
    assert!(Arc::ptr_eq(&unchanged, &table.get("a").unwrap()));
    assert!(table.get("b").is_none() && table.len() == 1);
    assert!(!is_key("") && !is_key("a/b") && !is_key(&"a".repeat(129)) && is_key("A-z_9"));
}
