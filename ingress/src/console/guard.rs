//! What every answer of the console carries, and requests that other sites make of it:
//! they are refused, whatever cookie they bring.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::fault::Fault;
use crate::error::ApiError;

/// Own scripts and styles, no inline code, no frame around a page, forms to us only.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    // With no-referrer a browser's forms would name no origin.
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The layer around every route of the console.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let mut response = if is_foreign(request.method(), request.headers()) {
        let detail = "another site made this request; open the console itself and try again there";
        Fault::from(ApiError::Forbidden(detail.to_owned())).into_response()
    } else {
        next.run(request).await
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Whether a page of another origin made this request. Links from elsewhere to a page
/// are fine; scripts, frames and forms of elsewhere are not. `SameSite` alone would let
/// in other origins of our site, which may also be listed in `ALLOWED_ORIGINS`.
fn is_foreign(method: &Method, headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match text(&FETCH_SITE) {
        Some("same-origin") => false,
        Some("none") => !reads,
        Some(_) => !(reads && text(&FETCH_MODE) == Some("navigate")),
        // Browsers without it, and over plain http beyond this machine.
        None => match (headers.get(header::ORIGIN), text(&header::HOST)) {
            (None, _) => !reads,
            (Some(origin), Some(host)) => {
                let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
                origin.is_none_or(|(_, named)| !named.eq_ignore_ascii_case(host))
            }
            (Some(_), None) => true,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(method: Method, lines: &[(&'static str, &'static str)]) -> bool {
        let line = |&(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        is_foreign(&method, &lines.iter().map(line).collect())
    }

    #[test]
    fn only_our_own_pages_make_requests_and_anybody_may_link() {
        let own = &[("sec-fetch-site", "same-origin")];
        assert!(!foreign(Method::POST, own) && !foreign(Method::GET, own));
        let typed = &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")];
        assert!(!foreign(Method::GET, typed) && foreign(Method::POST, typed));
        for site in ["same-site", "cross-site", "anything"] {
            let link = &[("sec-fetch-site", site), ("sec-fetch-mode", "navigate")];
            assert!(!foreign(Method::GET, link) && foreign(Method::POST, link), "{site}");
            let script = &[("sec-fetch-site", site), ("sec-fetch-mode", "cors")];
            assert!(foreign(Method::GET, script) && foreign(Method::POST, script), "{site}");
        }
    }

    #[test]
    fn browsers_without_fetch_metadata_name_their_origin() {
        let from = |origin| [("host", "ops.example.test:8080"), ("origin", origin)];
        assert!(!foreign(Method::POST, &from("https://ops.example.test:8080")));
        for other in ["https://ops.example.test", "https://evil.test", "null", ""] {
            assert!(foreign(Method::POST, &from(other)), "{other}");
        }
        assert!(foreign(Method::POST, &[("host", "ops.example.test")]));
        assert!(!foreign(Method::GET, &[("host", "ops.example.test")]));
    }
}
