//! The `samara` command line.
fn main() {}
