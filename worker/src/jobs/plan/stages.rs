//! Measures how long a round spends in each of its stages.

use std::sync::{Mutex, PoisonError};

use regimen_common::job::PlanKind;
use tokio::time::Instant;

/// The stages of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Claimed; no provider was called yet.
    Claimed,
    /// A provider is being called, or the next call is waiting.
    Generating,
    /// A reply is being stored and judged.
    Verifying,
    /// The outcome is being written.
    Saving,
}

impl Stage {
    fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Generating => "generating",
            Self::Verifying => "verifying",
            Self::Saving => "saving",
        }
    }
}

/// Measures one round; stops when it is dropped.
#[derive(Debug)]
pub struct Stages {
    kind: PlanKind,
    now: Mutex<(Stage, Instant)>,
}

impl Stages {
    /// Starts a round.
    pub fn begin(kind: PlanKind) -> Self {
        Self { kind, now: Mutex::new((Stage::Claimed, Instant::now())) }
    }

    /// Enters `stage`.
    pub fn enter(&self, stage: Stage) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.0 != stage {
            self.record(*now);
            *now = (stage, Instant::now());
        }
    }

    fn record(&self, (stage, since): (Stage, Instant)) {
        metrics::histogram!(
            "regimen_stage_seconds",
            "kind" => self.kind.as_str(), "stage" => stage.as_str()
        )
        .record(since.elapsed());
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        let now = *self.now.lock().unwrap_or_else(PoisonError::into_inner);
        self.record(now);
    }
}
