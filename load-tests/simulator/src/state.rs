//! Everything the running simulator knows.

use std::sync::atomic::AtomicU64;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::calls::ledger::Ledger;
use crate::control::book::Book;
use crate::plan::{Planner, TableError};
use crate::wire::models::Models;
use crate::wire::usage::PromptCache;

/// Everything the running simulator knows.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) planner: Planner,
    pub(crate) ledger: Ledger,
    pub(crate) models: Models,
    pub(crate) prompts: PromptCache,
    /// TCP connections that are open now.
    pub(crate) connections: AtomicU64,
    /// Taken before the ledger's own lock wherever both are held.
    book: RwLock<Book>,
}

impl State {
    /// A fresh state that keeps the bodies of the newest `keep_calls` calls.
    ///
    /// # Errors
    /// A table of foods or exercises does not read.
    pub(crate) fn new(keep_calls: usize) -> Result<Self, TableError> {
        Ok(Self {
            planner: Planner::new()?,
            ledger: Ledger::new(keep_calls),
            models: Models::default(),
            prompts: PromptCache::default(),
            connections: AtomicU64::new(0),
            book: RwLock::default(),
        })
    }

    /// The settings, to read.
    pub(crate) fn book(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settings, to change.
    pub(crate) fn book_mut(&self) -> RwLockWriteGuard<'_, Book> {
        self.book.write().unwrap_or_else(PoisonError::into_inner)
    }
}
