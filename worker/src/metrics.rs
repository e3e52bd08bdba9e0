//! The metrics of the worker, in addition to [`COMMON`](metrics::COMMON).

use regimen_common::job::{JobClass, PlanKind};
use regimen_common::provider::ProviderName;
use regimen_common::telemetry::metrics::{
    self, Labels, Metric, PLAIN, STEPS, counter, gauge, histogram,
};

const PROVIDER: (&str, &[&str]) = ("provider", ProviderName::NAMES);
const KIND: (&str, &[&str]) = ("kind", PlanKind::NAMES);
const CLASS: (&str, &[&str]) = ("class", JobClass::NAMES);
const LISTS: &[&str] = &["pro", "free", "stripe", "notify"];
const CONSUMERS: &[&str] = &["plans", "stripe_events", "callbacks"];

/// The outcome of a call: [`ProviderError::class`](crate::llm::ProviderError::class), or
/// ok.
const CALL_CLASSES: &[&str] = &[
    "ok",
    "connect",
    "certificate",
    "timeout",
    "cut",
    "too_large",
    "empty",
    "unavailable",
    "rate_limited",
    "quota_spent",
    "out_of_money",
    "unauthorized",
    "model_not_found",
    "bad_request",
    "truncated",
    "refused",
    "invalid",
];

/// The classes of failures that need an operator, and usage: impossible token counts.
const ALERTS: &[&str] = &[
    "usage",
    "certificate",
    "out_of_money",
    "unauthorized",
    "model_not_found",
    "bad_request",
    "quota_spent",
];

