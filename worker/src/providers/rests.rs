//! Providers that operators have paused: the ladder leaves them out.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use super::ProviderName;

/// Who is not to be asked. Cheap to clone; whoever holds a clone may change it.
#[derive(Debug, Clone, Default)]
pub struct Rests(Arc<RwLock<HashSet<ProviderName>>>);

impl Rests {
    /// Whether `provider` is not to be asked.
    pub fn contains(&self, provider: ProviderName) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&provider)
    }

    /// Takes over who is not to be asked from now on.
    pub fn set(&self, providers: HashSet<ProviderName>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = providers;
    }
}
