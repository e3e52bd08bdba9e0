//! A refusal as a page: the status and the words of the problem document, for people.

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::page::{Frame, html};
use crate::error::ApiError;

/// Why a page is not shown, or nothing was done.
#[derive(Debug)]
pub(super) enum Fault {
    /// As the API refuses it.
    Api(ApiError),
    /// Nobody is signed in: sign in and come back to this path.
    SignIn(String),
}

impl<E: Into<ApiError>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Api(error.into())
    }
}

#[derive(Template)]
#[template(path = "console/fault.html")]
struct FaultPage {
    frame: Frame,
    detail: String,
    instance: String,
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn(back) => {
                let back: String = url::form_urlencoded::byte_serialize(back.as_bytes()).collect();
                Redirect::to(&format!("/console/sign-in?next={back}")).into_response()
            }
            Self::Api(error) => {
                let (title, detail) = (error.problem_type().title, error.to_string());
                let instance = crate::request_id::current();
                // The problem document, for its status, its headers and the log.
                let problem = error.into_response();
                let page = FaultPage { frame: Frame::of(title), detail, instance };
                let mut response = match page.render() {
                    Ok(page) => (problem.status(), html(page)).into_response(),
                    Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                };
                if let Some(wait) = problem.headers().get(header::RETRY_AFTER) {
                    response.headers_mut().insert(header::RETRY_AFTER, wait.clone());
                }
                response
            }
        }
    }
}

impl From<askama::Error> for ApiError {
    /// A template that cannot be rendered is a defect.
    fn from(error: askama::Error) -> Self {
        Self::internal(error)
    }
}

/// What handlers of the console return.
pub(super) type Answer<T = Response> = Result<T, Fault>;
