//! What the documents say is what the code says.
use hookgate::refusal::Refusal;

/// `docs/refusals.md` lists every code with its status.
#[test]
fn refusals() {
    let page = std::fs::read_to_string("docs/refusals.md").unwrap();
    for refusal in Refusal::ALL {
        let row = format!("| `{}` | {} |", refusal.code(), refusal.status().as_u16());
        assert!(page.contains(&row), "docs/refusals.md has no row that begins with {row}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, Refusal::ALL.len(), "docs/refusals.md has rows for codes that are no more");
}
