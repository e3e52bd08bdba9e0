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
        "Requests answered; the route is the one matched, or unmatched",
    ),
    histogram(
        "regimen_http_request_seconds",
        Labels::AtMost(&["route", "method", "status_class"], MOST_HTTP_SERIES),
        "Time until the head of the answer",
    ),
    gauge("regimen_http_requests_open", PLAIN, "Requests whose answer has not begun"),
    gauge("regimen_event_streams_open", PLAIN, "Event streams that clients hold open"),
    gauge("regimen_held_requests_open", PLAIN, "Requests that are held (Prefer: wait)"),
    gauge("regimen_watched_jobs", PLAIN, "Jobs that streams and held requests wait for"),
    counter(
        "regimen_jobs_accepted_total",
        Labels::Each(&[("kind", PlanKind::NAMES), ("class", JobClass::NAMES)]),
        "Jobs that were committed",
    ),
    counter(
        "regimen_answers_not_understood_total",
        Labels::Each(&[("answer", &["allergies", "diet"])]),
        "Submissions with words of an answer about food that were not understood",
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
        "Decisions of rate limits; shadow is what a limit of RATE_SHADOW would have refused",
    ),
    counter(
        "regimen_backpressure_refused_total",
        PLAIN,
        "Submissions refused because MAX_QUEUED jobs wait",
    ),
    counter("regimen_flood_refused_total", PLAIN, "Requests refused for their address' sake"),
    gauge("regimen_flood_addresses", PLAIN, "Addresses the flood guard remembers"),
    counter(
        "regimen_undeclared_proxy_requests_total",
        PLAIN,
        "Requests with forwarded headers from a peer that TRUSTED_PROXIES does not name",
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
        "Deliveries of Stripe; from missing on, what was wrong with the signature",
    ),
    histogram(
        "regimen_stripe_webhook_delay_seconds",
        PLAIN,
        "Time from Stripe's making of an event to its being stored here",
    ),
    counter(
        "regimen_stripe_alerts_total",
        Labels::Each(&[("alert", &["missing_customer", "livemode", "connected_account"])]),
        "What about payments needs a person; the log says which event",
    ),
];

/// Describes them and starts their series.
pub fn register() {
    metrics::register(METRICS);
}
