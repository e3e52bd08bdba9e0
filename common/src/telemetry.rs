//! Logs, metrics and Sentry of a process.
