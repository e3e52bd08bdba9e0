//! The kinds of work, one module each; `register` lists them.

pub mod callback;
pub mod mail;
pub mod plan;
pub mod stripe_event;

use std::sync::Arc;

use apalis_core::monitor::Monitor;

use crate::deps::Deps;
use crate::runner::consumer::{self, Kind};

/// Registers a consumer for every kind of work.
pub fn register(monitor: Monitor, deps: &Arc<Deps>) -> Monitor {
    let config = &deps.config;
    let kind = |name, slots| Kind {
        name,
        slots,
        deps: Arc::clone(deps),
        drain: deps.shutdown.drain.clone(),
        tasks: deps.tasks.clone(),
    };
    let monitor = consumer::register(monitor, kind("plans", config.slots), plan::claim::Plans::new);
    let monitor = consumer::register(
        monitor,
        kind("stripe_events", config.stripe.slots),
        stripe_event::claim::Events::new,
    );
    consumer::register(
        monitor,
        kind("callbacks", config.callbacks.slots),
        callback::claim::Callbacks::new,
    )
}
