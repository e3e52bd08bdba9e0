//! Settings of the worker.
