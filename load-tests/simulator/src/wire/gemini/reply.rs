//! generateContent replies.

use serde_json::{Value, json};

use crate::wire::{Said, Stop};

/// The reply as one body.
pub(crate) fn body(said: &Said) -> Value {
    let mut parts = Vec::new();
    if said.show_thoughts && said.usage.reasoning > 0 {
        parts.push(json!({"text": "**Planning** I weigh the targets first.", "thought": true}));
    }
    if !said.text.is_empty() && said.stop != Stop::Refused {
        parts.push(json!({"text": &*said.text}));
    }
    frame(said, parts, true)
}

/// One response object with these parts; the last one has the finish reason.
pub(super) fn frame(said: &Said, parts: Vec<Value>, last: bool) -> Value {
    let mut body = json!({
        "usageMetadata": usage(said),
        "modelVersion": said.model,
        "responseId": said.id,
    });
    if said.stop == Stop::Filtered {
        // A blocked prompt has no candidates.
        body["promptFeedback"] = json!({"blockReason": "PROHIBITED_CONTENT"});
        return body;
    }
    let mut candidate = json!({"index": 0});
    if !parts.is_empty() {
        candidate["content"] = json!({"parts": parts, "role": "model"});
    } else if said.stop != Stop::Refused {
        candidate["content"] = json!({"role": "model"});
    }
    if last {
        candidate["finishReason"] = json!(finish_reason(said.stop));
    }
    if said.stop == Stop::Refused {
        candidate["safetyRatings"] = json!([{"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": true}]);
    }
    body["candidates"] = json!([candidate]);
    body
}

fn finish_reason(stop: Stop) -> &'static str {
    match stop {
        Stop::Done | Stop::Filtered => "STOP",
        Stop::Length => "MAX_TOKENS",
        Stop::Refused => "SAFETY",
    }
}

/// Token counts: thoughts are not part of the candidates'.
fn usage(said: &Said) -> Value {
    let usage = &said.usage;
    let mut counts = json!({
        "promptTokenCount": usage.input,
        "candidatesTokenCount": usage.output,
        "totalTokenCount": usage.input + usage.output + usage.reasoning,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input}],
    });
    if usage.reasoning > 0 {
        counts["thoughtsTokenCount"] = json!(usage.reasoning);
    }
    if usage.cached > 0 {
        counts["cachedContentTokenCount"] = json!(usage.cached);
    }
    counts
}
