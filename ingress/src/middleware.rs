//! What wraps every route: request ids, limits on size and time, metrics.

tokio::task_local! {
    static REQUEST_ID: String;
}

/// The id of the request this task is answering, or an empty text outside of one.
pub fn current_request_id() -> String {
    REQUEST_ID.try_with(Clone::clone).unwrap_or_default()
}
