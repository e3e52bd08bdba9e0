//! Watching jobs: their status, their events, the list, and cancelling them.

mod cancel;
mod faults;
mod list;
mod restart;
mod show;
mod slots;
mod stream;
mod waiting;
mod watched;
