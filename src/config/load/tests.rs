use std::ffi::OsString;
use std::path::PathBuf;

use crate::clock::{Clock as _, FrozenClock};

use super::*;

fn env(name: &str) -> Option<OsString> {
    match name {
        "EMPTY_VARIABLE" => Some("".into()),
        "NOT_SET_ANYWHERE" => None,
        name => Some(format!("a-long-value-of-the-variable-{name}").into()),
    }
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(name)
}

fn files(name: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

fn try_load(path: &Path) -> Result<Loaded, Rejected> {
    load(path, &env, None, 1, FrozenClock::at_unix(1_795_000_000).now())
}

/// The report as a person sees it who stands in the folder of the file.
fn shown(report: &Report, path: &Path) -> String {
    let folder = format!("{}/", path.parent().unwrap().display());
    format!("{}\n{}\n", report.render(false), report.summary()).replace(&folder, "")
}

#[test]
fn bad_files_say_what_is_wrong_and_what_to_write() {
    for path in files("bad") {
        let rejected = try_load(&path).expect_err(&path.display().to_string());
        let expected = path.with_extension("txt");
        let shown = shown(&rejected.report, &path);
        if std::env::var_os("HOOKGATE_WRITE_EXPECTED").is_some() {
            std::fs::write(&expected, &shown).unwrap();
        }
        assert_eq!(shown, std::fs::read_to_string(&expected).unwrap_or_default(), "{}", path.display());
    }
}
