//! The replaced service's routes, byte-compatible in field names.
