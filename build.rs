//! Builds anew when a preset is added, changed or taken out: `include_dir` alone does not notice.
#![expect(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

fn main() {
    println!("cargo:rerun-if-changed=providers");
}