/// The table.
pub const METRICS: &[Metric] = &[
    // The queue and its jobs.
    gauge(
        "regimen_jobs_waiting",
        Labels::Each(&[CLASS]),
        "Jobs that wait for a worker, their turn or a retry; NaN while it is unknown",
    ),
    gauge(
        "regimen_oldest_claimable_seconds",
        Labels::Each(&[CLASS]),
        "How long the oldest claimable job has been claimable; NaN while it is unknown. Scale \
         workers by it",
    ),
    gauge(
        "regimen_jobs_overdue_seconds",
        Labels::Each(&[("limit", &["lease", "start"])]),
        "How long ago the most overdue job passed its limit: its lease, or the time by which it \
         had to be started; NaN while it is unknown",
    ),
    histogram(
        "regimen_pickup_seconds",
        Labels::Each(&[CLASS]),
        "Time from the acceptance of a job to its first claim",
    ),
    histogram(
        "regimen_queue_wait_seconds",
        Labels::Each(&[CLASS]),
        "Time from a job becoming claimable to its claim, for every claim",
    ),
    histogram(
        "regimen_stage_seconds",
        Labels::Each(&[KIND, ("stage", &["claimed", "generating", "verifying", "saving"])]),
        "Time that a round of a job spent in a stage",
    ),
    histogram("regimen_round_seconds", Labels::Each(&[KIND]), "Time of a whole round of a job"),
    histogram(
        "regimen_plan_ready_seconds",
        Labels::Each(&[KIND, CLASS]),
        "Time from the acceptance of a job to its saved plan",
    ),
    counter(
        "regimen_jobs_finished_total",
        Labels::Together(
            &["state", "code"],
            &[
                &["succeeded", "meal"],
                &["succeeded", "workout"],
                &["failed", "providers_exhausted"],
                &["failed", "refused"],
                &["failed", "unverifiable"],
                &["failed", "bad_request"],
                &["failed", "no_provider"],
                &["failed", "poisoned"],
                &["failed", "internal"],
                &["cancelled", "account_deleted"],
                &["expired", "expired"],
            ],
        ),
        "Jobs that ended, except those cancelled by their owner or an operator",
    ),
    gauge("regimen_jobs_held", PLAIN, "Jobs that this worker runs"),
    gauge(
        "regimen_slots",
        Labels::Each(&[("consumer", CONSUMERS)]),
        "The configured limit of concurrent work of this worker",
    ),
    gauge(
        "regimen_queue_paused",
        Labels::Each(&[("class", LISTS)]),
        "1 while an operator has paused it",
    ),
    counter(
        "regimen_messages_lost_total",
        Labels::Each(&[("class", LISTS)]),
        "Ids that Redis lost and that were pushed again",
    ),
    counter("regimen_leases_lost_total", PLAIN, "Jobs taken over after their lease had expired"),
    counter(
        "regimen_leases_abandoned_total",
        PLAIN,
        "Jobs that this worker abandoned because their lease had expired",
    ),
    counter("regimen_jobs_handed_back_total", PLAIN, "Jobs requeued by a worker that shuts down"),
    counter("regimen_heartbeat_failures_total", PLAIN, "Heartbeats that failed to extend leases"),
    counter("regimen_claim_failures_total", PLAIN, "Claims that failed"),
    counter(
        "regimen_announcements_dropped_total",
        PLAIN,
        "Notices that were dropped because Redis is slow; watchers poll instead",
    ),
    counter("regimen_postgres_retries_total", PLAIN, "Writes that were retried"),
    counter(
        "regimen_handler_panics_total",
        Labels::Each(&[("consumer", CONSUMERS)]),
        "Handlers that panicked; a defect",
    ),
    counter(
        "regimen_reconcile_failures_total",
        Labels::Each(&[(
            "step",
            &[
                "bury_poisoned_events",
                "cancel_of_deleted",
                "dispatch_lost_events",
                "dispatch_lost_mails",
                "dispatch_ready",
                "end_grace",
                "erasure",
                "expire_overdue",
                "recover_leases",
                "redispatch_lost",
                "report",
                "report_events",
                "retention",
                "wake_unresolved_events",
            ],
        )]),
        "Failed steps of the reconcilers",
    ),
    gauge(
        "regimen_rows_set_aside",
        Labels::Each(&[("step", STEPS)]),
        "Rows that are skipped for now because of their content",
    ),
    // What is kept, and what is not any more.
    counter(
        "regimen_retention_removed_total",
        Labels::Each(&[(
            "what",
            &[
                "answers",
                "replies",
                "events",
                "jobs",
                "generations",
                "stripe_events",
                "notices",
                "audit",
            ],
        )]),
        "Rows deleted because their retention period was over; for events and replies, the number \
         of their jobs",
    ),
    gauge(
        "regimen_retention_age_seconds",
        PLAIN,
        "Time since the start of the last complete retention run",
    ),
    counter("regimen_accounts_erased_total", PLAIN, "Deleted accounts that are completely erased"),
    gauge(
        "regimen_erasure_overdue_seconds",
        PLAIN,
        "How long the longest due deleted account has been due for erasure",
    ),
    // Verification.
    counter(
        "regimen_plans_verified_total",
        Labels::Each(&[
            KIND,
            ("outcome", &["clean", "repaired", "refused", "dangerous", "unreadable"]),
        ]),
        "Verified replies",
    ),
    counter(
        "regimen_plan_violations_total",
        Labels::Each(&[
            KIND,
            (
                "class",
                &[
                    "allergen",
                    "disliked",
                    "diet",
                    "sensitive",
                    "untranslated",
                    "impossible",
                    "nutrients",
                    "foreign",
                    "calories",
                    "macro",
                    "sum",
                    "out_of_range",
                    "meals",
                    "eating_window",
                    "training_days",
                    "day_twice",
                    "place",
                    "equipment",
                    "injury",
                ],
            ),
        ]),
        "Violations of rules in replies",
    ),
    counter(
        "regimen_plan_repairs_total",
        Labels::Each(&[
            KIND,
            (
                "class",
                &[
                    "swapped",
                    "tips",
                    "clamped",
                    "reference",
                    "scaled",
                    "rebalanced",
                    "meal_totals",
                    "day_totals",
                    "ordered",
                    "summary",
                ],
            ),
        ]),
        "Repairs of accepted replies without another call",
    ),
    counter(
        "regimen_unknown_words_total",
        Labels::Each(&[("outcome", &["cached", "learnt", "unknown", "failed"])]),
        "Words about food that no table knows: known from the cache, learnt from a model, known \
         to nobody, or not asked for because the call failed",
    ),
    counter(
        "regimen_plan_swaps_total",
        Labels::Each(&[("outcome", &["swapped", "asked_again"])]),
        "Replies with a food against the person's rules: another food took its place, or the \
         provider was asked again",
    ),
    // Providers and money.
    counter(
        "regimen_provider_attempts_total",
        Labels::Each(&[PROVIDER, ("class", CALL_CLASSES)]),
        "Finished calls: ok, or the class of the failure",
    ),
    histogram("regimen_provider_call_seconds", Labels::Each(&[PROVIDER]), "Time of a call"),
    counter(
        "regimen_provider_tokens_total",
        Labels::Each(&[PROVIDER, ("type", &["input", "cached_input", "output", "reasoning"])]),
        "Paid tokens; cached_input is a part of input, reasoning of output",
    ),
    counter(
        "regimen_provider_cost_micros_total",
        Labels::Each(&[PROVIDER]),
        "Cost of calls, in millionths of a US dollar",
    ),
    counter(
        "regimen_provider_alerts_total",
        Labels::Each(&[PROVIDER, ("class", ALERTS)]),
        "Provider problems that need an operator",
    ),
    counter(
        "regimen_provider_usage_doubted_total",
        Labels::Each(&[PROVIDER, ("reason", &["missing", "beyond"])]),
        "Replies whose token counts are missing or impossible",
    ),
    counter(
        "regimen_provider_features_refused_total",
        Labels::Each(&[PROVIDER]),
        "Parts of requests that a host does not know and that are left out",
    ),
    counter(
        "regimen_model_warnings_total",
        Labels::Each(&[PROVIDER]),
        "Jobs with a retired or unknown model",
    ),
    gauge(
        "regimen_provider_breaker",
        Labels::AtMost(&["provider", "model"], ProviderName::ALL.len()),
        "State of the circuit breaker, as this worker knows it: 0 closed, 1 half open, 2 open",
    ),
    gauge(
        "regimen_provider_cooling_seconds",
        Labels::AtMost(&["provider", "model"], ProviderName::ALL.len()),
        "The rest of the model's cool-down",
    ),
    gauge(
        "regimen_model_retires_timestamp_seconds",
        Labels::AtMost(&["provider", "model"], ProviderName::ALL.len()),
        "The announced retirement of a configured model",
    ),
    gauge(
        "regimen_provider_paused",
        Labels::Each(&[PROVIDER]),
        "1 while an operator has paused it",
    ),
    gauge(
        "regimen_provider_lifts",
        Labels::Each(&[PROVIDER]),
        "How often operators reset the provider",
    ),
    counter(
        "regimen_budget_refusals_total",
        Labels::Each(&[("budget", &["user_monthly", "daily"])]),
        "Calls that wait because a budget is used up",
    ),
    gauge(
        "regimen_budget_day_micros",
        PLAIN,
        "Spending and reservations of today (UTC), in millionths of a US dollar",
    ),
    gauge(
        "regimen_budget_day_limit_micros",
        PLAIN,
        "BUDGET_DAILY_USD in millionths of a US dollar; absent if it is not set",
    ),
    // Stripe, mails, callbacks.
    gauge("regimen_stripe_events_waiting", PLAIN, "Events not yet applied, counted up to 10,000"),
    gauge(
        "regimen_stripe_event_lag_seconds",
        PLAIN,
        "How long the oldest waiting event has waited",
    ),
    histogram(
        "regimen_stripe_event_delay_seconds",
        PLAIN,
        "Time from the storage of an event until it is applied or ignored",
    ),
    gauge(
        "regimen_stripe_events_attention",
        Labels::Each(&[("state", &["unresolved", "dead", "mismatched"])]),
        "Events that need an operator, counted up to 1,000 per state",
    ),
    histogram("regimen_stripe_event_seconds", PLAIN, "Time of handling one event"),
    counter(
        "regimen_stripe_events_total",
        Labels::Each(&[(
            "outcome",
            &[
                "applied",
                "ignored",
                "unresolved",
                "dead",
                "gone",
                "unreadable",
                "database",
                "contended",
                "too_slow",
                "panicked",
                "no_stripe_key",
                "stripe_away",
                "stripe_busy",
                "stripe_forbidden",
                "stripe_missing",
                "stripe_refused",
                "stripe_unreadable",
            ],
        )]),
        "Handled events: the outcome, or why they are retried",
    ),
    counter(
        "regimen_stripe_backfills_total",
        Labels::Each(&[(
            "outcome",
            &[
                "complete",
                "database",
                "overtaken",
                "too_many",
                "no_stripe_key",
                "stripe_away",
                "stripe_busy",
                "stripe_forbidden",
                "stripe_missing",
                "stripe_refused",
                "stripe_unreadable",
            ],
        )]),
        "Searches for events that Stripe could not deliver",
    ),
    counter(
        "regimen_stripe_events_recovered_total",
        PLAIN,
        "Undelivered events that a search found",
    ),
    gauge(
        "regimen_stripe_backfill_age_seconds",
        PLAIN,
        "Time since the last complete search of Stripe's events",
    ),
    gauge(
        "regimen_stripe_prices_unset",
        PLAIN,
        "1 while STRIPE_PRICES is unset and every subscription gives pro",
    ),
    counter(
        "regimen_stripe_alerts_total",
        Labels::Each(&[(
            "alert",
            &[
                "unknown_status",
                "unknown_user",
                "missing_subscription",
                "dispute_opened",
                "foreign_price",
                "second_subscription",
                "dead",
                "livemode",
                "connected_account",
            ],
        )]),
        "Payment problems that need an operator; the log has the event",
    ),
    counter(
        "regimen_mails_total",
        Labels::Each(&[("outcome", &["sent", "retry", "failed"])]),
        "Mails about payments",
    ),
    counter(
        "regimen_callbacks_total",
        Labels::Each(&[("outcome", &["delivered", "gone", "retry", "dead"])]),
        "Attempted callbacks",
    ),
    gauge("regimen_callbacks_waiting", PLAIN, "Callbacks not yet delivered, counted up to 10,000"),
    gauge(
        "regimen_callback_oldest_due_seconds",
        PLAIN,
        "How long the longest due callback has been due",
    ),
];

/// Describes them and starts their series.
pub fn register() {
    metrics::register(METRICS);
}
