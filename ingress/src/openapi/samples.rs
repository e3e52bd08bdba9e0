//! Samples of the calls used most: each in a file of its own, and in the document as
//! `x-codeSamples`, which the page at `/docs` and other viewers show. The suites
//! `samples-…` of `cargo xtask test` run every one of them.

use serde_json::{Value, json};

/// Language as viewers know it, its name for people, and the code.
type Sample = (&'static str, &'static str, &'static str);

/// A call and its samples.
struct Call {
    method: &'static str,
    path: &'static str,
    /// What tells it apart from another call of the same operation.
    variant: &'static str,
    samples: [Sample; 3],
}

macro_rules! call {
    ($method:literal, $path:literal, $name:literal $(, $variant:literal)?) => {
        Call {
            method: $method,
            path: $path,
            variant: concat!($(", ", $variant)?),
            samples: [
                ("Shell", "curl", include_str!(concat!("samples/", $name, ".sh"))),
                ("TypeScript", "TypeScript", include_str!(concat!("samples/", $name, ".ts"))),
                ("Python", "Python", include_str!(concat!("samples/", $name, ".py"))),
            ],
        }
    };
}

const CALLS: [Call; 10] = [
    call!("post", "/v1/plans", "submit"),
    call!("get", "/v1/jobs/{id}", "poll"),
    call!("get", "/v1/jobs/{id}", "poll-changed", "only what has changed"),
    call!("get", "/v1/jobs/{id}/events", "events"),
    call!("get", "/v1/plans/{kind}/active", "active-plan"),
    call!("get", "/v1/jobs", "list"),
    call!("delete", "/v1/jobs/{id}", "cancel"),
    call!("post", "/admin/jobs/{id}/retry", "retry"),
    call!("get", "/v1/usage", "usage"),
    call!("get", "/plan-status/{user_id}", "plan-status"),
];

/// Adds the samples to their operations.
pub(super) fn add(document: &mut Value) {
    for Call { method, path, variant, samples } in CALLS {
        let all = &mut document["paths"][path][method]["x-codeSamples"];
        if all.is_null() {
            *all = json!([]);
        }
        let Some(all) = all.as_array_mut() else { continue };
        all.extend(samples.map(|(lang, name, source)| {
            json!({"lang": lang, "label": format!("{name}{variant}"), "source": source})
        }));
    }
}
