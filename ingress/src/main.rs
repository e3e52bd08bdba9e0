//! Binary of the ingress; see lib.rs.

fn main() {}
