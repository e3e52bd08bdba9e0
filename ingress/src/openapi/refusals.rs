//! The errors of an operation, derived from what it reads.

use std::time::Duration;

use axum::http::HeaderMap;
use serde_json::{Map, Value, json};

use crate::error::{ApiError, PROBLEM_JSON, Part, QuotaExceeded, type_uri};

/// Adds to every operation its possible errors, unless its handler describes them.
pub(super) fn add(document: &mut Value, is_flood_exempt: fn(&str) -> bool) {
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for (path, item) in paths.iter_mut() {
        for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
            let flood = (!is_flood_exempt(path)).then(quota_exceeded);
            for refusal in refusals_of(path, operation).into_iter().chain(flood) {
                let problem = refusal.problem_type();
                let responses = &mut operation["responses"];
                if responses[problem.status.as_str()].is_null() {
                    responses[problem.status.as_str()] = response(refusal);
                }
            }
            for response in
                operation["responses"].as_object_mut().into_iter().flat_map(Map::values_mut)
            {
                // Some handlers' descriptions spell the schema out.
                let content = response.get_mut("content");
                if let Some(content) = content.and_then(|content| content.get_mut(PROBLEM_JSON)) {
                    content["schema"] = json!({"$ref": "#/components/schemas/Problem"});
                }
            }
        }
    }
}

fn refusals_of(path: &str, operation: &Value) -> Vec<ApiError> {
    let mut refusals = vec![
        ApiError::TooLarge { part: Part::Url, limit: 8192 },
        ApiError::TooLarge { part: Part::Headers, limit: 49_152 },
        ApiError::internal("example"),
    ];
    if operation["security"].is_array() {
        refusals.extend([
            ApiError::BadRequest("user_id must be given once and be a UUID".to_owned()),
            ApiError::Unauthenticated("the access token has expired".to_owned()),
            ApiError::Forbidden("user_id names another user".to_owned()),
            ApiError::Unavailable { what: "the database", source: "example".into() },
        ]);
    }
    if path.contains('{') {
        refusals.push(ApiError::NotFound("nothing of yours has this id".to_owned()));
    }
    if reads_query(operation) {
        refusals.push(ApiError::field("?limit", "must be between 1 and 100"));
    }
    if operation["requestBody"].is_object() {
        refusals.extend([
            ApiError::BadRequest("the body is not valid JSON".to_owned()),
            ApiError::Timeout,
            ApiError::TooLarge { part: Part::Body, limit: 262_144 },
            ApiError::UnsupportedMediaType,
            ApiError::field("/answers/age", "is required"),
            ApiError::Unavailable { what: "the database", source: "example".into() },
        ]);
    }
    refusals
}

fn reads_query(operation: &Value) -> bool {
    let parameters = operation["parameters"].as_array();
    parameters.is_some_and(|all| all.iter().any(|parameter| parameter["in"] == "query"))
}

fn quota_exceeded() -> ApiError {
    ApiError::QuotaExceeded(Box::new(QuotaExceeded {
        detail: "the limit generate-plans is used up; the next request is possible in 720 s".into(),
        retry_after: Duration::from_secs(720),
        policies: vec!["generate-plans".to_owned()],
        headers: HeaderMap::new(),
    }))
}

/// The description of an error, with an example of its problem document.
fn response(refusal: ApiError) -> Value {
    let problem = refusal.problem_type();
    let mut example = json!({
        "type": type_uri(problem.code), "title": problem.title,
        "status": problem.status.as_u16(), "detail": refusal.to_string(),
        "instance": "0199d2a0-5b7e-7c3e-9f5a-2f6f5d1c2b7e", "code": problem.code,
    });
    let mut headers = json!({});
    match refusal {
        ApiError::Invalid(errors) => example["errors"] = json!(errors),
        ApiError::QuotaExceeded(exceeded) => {
            example["violated-policies"] = json!(exceeded.policies);
            headers["Retry-After"] = header("Seconds after which to ask again", "integer");
            headers["RateLimit-Policy"] = header("What is granted; on limited routes", "string");
            headers["RateLimit"] = header("What is left; on limited routes", "string");
        }
        ApiError::Unavailable { .. } | ApiError::Unconfirmed(_) => {
            headers["Retry-After"] = header("Seconds after which to ask again", "integer");
        }
        ApiError::Unauthenticated(_) => {
            headers["WWW-Authenticate"] = header("How to authenticate", "string");
        }
        _ => {}
    }
    json!({
        "description": problem.title, "headers": headers,
        "content": { (PROBLEM_JSON): {
            "schema": {"$ref": "#/components/schemas/Problem"}, "example": example,
        }},
    })
}

fn header(description: &str, kind: &str) -> Value {
    json!({"description": description, "schema": {"type": kind}})
}
