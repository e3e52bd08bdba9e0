//! One subscription per process that tells waiting requests of job changes.
