//! Periodic tasks of each worker.

pub mod backfill;
pub mod erasure;
pub mod model_usage;
pub mod pauses;
pub mod reconcile;
pub mod retention;
pub mod stats;
pub mod stripe_import;
pub mod stripe_reconcile;
pub mod stripe_rules;
pub mod test_calls;

use std::sync::Arc;

use crate::deps::Deps;

/// Starts all of them. Tasks that may be in the middle of a write when a drain begins are
/// tracked, so that they can end.
pub fn spawn(deps: &Arc<Deps>) {
    deps.vital.spawn("reconcile", reconcile::run(Arc::clone(deps)));
    deps.vital.spawn("stripe_reconcile", stripe_reconcile::run(Arc::clone(deps)));
    deps.vital.spawn("pauses", pauses::run(Arc::clone(deps)));
    deps.tasks.spawn(stripe_rules::run(Arc::clone(deps)));
    deps.tasks.spawn(model_usage::run(Arc::clone(deps)));
    deps.tasks.spawn(backfill::run(Arc::clone(deps)));
    deps.tasks.spawn(retention::run(Arc::clone(deps)));
    deps.tasks.spawn(stats::run(Arc::clone(deps)));
    deps.tasks.spawn(test_calls::run(Arc::clone(deps)));
    deps.tasks.spawn(erasure::run(Arc::clone(deps)));
}
