//! Operator actions, admin role only.
