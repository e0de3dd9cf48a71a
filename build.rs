//! Builds anew when a preset is added, changed or taken out: `include_dir` alone does not notice.
fn main() {
    println!("cargo:rerun-if-changed=providers");
}
