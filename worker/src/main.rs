//! Binary of the worker; see lib.rs.

fn main() {}
