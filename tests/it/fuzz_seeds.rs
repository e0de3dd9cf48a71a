//! Every committed seed of the fuzz targets, through the functions that the fuzzer calls.
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
