//! The id of a request: in its response, its log lines and its problem
//! documents.

use axum::http::{HeaderMap, HeaderName};
use uuid::Uuid;

/// The header with the client's id, and with the used one in the response.
pub(crate) const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
const MAX_BYTES: usize = 64;

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the current request of this task, or an empty text outside of one.
pub fn current() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

/// Runs `answer`, during which `id` is the [`current`] id.
pub(crate) async fn scope<F: Future>(id: String, answer: F) -> F::Output {
    CURRENT.scope(id, answer).await
}

/// The client's own id if it is safe in logs and headers, else a new one.
pub(crate) fn choose(headers: &HeaderMap) -> String {
    let sane = |id: &&str| {
        (1..=MAX_BYTES).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let given = headers.get(REQUEST_ID_HEADER).and_then(|id| id.to_str().ok()).filter(sane);
    given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}
