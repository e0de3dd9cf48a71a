//! Every committed seed of the fuzz targets, through the functions that the fuzzer calls.
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
mod targets;

fn each_seed(target: &str, run: impl Fn(&[u8])) {
    let mut count = 0;
    for entry in fs::read_dir(Path::new("fuzz/seeds").join(target)).unwrap() {
        let path = entry.unwrap().path();
        // so that the output of a failure names the seed
        eprintln!("{}", path.display());
        run(&fs::read(&path).unwrap());
        count += 1;
    }
    assert!((5..=100).contains(&count), "{count} seeds of {target}");
}

#[test]
fn configs() {
    each_seed("config", targets::config::run);
}

#[test]
fn templates() {
    each_seed("template", targets::template::run);
}

#[test]
fn events() {
    each_seed("events", targets::events::run);
}

#[test]
fn lists() {
    each_seed("lists", targets::lists::run);
}

#[test]
fn targets() {
    each_seed("target", targets::target::run);
}

#[test]
fn framing() {
    each_seed("framing", targets::framing::run);
}

#[test]
fn proxy_headers() {
    each_seed("proxy", targets::proxy::run);
}

#[test]
fn publishes() {
    each_seed("publish", targets::publish::run);
}

#[test]
fn endpoint_urls() {
    each_seed("endpoint_url", targets::endpoint_url::run);
}

/// A target without a test above would have seeds that nothing runs.
#[test]
fn every_target_has_a_test() {
    let names = |dir: &str| -> BTreeSet<String> {
        fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    let tests = include_str!("fuzz_seeds.rs");
    let targets = names("fuzz/targets");
    assert_eq!(targets, names("fuzz/seeds"));
    for target in targets {
        let call = format!("each_seed(\"{target}\", ");
        assert!(tests.contains(&call), "no test runs the seeds of {target}");
    }
}
