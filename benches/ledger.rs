//! Fills the embedded ledger.
fn main() {}
