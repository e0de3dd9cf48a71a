//! Golden requests of all presets, each mangled as people mangle them: the explanation must name what was done.
mod contents;
mod golden;
mod secrets;
mod signatures;

#[test]
fn presets_sign_requests_that_are_authentic() {
    assert!(
        golden::goldens().len() >= 150,
        "{}",
        golden::goldens().len()
    );
}
