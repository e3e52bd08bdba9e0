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
const ALERTS: &[&str] =
    &["usage", "out_of_money", "unauthorized", "model_not_found", "bad_request", "quota_spent"];

/// The table.
pub const METRICS: &[Metric] = &[
    // The queue and its jobs.
    gauge(
        "regimen_jobs_waiting",
        Labels::Each(&[CLASS]),
        "Jobs that wait, for a worker, their turn or a retry; NaN while nobody can say",
    ),
    gauge(
        "regimen_oldest_claimable_seconds",
        Labels::Each(&[CLASS]),
        "For how long it has been the turn of the job that has waited longest; NaN while nobody \
         can say. Scale workers by it",
    ),
    gauge(
        "regimen_jobs_overdue_seconds",
        Labels::Each(&[("limit", &["lease", "start"])]),
        "How long ago the job that is most overdue passed its limit: the lease of its worker, or \
         the time by which it had to be started; NaN while nobody can say",
    ),
    histogram(
        "regimen_pickup_seconds",
        Labels::Each(&[CLASS]),
        "Time from the acceptance of a job to its first claim",
    ),
    histogram(
        "regimen_queue_wait_seconds",
        Labels::Each(&[CLASS]),
        "Time from a job's turn to its claim, of each claim",
    ),
    histogram(
        "regimen_stage_seconds",
        Labels::Each(&[KIND, ("stage", &["claimed", "generating", "verifying", "saving"])]),
        "Time a round of a job spent in a stage",
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
        "Jobs that ended, other than by their owner's or an operator's wish",
    ),
    gauge("regimen_jobs_held", PLAIN, "Jobs this worker is at"),
    gauge(
        "regimen_slots",
        Labels::Each(&[("consumer", CONSUMERS)]),
        "How much this worker may be at, as it is set",
    ),
    gauge("regimen_queue_paused", Labels::Each(&[("class", LISTS)]), "1 while operators pause it"),
    counter(
        "regimen_messages_lost_total",
        Labels::Each(&[("class", LISTS)]),
        "Ids that Redis lost and that were pushed again",
    ),
    counter("regimen_leases_lost_total", PLAIN, "Jobs taken over from workers that vanished"),
    counter(
        "regimen_leases_abandoned_total",
        PLAIN,
        "Jobs this worker gave up because their lease had run out",
    ),
    counter("regimen_jobs_handed_back_total", PLAIN, "Jobs released by a worker that shuts down"),
    counter("regimen_heartbeat_failures_total", PLAIN, "Heartbeats that extended no lease"),
    counter("regimen_claim_failures_total", PLAIN, "Claims that failed"),
    counter(
        "regimen_announcements_dropped_total",
        PLAIN,
        "Notices that were dropped because Redis is slow; watchers look for themselves",
    ),
    counter("regimen_postgres_retries_total", PLAIN, "Writes that were kept and tried again"),
    counter(
        "regimen_handler_panics_total",
        Labels::Each(&[("consumer", CONSUMERS)]),
        "Handlers that broke; a defect",
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
        "Steps of the reconcilers that failed",
    ),
    gauge(
        "regimen_rows_set_aside",
        Labels::Each(&[("step", STEPS)]),
        "Rows that are left out for now for what stands in them",
    ),
    // What is kept, and what is not any more.
    counter(
        "regimen_retention_removed_total",
        Labels::Each(&[(
            "what",
            &["answers", "replies", "events", "jobs", "stripe_events", "notices", "audit"],
        )]),
        "Rows removed because they had been kept for their time; of events and replies, the jobs \
         they belonged to",
    ),
    gauge(
        "regimen_retention_age_seconds",
        PLAIN,
        "How long ago the last whole removal of what is over began",
    ),
    counter("regimen_accounts_erased_total", PLAIN, "Deleted accounts of which nothing is left"),
    gauge(
        "regimen_erasure_overdue_seconds",
        PLAIN,
        "For how long the deleted account has been due that waits longest to be erased",
    ),
    // Verification.
    counter(
        "regimen_plans_verified_total",
        Labels::Each(&[
            KIND,
            ("outcome", &["clean", "repaired", "refused", "dangerous", "unreadable"]),
        ]),
        "Replies that were judged",
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
        "Rules that replies broke",
    ),
    counter(
        "regimen_plan_repairs_total",
        Labels::Each(&[
            KIND,
            (
                "class",
                &[
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
        "Flaws of accepted replies that were mended without asking again",
    ),
    // Providers and money.
    counter(
        "regimen_provider_attempts_total",
        Labels::Each(&[PROVIDER, ("class", CALL_CLASSES)]),
        "Calls that are over: ok, or the class of the failure",
    ),
    histogram("regimen_provider_call_seconds", Labels::Each(&[PROVIDER]), "Time of a call"),
    counter(
        "regimen_provider_tokens_total",
        Labels::Each(&[PROVIDER, ("type", &["input", "cached_input", "output", "reasoning"])]),
        "Tokens that were paid for; cached_input is a part of input, reasoning of output",
    ),
    counter(
        "regimen_provider_cost_micros_total",
        Labels::Each(&[PROVIDER]),
        "What calls cost, in millionths of a US dollar",
    ),
    counter(
        "regimen_provider_alerts_total",
        Labels::Each(&[PROVIDER, ("class", ALERTS)]),
        "What about a provider needs a person",
    ),
    counter(
        "regimen_provider_usage_doubted_total",
        Labels::Each(&[PROVIDER, ("reason", &["missing", "beyond"])]),
        "Replies whose counts were missing or cannot be",
    ),
    counter(
        "regimen_provider_features_refused_total",
        Labels::Each(&[PROVIDER]),
        "Parts of requests a host does not know and is asked without",
    ),
    counter(
        "regimen_model_warnings_total",
        Labels::Each(&[PROVIDER]),
        "Jobs with a model that is retired or unknown",
    ),
    gauge(
        "regimen_provider_breaker",
        Labels::AtMost(&["provider", "model"], ProviderName::ALL.len()),
        "What this worker knows of the models that are set: 0 closed, 1 half open, 2 open",
    ),
    gauge(
        "regimen_provider_cooling_seconds",
        Labels::AtMost(&["provider", "model"], ProviderName::ALL.len()),
        "How long the model is left alone",
    ),
    gauge(
        "regimen_model_retires_timestamp_seconds",
        Labels::AtMost(&["provider", "model"], ProviderName::ALL.len()),
        "When a model that is set comes to its announced end",
    ),
    gauge("regimen_provider_paused", Labels::Each(&[PROVIDER]), "1 while operators pause it"),
    gauge(
        "regimen_provider_lifts",
        Labels::Each(&[PROVIDER]),
        "How often operators set the provider free",
    ),
    counter(
        "regimen_budget_refusals_total",
        Labels::Each(&[("budget", &["user_monthly", "daily"])]),
        "Calls that wait because a budget is used up",
    ),
    gauge(
        "regimen_budget_day_micros",
        PLAIN,
        "What is spent and reserved today (UTC), in millionths of a US dollar",
    ),
    gauge(
        "regimen_budget_day_limit_micros",
        PLAIN,
        "BUDGET_DAILY_USD in millionths of a US dollar; absent while there is none",
    ),
    // Stripe, mails, callbacks.
    gauge("regimen_stripe_events_waiting", PLAIN, "Events not yet applied, counted up to 10,000"),
    gauge(
        "regimen_stripe_event_lag_seconds",
        PLAIN,
        "For how long the event waits that has waited longest",
    ),
    histogram(
        "regimen_stripe_event_delay_seconds",
        PLAIN,
        "Time from the storing of an event to its being applied or ignored",
    ),
    gauge(
        "regimen_stripe_events_attention",
        Labels::Each(&[("state", &["unresolved", "dead", "mismatched"])]),
        "Events that need somebody, counted up to 1,000 a state",
    ),
    histogram("regimen_stripe_event_seconds", PLAIN, "Time of the handling of one event"),
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
        "Events handled: what became of them, or why they are tried again",
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
        "Looks for events that Stripe could not deliver",
    ),
    counter(
        "regimen_stripe_events_recovered_total",
        PLAIN,
        "Events that were not delivered and were found later",
    ),
    gauge(
        "regimen_stripe_backfill_age_seconds",
        PLAIN,
        "How long ago all events of Stripe were last looked at",
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
        "What about payments needs a person; the log says which event",
    ),
    counter(
        "regimen_mails_total",
        Labels::Each(&[("outcome", &["sent", "retry", "failed"])]),
        "Mails about payments",
    ),
    counter(
        "regimen_callbacks_total",
        Labels::Each(&[("outcome", &["delivered", "gone", "retry", "dead"])]),
        "Callbacks tried",
    ),
    gauge("regimen_callbacks_waiting", PLAIN, "Callbacks not yet delivered, counted up to 10,000"),
    gauge(
        "regimen_callback_oldest_due_seconds",
        PLAIN,
        "How long ago the callback was due that waits longest",
    ),
];

/// Describes them and starts their series.
pub fn register() {
    metrics::register(METRICS);
}
