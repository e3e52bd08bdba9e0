//! Repairs what faults left behind: lost messages, expired leases, overdue jobs.
