//! What operators may do, and that nobody else may.

mod access;
mod events;
mod jobs;
mod pauses;
mod spend;
