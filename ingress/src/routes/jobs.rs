//! Watching, listing and cancelling jobs.
