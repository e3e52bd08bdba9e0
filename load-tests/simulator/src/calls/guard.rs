//! Records how a call ends, also when the caller closes the connection.

use std::sync::Arc;

use crate::state::State;

use super::tally::Outcome;

/// A call in progress. If it is dropped without an end, it counts as aborted by its
/// caller.
#[derive(Debug)]
pub(crate) struct Guard {
    state: Arc<State>,
    id: u64,
    ended: bool,
}

impl Guard {
    /// Guards call `id`.
    pub(crate) fn new(state: Arc<State>, id: u64) -> Self {
        Self { state, id, ended: false }
    }

    /// Records the end.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        self.ended = true;
        self.state.ledger.finish(self.id, outcome);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.ended {
            self.state.ledger.finish(self.id, Outcome::ABORTED);
        }
    }
}
