//! Describes the callbacks in the OpenAPI document.

use chrono::DateTime;
use regimen_common::callbacks::JobCallback;
use regimen_common::job::{JobState, PlanKind};
use serde_json::{Value, json};
use uuid::Uuid;

const DESCRIPTION: &str = "Sent to the `callback_url` of a job when it has succeeded, failed, been \
    cancelled or expired, in the form of Standard Webhooks. Verify `webhook-signature`: one of its \
    space-separated parts must be `v1,` and the base64 of the HMAC-SHA256 over \
    `webhook-id.webhook-timestamp.body`, keyed with the bytes behind `whsec_` of the shared \
    secret. It may come more than once, always under the same `webhook-id`. Answer 2xx within a \
    few seconds; 410 ends the tries, anything else leads to further ones. Redirects are not \
    followed. Nothing about the person stands in it: read the job for more.";

/// Adds the webhooks, which belong to no route.
pub(super) fn add(document: &mut Value) {
    let job = Uuid::from_u128(0x0199_d2a0_5b7e_7c3e_9f5a_2f6f_5d1c_2b7e);
    let ended_at = DateTime::from_timestamp(1_795_392_000, 0).unwrap_or_default();
    let example = JobCallback::new(job, PlanKind::Meal, JobState::Succeeded, None, ended_at);
    document["webhooks"] = json!({ "jobEnded": { "post": {
        "operationId": "jobEnded",
        "tags": ["jobs"],
        "summary": "A job has ended",
        "description": DESCRIPTION,
        "parameters": [
            header("webhook-id", "The message's id: the same at every try", "string"),
            header("webhook-timestamp", "When this try was signed, Unix seconds", "integer"),
            header("webhook-signature", "One signature for each secret in use", "string"),
        ],
        "requestBody": { "required": true, "content": { "application/json": {
            "schema": {"$ref": "#/components/schemas/JobCallback"}, "example": example,
        }}},
        "responses": {
            "2XX": {"description": "Taken; not sent again"},
            "410": {"description": "Not wanted; not sent again"},
            "default": {"description": "Sent again later"},
        },
    }}});
}

fn header(name: &str, description: &str, kind: &str) -> Value {
    json!({"name": name, "in": "header", "required": true, "description": description,
        "schema": {"type": kind}})
}
