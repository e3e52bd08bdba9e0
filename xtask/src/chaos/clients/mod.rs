//! The clients of the run: they request plans, repeat requests, watch their
//! jobs and cancel some. Each records what it sent and received; none reads
//! Postgres.

mod notes;
mod people;
mod watch;
mod wire;

pub(super) use notes::{Note, Notes};
pub(super) use people::{Asked, People, Person, ask, submit};
pub(super) use watch::follow;
pub(super) use wire::{Doors, Request, agent};
