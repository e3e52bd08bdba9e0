//! Verification of a plan before it is saved.
//!
//! [`verify`] reports everything that is wrong with a plan for one person,
//! [`repair`] fixes what arithmetic can fix, [`swap()`] puts another food in the place
//! of a forbidden one, and [`correction`] formulates the rest for one more call.
//! [`judge`] applies them in this order. The structure was checked when the plan was
//! parsed. A plan that followed an instruction injected through the quiz fails here
//! like any other plan that does not fit the person.

#[cfg(test)]
mod answers;
mod caution;
mod correction;
mod food;
mod numbers;
mod nutrients;
#[cfg(test)]
mod randomised;
mod repair;
mod scale;
mod sums;
mod swap;
#[cfg(test)]
mod tests;
mod texts;
#[cfg(test)]
mod thousand;
mod training;
mod violation;

use super::Plan;
use super::needs::Needs;

pub use correction::{LIMIT_CHARS as CORRECTION_LIMIT_CHARS, correction};
pub use repair::{Repair, mend_figures, repair};
pub use swap::{advice, swap};
pub use violation::{Severity, Violation};

/// Everything that is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdict {
    /// In the order they were found.
    pub violations: Vec<Violation>,
}

impl Verdict {
    /// Whether the plan may be saved.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// The worst there is; none for a clean plan.
    pub fn worst(&self) -> Option<Severity> {
        self.violations.iter().map(Violation::severity).max()
    }

    /// Whether the plan must never become active, whatever else fails.
    pub fn is_dangerous(&self) -> bool {
        self.worst() == Some(Severity::Dangerous)
    }
}

/// What became of a plan that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The plan, mended as far as that is possible.
    pub plan: Plan,
    /// What was mended.
    pub repairs: Vec<Repair>,
    /// What was wrong with it before foods were swapped.
    pub found: Verdict,
    /// Whether it may be saved: nothing was found, or a swap left nothing.
    pub accepted: bool,
    /// What would be right, where it may not.
    pub advice: Vec<String>,
}

impl Judged {
    /// The words in which a corrected plan is asked for.
    pub fn correction(&self) -> String {
        correction(&self.found.violations, &self.advice)
    }
}

/// Mends a plan, checks it, and swaps what nobody may be given; what is accepted has
/// passed [`verify`] as it stands.
pub fn judge(mut plan: Plan, needs: &Needs) -> Judged {
    let mut repairs: Vec<Repair> = mend_figures(&mut plan).into_iter().collect();
    repairs.extend(repair(&mut plan, needs));
    let found = verify(&plan, needs);
    if found.is_clean() {
        return Judged { plan, repairs, found, accepted: true, advice: Vec::new() };
    }
    match swap(&plan, &found, needs) {
        Some((plan, swaps)) => {
            repairs.extend(swaps);
            Judged { plan, repairs, found, accepted: true, advice: Vec::new() }
        }
        None => {
            let advice = advice(&plan, &found, needs);
            Judged { plan, repairs, found, accepted: false, advice }
        }
    }
}

/// Checks a plan: whether it is this person's, and whether its figures are true. No I/O;
/// runs on every reply.
pub fn verify(plan: &Plan, needs: &Needs) -> Verdict {
    let mut verdict = fit(plan, needs);
    if let Plan::Meal(day) = plan {
        nutrients::check(day, needs, &mut verdict.violations);
    }
    verdict
}

/// Checks a plan against one person's needs, taking the figures of its foods as true.
fn fit(plan: &Plan, needs: &Needs) -> Verdict {
    let mut violations = Vec::new();
    // One JSON form serves all walks. A plan that has none, as with an infinite
    // number, could not be saved either.
    let Ok(json) = serde_json::to_value(plan) else {
        let what = "a value that JSON cannot hold".to_owned();
        return Verdict { violations: vec![Violation::Foreign { at: String::new(), what }] };
    };
    food::check(plan, &json, needs, &mut violations);
    caution::check(&json, needs, &mut violations);
    match plan {
        Plan::Meal(day) => {
            sums::check(day, needs, &mut violations);
            food::check_times(day, needs, &mut violations);
            food::check_together(day, needs, &mut violations);
        }
        Plan::Workout(week) => training::check(week, needs, &mut violations),
    }
    numbers::check(plan.kind(), &json, &mut violations);
    Verdict { violations }
}
