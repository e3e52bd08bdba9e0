//! Operators' settings of providers: which are paused, and which models, and how often
//! each provider was resumed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use super::ProviderName;

/// The paused providers, and how often each was resumed. Cheap to clone; every clone may
/// change it.
#[derive(Debug, Clone, Default)]
pub struct PausedProviders(Arc<RwLock<Said>>);

#[derive(Debug, Default)]
struct Said {
    paused: HashSet<ProviderName>,
    models: HashSet<String>,
    lifts: HashMap<ProviderName, i64>,
}

impl PausedProviders {
    /// Whether `provider` is paused, or its `model`.
    pub fn contains(&self, provider: ProviderName, model: &str) -> bool {
        let said = self.0.read().unwrap_or_else(PoisonError::into_inner);
        said.paused.contains(&provider) || said.models.contains(model)
    }

    /// How often an operator has ended the cool-downs and breakers of `provider`.
    pub fn lifts(&self, provider: ProviderName) -> i64 {
        let said = self.0.read().unwrap_or_else(PoisonError::into_inner);
        said.lifts.get(&provider).copied().unwrap_or_default()
    }

    /// Replaces the operators' settings.
    pub fn set(
        &self,
        paused: HashSet<ProviderName>,
        models: HashSet<String>,
        lifts: HashMap<ProviderName, i64>,
    ) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Said { paused, models, lifts };
    }
}
