//! The plans: their types, JSON schemas and verification.
