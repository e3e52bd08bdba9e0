//! Checkout and portal sessions for the caller's own account.
