//! Extractors that refuse early: identity, JSON bodies, ids.
