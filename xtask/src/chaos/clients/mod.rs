//! The clients of the run: people who ask for plans, repeat themselves, look
//! after their jobs and change their minds. Each writes down what it sent and
//! what it was told; nobody asks Postgres.

mod notes;
mod people;
mod watch;
mod wire;

pub(super) use notes::{Note, Notes};
pub(super) use people::{Asked, People, Person, ask, submit};
pub(super) use watch::follow;
pub(super) use wire::{Doors, Request, agent};
