//! The state of the running simulator.

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
    /// The number of open TCP connections.
    pub(crate) connections: AtomicU64,
    /// Lock order: before the ledger's own lock.
    book: RwLock<Book>,
}

impl State {
    /// A new state that keeps the bodies of the latest `keep_calls` calls.
    ///
    /// # Errors
    /// A table of foods or exercises is malformed.
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
