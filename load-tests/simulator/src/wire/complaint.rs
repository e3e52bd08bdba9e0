//! Errors instead of a reply, with status 200, in the shapes that hosts,
//! routers and proxies send.

use serde::{Deserialize, Serialize};

/// An error instead of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Complaint {
    /// JSON with a number as its code: no money.
    JsonNumber,
    /// JSON with a text as its code: too many requests.
    JsonText,
    /// JSON without a code.
    JsonPlain,
    /// JSON in Anthropic's form: overloaded.
    JsonTyped,
    /// An event with a number as its code: a bad key.
    EventNumber,
    /// An event with a text as its code: too many requests.
    EventText,
    /// An event that is a text: the queue is full.
    EventPlain,
    /// An event named `error` without a type.
    EventNamed,
    /// A stream whose model stopped with `error`.
    EventStop,
    /// FastAPI's `detail` as a text.
    Detail,
    /// FastAPI's `detail` as a list.
    DetailList,
    /// JSON under the media type of a stream.
    JsonAsStream,
    /// A page of HTML with a status in its title.
    Page,
}

impl Complaint {
    /// Its media type and body.
    pub(crate) fn body(self) -> (&'static str, &'static str) {
        const JSON: &str = "application/json";
        const STREAM: &str = "text/event-stream";
        match self {
            Self::JsonNumber => {
                (JSON, r#"{"error":{"code":402,"message":"Insufficient credits"}}"#)
            }
            Self::JsonText => {
                (JSON, r#"{"error":{"code":"429","message":"slow down"},"choices":null}"#)
            }
            Self::JsonPlain => (JSON, r#"{"error":"queue full"}"#),
            Self::JsonTyped => (
                JSON,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            ),
            Self::EventNumber => (
                STREAM,
                "data: {\"error\":{\"code\":401,\"message\":\"No auth credentials found\"}}\n\n",
            ),
            Self::EventText => {
                (STREAM, "data: {\"error\":{\"code\":\"429\",\"message\":\"slow down\"}}\n\n")
            }
            Self::EventPlain => (STREAM, "data: {\"error\":\"queue full\"}\n\n"),
            Self::EventNamed => {
                (STREAM, "event: error\ndata: {\"message\":\"no worker is free\"}\n\n")
            }
            Self::EventStop => (
                STREAM,
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"{\\\"meals\"},\"finish_reason\":\"error\"}]}\n\ndata: [DONE]\n\n",
            ),
            Self::Detail => (JSON, r#"{"detail":"Not authenticated"}"#),
            Self::DetailList => (
                JSON,
                r#"{"detail":[{"type":"missing","loc":["body","prompt"],"msg":"Field required"}]}"#,
            ),
            Self::JsonAsStream => (STREAM, r#"{"error":{"code":429,"message":"slow down"}}"#),
            Self::Page => (
                "text/html",
                "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
            ),
        }
    }
}
