//! The polybus command.
fn main() {}
