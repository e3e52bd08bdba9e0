//! What operators may do, and that nobody else may.

mod access;
mod actions;
mod events;
mod jobs;
mod pauses;
mod spend;
