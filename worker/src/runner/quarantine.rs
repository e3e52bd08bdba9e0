//! Rows that could not be changed, set aside for a while: a row at the head of
//! a queue that fails every time must not block the rows behind it. Each is
//! reported once, with its id, and then retried with a growing back-off, so
//! that it is processed when its cause is fixed.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::time::Duration;

use regimen_common::backoff::backoff;
use regimen_common::db::{Outcome, PoisonRow};
use regimen_common::telemetry::UserHash;
use tokio::time::Instant;
use uuid::Uuid;

const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// The highest number of rows; it keeps the statements small.
const CAPACITY: usize = 1_000;

#[derive(Debug)]
struct Entry {
    until: Instant,
    failures: u32,
}

/// The rows that one periodic step leaves out.
#[derive(Debug)]
pub struct Quarantine<K> {
    step: &'static str,
    /// The name of a row in the log.
    name: fn(&K) -> String,
    rows: HashMap<K, Entry>,
}

impl<K: Clone + Display + Eq + Hash> Quarantine<K> {
    /// An empty set. `step` is its name in metrics and log.
    pub fn new(step: &'static str) -> Self {
        Self { step, name: K::to_string, rows: HashMap::new() }
    }

    /// The rows to leave out now.
    pub fn rows(&self) -> Vec<K> {
        let now = Instant::now();
        let out = self.rows.iter().filter(|(_, entry)| entry.until > now);
        out.map(|(row, _)| row.clone()).collect()
    }

    /// Whether to leave out this row now.
    pub fn holds(&self, row: &K) -> bool {
        self.rows.get(row).is_some_and(|entry| entry.until > Instant::now())
    }

    /// Records the rows that failed, `key` being the id of each. Those of `done` have
    /// recovered.
    pub fn note<S>(&mut self, poisoned: Vec<PoisonRow<S>>, key: impl Fn(&S) -> K) {
        let now = Instant::now();
        // A row that was not tried for so long has left the queue in another way.
        self.rows.retain(|_, entry| entry.until + 2 * LONGEST_WAIT > now);
        for PoisonRow { key: row, error } in poisoned {
            let id = key(&row);
            let name = self.name;
            let failures = self.rows.get(&id).map_or(1, |entry| entry.failures.saturating_add(1));
            if failures == 1 {
                metrics::counter!("regimen_poison_rows_total", "step" => self.step).increment(1);
                tracing::error!(
                    step = self.step, row = name(&id), %error,
                    "this row cannot be changed: it is left out for now, the others go on; \
                     mend what the error names, it is tried again by itself"
                );
            }
            if self.rows.len() < CAPACITY || failures > 1 {
                let until = now + backoff(failures, FIRST_WAIT, LONGEST_WAIT);
                self.rows.insert(id, Entry { until, failures });
            }
        }
        let waiting = self.rows.values().filter(|entry| entry.until > now).count();
        metrics::gauge!("regimen_rows_set_aside", "step" => self.step).set(waiting as f64);
    }

    /// The same for the outcome of a batch; returns what was done, and why the rest was
    /// not.
    ///
    /// # Errors
    /// Postgres failed in between; `done` is announced first.
    pub fn take<S, T>(
        &mut self,
        outcome: Outcome<S, T>,
        key: impl Fn(&S) -> K,
    ) -> (Vec<T>, Option<regimen_common::db::DbError>) {
        self.note(outcome.poisoned, key);
        (outcome.done, outcome.broken_off)
    }
}

impl Quarantine<Uuid> {
    /// The same for users as rows: the log has their hashes.
    pub fn of_users(step: &'static str) -> Self {
        Self { step, name: |user| UserHash::of(*user).to_string(), rows: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use regimen_common::db::DbError;

    use super::*;

    fn poisoned(row: u32) -> Vec<PoisonRow<u32>> {
        vec![PoisonRow { key: row, error: DbError::Url }]
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_comes_back_after_growing_waits() {
        let mut quarantine = Quarantine::new("test");
        for wait in [30, 60, 120] {
            quarantine.note(poisoned(7), |row| *row);
            quarantine.note(Vec::<PoisonRow<u32>>::new(), |row| *row);
            assert_eq!(
                (quarantine.rows(), quarantine.holds(&7), quarantine.holds(&8)),
                (vec![7], true, false)
            );
            tokio::time::advance(Duration::from_secs(wait)).await;
            assert_eq!(quarantine.rows(), [0; 0], "{wait}");
        }
        for _ in 0..20 {
            quarantine.note(poisoned(7), |row| *row);
        }
        tokio::time::advance(LONGEST_WAIT).await;
        assert!(!quarantine.holds(&7));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_are_remembered_and_none_for_ever() {
        let mut quarantine = Quarantine::new("test");
        for row in 0..2_000 {
            quarantine.note(poisoned(row), |row| *row);
        }
        assert_eq!(quarantine.rows().len(), CAPACITY);
        tokio::time::advance(3 * LONGEST_WAIT).await;
        quarantine.note(poisoned(5_000), |row| *row);
        assert_eq!(quarantine.rows(), [5_000]);
    }
}
