//! Judges whether a reply is a plan that the person can be given: parses it,
//! repairs what arithmetic can repair, checks the rest, and swaps a forbidden food.
//!
//! Contract: pure except for metrics and one event; the same reply gets the
//! same judgement, so that a stored reply can be judged again after a crash.

use std::collections::BTreeMap;

use regimen_common::job::{JobEventKind, PlanKind};
use regimen_common::telemetry::spans;
use serde_json::json;

use super::attempts::Attempts;
use super::order::Order;
use crate::llm::Reply;
use crate::llm::log::{Judge, Judgement};
use crate::plan::verify::{Judged, Repair, Verdict, Violation, judge};
use crate::plan::{self, Plan};

/// Judges the replies of one claim.
#[derive(Debug)]
pub struct Verifier<'a> {
    /// The job's input.
    pub order: &'a Order,
    /// Records repairs.
    pub attempts: &'a Attempts,
}

impl Judge for Verifier<'_> {
    type Plan = Plan;

    async fn judge(&self, reply: &Reply) -> Judgement<Plan> {
        let plan = match plan::parse(self.order.kind, &reply.text) {
            Ok(plan) => plan,
            Err(error) => {
                spans::verified("unreadable", 0);
                count(self.order.kind, "unreadable");
                return Judgement::Invalid(error.to_string());
            }
        };
        let kind = self.order.kind;
        let judged = judge(plan, self.order.needs());
        let asked_for = if judged.accepted { None } else { Some(judged.correction()) };
        let Judged { plan, repairs, found, .. } = judged;
        count_violations(kind, &found);
        count_swaps(&found, &repairs);
        if !found.is_clean() {
            self.log(&found);
        }
        if let Some(correction) = asked_for {
            let outcome = if found.is_dangerous() { "dangerous" } else { "refused" };
            spans::verified(outcome, found.violations.len());
            count(kind, outcome);
            return Judgement::Correct(correction);
        }
        let outcome = if repairs.is_empty() { "clean" } else { "repaired" };
        spans::verified(outcome, found.violations.len());
        count(kind, outcome);
        count_repairs(kind, &repairs);
        self.record(&repairs).await;
        Judgement::Accept(plan)
    }
}

impl Verifier<'_> {
    /// Kinds and counts only: the violations themselves quote the quiz.
    fn log(&self, verdict: &Verdict) {
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for class in verdict.violations.iter().map(Violation::class) {
            *kinds.entry(class).or_default() += 1;
        }
        tracing::info!(job_id = %self.attempts.job_id(), ?kinds, "a reply breaks rules");
    }

    async fn record(&self, repairs: &[Repair]) {
        if repairs.is_empty() {
            return;
        }
        let classes: Vec<_> = repairs.iter().map(Repair::class).collect();
        let swapped = repairs.iter().filter_map(|repair| match repair {
            Repair::Swapped { from, to } => Some(json!({ "from": from, "to": to })),
            _ => None,
        });
        let swapped: Vec<_> = swapped.collect();
        let mut data = json!({ "repairs": classes });
        if !swapped.is_empty() {
            data["swapped"] = json!(swapped);
        }
        let recorded = self.attempts.event(JobEventKind::Repaired, "verifying", data).await;
        // If the claim is stale, the fenced end finds out; this event is informative
        // only.
        if let Err(error) = recorded {
            tracing::debug!(%error, "could not record repairs");
        }
    }
}

fn count(kind: PlanKind, outcome: &'static str) {
    metrics::counter!("regimen_plans_verified_total", "kind" => kind.as_str(), "outcome" => outcome)
        .increment(1);
}

fn count_violations(kind: PlanKind, verdict: &Verdict) {
    for class in verdict.violations.iter().map(Violation::class) {
        metrics::counter!(
            "regimen_plan_violations_total",
            "kind" => kind.as_str(), "class" => class
        )
        .increment(1);
    }
}

/// Whether a food that broke a rule could be swapped, reply by reply.
fn count_swaps(found: &Verdict, repairs: &[Repair]) {
    let swapped = repairs.iter().any(|repair| matches!(repair, Repair::Swapped { .. }));
    let food =
        |violation: &Violation| matches!(violation.class(), "allergen" | "disliked" | "diet");
    if found.violations.iter().any(food) {
        let outcome = if swapped { "swapped" } else { "asked_again" };
        metrics::counter!("regimen_plan_swaps_total", "outcome" => outcome).increment(1);
    }
}

fn count_repairs(kind: PlanKind, repairs: &[Repair]) {
    for class in repairs.iter().map(Repair::class) {
        metrics::counter!("regimen_plan_repairs_total", "kind" => kind.as_str(), "class" => class)
            .increment(1);
    }
}
