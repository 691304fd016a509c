//! The `parthood` command.
fn main() {}
