//! Wrong clocks for the whole run: one ingress is ahead, and one worker is
//! behind.

use std::path::Path;
use std::process::Command;

use super::chance::Chance;
use super::scale::{INGRESSES, WORKERS};
use crate::clock;

/// How far an ingress is ahead and a worker is behind, seconds.
const AHEAD: i64 = 60;
const BEHIND: i64 = -45;

/// How far a correct clock may seem to be off, seconds.
const SLACK: u64 = 10;

/// The processes with wrong clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clocks<'a> {
    library: &'a Path,
    /// Numbers from 1, as in their names.
    ingress: usize,
    worker: usize,
}

impl<'a> Clocks<'a> {
    /// Draws the processes; `library` is libfaketime.
    pub(super) fn draw(seed: u64, library: &'a Path) -> Self {
        let mut chance = Chance::of(seed, "clocks");
        let (ingress, worker) = (chance.below(INGRESSES) + 1, chance.below(WORKERS) + 1);
        Self { library, ingress, worker }
    }

    /// Sets the clock of an ingress, if it is the drawn one.
    pub(super) fn of_ingress(&self, number: usize, command: &mut Command) {
        if number == self.ingress {
            self.shift(command, AHEAD);
        }
    }

    /// Sets the clock of a worker, if it is the drawn one.
    pub(super) fn of_worker(&self, number: usize, command: &mut Command) {
        if number == self.worker {
            self.shift(command, BEHIND);
        }
    }

    fn shift(&self, command: &mut Command, seconds: i64) {
        // Only the time of day: durations use the monotonic clock.
        command
            .env("LD_PRELOAD", self.library)
            .env("FAKETIME", format!("{seconds:+}s"))
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            // The variable's older name.
            .env("DONT_FAKE_MONOTONIC", "1");
    }

    /// The processes with wrong clocks, each with the values of HTTP's `Date` that it
    /// would send at `now`, give or take [`SLACK`].
    pub(super) fn said(&self, now: u64) -> [(String, Vec<String>); 2] {
        let around = |shift: i64| -> Vec<String> {
            let now = now.saturating_add_signed(shift);
            (now - SLACK..=now + SLACK).map(clock::date_of).collect()
        };
        [
            (format!("ingress-{}", self.ingress), around(AHEAD)),
            (format!("worker-{}", self.worker), around(BEHIND)),
        ]
    }

    /// Text for the report.
    pub(super) fn told(&self) -> String {
        let (ingress, worker) = (self.ingress, self.worker);
        let behind = BEHIND.unsigned_abs();
        format!("ingress-{ingress} {AHEAD} s ahead, worker-{worker} {behind} s behind")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_each_is_wrong_and_nobody_else() {
        let clocks = Clocks::draw(7, Path::new("/lib/faketime"));
        assert_eq!(clocks, Clocks::draw(7, Path::new("/lib/faketime")));
        let shifted = |set: &dyn Fn(&mut Command)| {
            let mut command = Command::new("true");
            set(&mut command);
            let shift = command.get_envs().find(|(name, _)| *name == "FAKETIME");
            shift.and_then(|(_, shift)| shift?.to_str().map(str::to_owned))
        };
        let ingresses: Vec<String> = (1..=INGRESSES)
            .filter_map(|number| shifted(&|command| clocks.of_ingress(number, command)))
            .collect();
        let workers: Vec<String> = (1..=WORKERS)
            .filter_map(|number| shifted(&|command| clocks.of_worker(number, command)))
            .collect();
        assert_eq!((ingresses, workers), (vec!["+60s".to_owned()], vec!["-45s".to_owned()]));
    }
}
