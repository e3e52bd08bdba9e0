//! An error reply in any provider's shape.

use serde_json::{Value, json};

use crate::provider::Provider;

/// A provider's error.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    /// OpenAI and Anthropic: `error.type`; Gemini: `error.status`.
    pub(crate) kind: &'static str,
    pub(crate) message: Box<str>,
    /// OpenAI: `error.code`; Anthropic: `error.details.error_code`.
    pub(crate) code: Option<Box<str>>,
    /// OpenAI: `error.param`.
    pub(crate) param: Option<Box<str>>,
    /// Gemini: `error.details`.
    pub(crate) details: Vec<Value>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Problem {
    /// An error without the optional parts.
    pub(crate) fn new(status: u16, kind: &'static str, message: impl Into<Box<str>>) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
            code: None,
            param: None,
            details: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// The same with a code.
    pub(crate) fn code(mut self, code: &str) -> Self {
        self.code = Some(code.into());
        self
    }

    /// The same with the invalid parameter.
    pub(crate) fn param(mut self, param: impl Into<Box<str>>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// The same with a header.
    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The body in the shape of `provider`.
    pub(crate) fn body(&self, provider: Provider, request_id: &str) -> Value {
        match provider {
            Provider::OpenAi | Provider::Llama => json!({"error": self.openai()}),
            Provider::Anthropic => self.anthropic(request_id),
            Provider::Gemini => json!({"error": self.gemini()}),
        }
    }

    fn openai(&self) -> Value {
        json!({"message": self.message, "type": self.kind, "param": self.param, "code": self.code})
    }

    fn anthropic(&self, request_id: &str) -> Value {
        let mut error = json!({"type": self.kind, "message": self.message});
        if let Some(code) = &self.code {
            error["details"] = json!({"error_code": code, "error_visibility": "user_facing"});
        }
        json!({"type": "error", "error": error, "request_id": request_id})
    }

    fn gemini(&self) -> Value {
        let mut error = json!({"code": self.status, "message": self.message, "status": self.kind});
        if !self.details.is_empty() {
            error["details"] = json!(self.details);
        }
        error
    }
}
