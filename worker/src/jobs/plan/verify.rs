//! Judges whether a reply is a plan that the person can be given: parses it,
//! repairs what arithmetic can repair, checks the rest.
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
use crate::plan::verify::{Repair, Verdict, Violation, correction, mend_figures, repair, verify};
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
        let mut plan = match plan::parse(self.order.kind, &reply.text) {
            Ok(plan) => plan,
            Err(error) => {
                spans::verified("unreadable", 0);
                count(self.order.kind, "unreadable");
                return Judgement::Invalid(error.to_string());
            }
        };
        let (kind, needs) = (self.order.kind, self.order.needs());
        let mut repairs: Vec<Repair> = mend_figures(&mut plan).into_iter().collect();
        repairs.extend(repair(&mut plan, needs));
        let verdict = verify(&plan, needs);
        count_violations(kind, &verdict);
        if !verdict.is_clean() {
            self.log(&verdict);
            let outcome = if verdict.is_dangerous() { "dangerous" } else { "refused" };
            spans::verified(outcome, verdict.violations.len());
            count(kind, outcome);
            return Judgement::Correct(correction(&verdict.violations));
        }
        let outcome = if repairs.is_empty() { "clean" } else { "repaired" };
        spans::verified(outcome, 0);
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
        let data = json!({ "repairs": classes });
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

fn count_repairs(kind: PlanKind, repairs: &[Repair]) {
    for class in repairs.iter().map(Repair::class) {
        metrics::counter!("regimen_plan_repairs_total", "kind" => kind.as_str(), "class" => class)
            .increment(1);
    }
}
