//! The headers of replies: request ids, rate limits.

use crate::provider::{Api, Provider};

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// The request id in the provider's format.
pub(crate) fn request_id(provider: Provider, id: &str) -> String {
    match provider {
        Provider::OpenAi | Provider::Llama | Provider::Anthropic => format!("req_{id}"),
        Provider::Gemini => id.to_owned(),
    }
}

/// Headers of a good reply.
pub(crate) fn of_reply(api: Api, id: &str) -> Vec<(String, String)> {
    let mut headers = of_error(api, id);
    headers.extend(match api.provider() {
        Provider::OpenAi => pairs([
            ("openai-version", "2020-10-01"),
            ("openai-processing-ms", "1"),
            ("openai-organization", "org-simulator"),
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-limit-tokens", "10000000"),
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-ratelimit-remaining-tokens", "9990000"),
            ("x-ratelimit-reset-requests", "6ms"),
            ("x-ratelimit-reset-tokens", "60ms"),
        ]),
        Provider::Anthropic => pairs([
            ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
            ("anthropic-ratelimit-requests-limit", "10000"),
            ("anthropic-ratelimit-requests-remaining", "9999"),
            ("anthropic-ratelimit-tokens-limit", "10000000"),
            ("anthropic-ratelimit-tokens-remaining", "9990000"),
        ]),
        Provider::Gemini | Provider::Llama => Vec::new(),
    });
    headers
}

/// Headers of an error, before its own. Gemini has none: its id is in the body.
pub(crate) fn of_error(api: Api, id: &str) -> Vec<(String, String)> {
    let id = request_id(api.provider(), id);
    match api.provider() {
        Provider::OpenAi | Provider::Llama => pairs([("x-request-id", &id)]),
        Provider::Anthropic => pairs([("request-id", &id)]),
        Provider::Gemini => pairs([("server", "scaffolding on HTTPServer2"), ("vary", "Origin")]),
    }
}
