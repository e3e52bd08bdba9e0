//! SQL of jobs, their events and attempts.
