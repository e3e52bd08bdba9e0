//! The metrics of the ingress, in addition to [`COMMON`](metrics::COMMON).

use regimen_common::job::{JobClass, PlanKind};
use regimen_common::telemetry::metrics::{self, Labels, Metric, PLAIN, counter, gauge, histogram};

/// Routes times methods times occurring statuses; the route table has about fifty routes.
const MOST_HTTP_SERIES: usize = 1_500;

/// The table.
pub const METRICS: &[Metric] = &[
    counter(
        "regimen_http_requests_total",
        Labels::AtMost(&["route", "method", "status"], MOST_HTTP_SERIES),
        "Answered requests; the route is the matched one, or unmatched",
    ),
    histogram(
        "regimen_http_request_seconds",
        Labels::AtMost(&["route", "method", "status_class"], MOST_HTTP_SERIES),
        "Time until the head of the answer",
    ),
    gauge("regimen_http_requests_open", PLAIN, "Requests without an answer yet"),
    gauge("regimen_event_streams_open", PLAIN, "Open event streams"),
    gauge("regimen_held_requests_open", PLAIN, "Open long polls (Prefer: wait)"),
    gauge("regimen_watched_jobs", PLAIN, "Jobs with event streams or long polls"),
    counter(
        "regimen_jobs_accepted_total",
        Labels::Each(&[("kind", PlanKind::NAMES), ("class", JobClass::NAMES)]),
        "Accepted jobs",
    ),
    counter(
        "regimen_answers_not_understood_total",
        Labels::Each(&[("answer", &["allergies", "diet", "injuries"])]),
        "Submissions with answers about food or injuries that were not understood",
    ),
    counter(
        "regimen_rate_limited_total",
        Labels::Each(&[
            (
                "policy",
                &["generate-plans", "meal-plan", "workout-plan", "billing", "account", "daily"],
            ),
            ("outcome", &["passed", "refused", "shadow"]),
        ]),
        "Decisions of rate limits; shadow counts what a limit of RATE_SHADOW would have refused",
    ),
    counter(
        "regimen_backpressure_refused_total",
        PLAIN,
        "Submissions refused because the backlog has reached MAX_QUEUED",
    ),
    counter("regimen_flood_refused_total", PLAIN, "Requests refused by the flood guard"),
    gauge("regimen_flood_addresses", PLAIN, "Addresses with a bucket in the flood guard"),
    counter(
        "regimen_undeclared_proxy_requests_total",
        PLAIN,
        "Requests with forwarded headers from a peer not in TRUSTED_PROXIES",
    ),
    counter(
        "regimen_stripe_webhooks_total",
        Labels::Each(&[(
            "outcome",
            &[
                "stored",
                "duplicate",
                "mismatched",
                "no_secret",
                "bad_payload",
                "store_failed",
                "missing",
                "malformed",
                "no_timestamp",
                "bad_timestamp",
                "no_signature",
                "too_old",
                "mismatch",
            ],
        )]),
        "Stripe deliveries by outcome; from missing on, the problem of the signature",
    ),
    histogram(
        "regimen_stripe_webhook_delay_seconds",
        PLAIN,
        "Time from the creation of a Stripe event until it is stored",
    ),
    counter(
        "regimen_stripe_alerts_total",
        Labels::Each(&[("alert", &["missing_customer", "livemode", "connected_account"])]),
        "Payment problems that need an operator; the log has the event",
    ),
];

/// Describes them and starts their series.
pub fn register() {
    metrics::register(METRICS);
}
