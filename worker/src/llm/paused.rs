//! Operators' settings of providers: which are paused, and how often each was
//! resumed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use super::ProviderName;

/// Who is not to be asked, and how often each was set free. Cheap to clone;
/// whoever holds a clone may change it.
#[derive(Debug, Clone, Default)]
pub struct PausedProviders(Arc<RwLock<Said>>);

#[derive(Debug, Default)]
struct Said {
    paused: HashSet<ProviderName>,
    lifts: HashMap<ProviderName, i64>,
}

impl PausedProviders {
    /// Whether `provider` is not to be asked.
    pub fn contains(&self, provider: ProviderName) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).paused.contains(&provider)
    }

    /// How often an operator has lifted the cool-downs and breakers of `provider`.
    pub fn lifts(&self, provider: ProviderName) -> i64 {
        let said = self.0.read().unwrap_or_else(PoisonError::into_inner);
        said.lifts.get(&provider).copied().unwrap_or_default()
    }

    /// Takes over what operators say now.
    pub fn set(&self, paused: HashSet<ProviderName>, lifts: HashMap<ProviderName, i64>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Said { paused, lifts };
    }
}
