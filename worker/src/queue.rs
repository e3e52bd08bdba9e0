//! The apalis backend: ids from Redis, claims from Postgres, nothing hoarded.
