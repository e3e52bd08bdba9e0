//! OpenAI Chat Completions, and the same as an OpenAI-compatible host speaks it.

pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod stream;
