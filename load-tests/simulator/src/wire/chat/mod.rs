//! OpenAI Chat Completions, also in the dialect of OpenAI-compatible hosts.

pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod stream;
