//! The dispatch lists in Redis: ids only, Postgres holds the truth.
