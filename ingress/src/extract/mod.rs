//! Extractors of JSON bodies, raw bodies, ids and queries.
//!
//! Their errors are problem documents that point to the mistake, which axum's
//! own extractors do not provide.

mod strict;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query as AxumQuery, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use uuid::Uuid;

use crate::error::ApiError;
use crate::middleware::BodyRefused;

/// A JSON body, checked before it is parsed into `T`: nesting, duplicate keys, NUL and
/// unpaired surrogates in texts, list sizes. A byte order mark before it is skipped.
#[derive(Debug, Clone)]
pub struct Json<T>(pub T);

/// A JSON body together with its bytes, for requests that may be repeated
/// under an idempotency key.
#[derive(Debug, Clone)]
pub struct JsonAndBytes<T>(pub T, pub Bytes);

/// A raw body, for signatures.
#[derive(Debug, Clone)]
pub struct RawBody(pub Bytes);

/// The single segment of a path as text; if it is not UTF-8, it names nothing, so it is a
/// 404.
#[derive(Debug, Clone)]
pub struct Word(pub String);

/// The single id of a path; if it is not an id, it names nothing, so it is a 404.
#[derive(Debug, Clone, Copy)]
pub struct Id(pub Uuid);

/// The single name of a path, of plain characters; anything else names nothing, so it is
/// a 404.
#[derive(Debug, Clone)]
pub struct Name(pub String);

/// The query string parsed into `T`.
#[derive(Debug, Clone)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let JsonAndBytes(value, _) = JsonAndBytes::from_request(request, state).await?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonAndBytes<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        require_json(request.headers())?;
        let body = read_body(request.into_body()).await?;
        let body = body.slice_ref(without_mark(&body));
        Ok(Self(from_json(&body)?, body))
    }
}

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        Ok(Self(read_body(request.into_body()).await?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Word {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(word)) => Ok(Self(word)),
            Err(_) => Err(ApiError::NotFound("the path cannot be read as UTF-8".to_owned())),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let id = Word::from_request_parts(parts, state).await.ok();
        let id = id.and_then(|Word(text)| Uuid::try_parse(&text).ok());
        id.map(Self).ok_or_else(|| {
            ApiError::NotFound(
                "nothing has this id; ids are UUIDs this service gave out".to_owned(),
            )
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let name = Path::<String>::from_request_parts(parts, state).await.ok();
        let name = name.map(|Path(name)| name).filter(|name| is_plain(name));
        name.map(Self).ok_or_else(|| ApiError::NotFound("nothing has this name".to_owned()))
    }
}

/// Whether `text` consists of the characters of names.
pub fn is_plain(text: &str) -> bool {
    const MAX_BYTES: usize = 255;
    (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match AxumQuery::<T>::from_request_parts(parts, state).await {
            Ok(AxumQuery(query)) => Ok(Self(query)),
            Err(rejection) => Err(ApiError::BadRequest(format!(
                "the query: {}",
                shortened(&rejection.body_text())
            ))),
        }
    }
}

/// Parses `body` as `T` under the same rules as [`Json`].
///
/// # Errors
/// 400 when it is not JSON, 422 with pointers when it does not fit.
pub fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let text = std::str::from_utf8(body)
        .map_err(|_| ApiError::BadRequest("the body is not UTF-8; JSON must be".to_owned()))?;
    serde_path_to_error::deserialize(strict::read(text)?).map_err(|error| misfit(&error))
}

/// A JSON text without the byte order mark that some editors and libraries put before it
/// (RFC 8259, section 8.1, allows skipping it).
pub(crate) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)
}

/// Reads a limited body to its end.
pub(crate) async fn read_body(body: Body) -> Result<Bytes, ApiError> {
    axum::body::to_bytes(body, usize::MAX).await.map_err(|error| {
        // axum wraps the guard's error once or more.
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(error) = cause {
            if let Some(refused) = error.downcast_ref::<BodyRefused>() {
                return (*refused).into();
            }
            cause = error.source();
        }
        BodyRefused::Broken.into()
    })
}

fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    if is_json(headers) { Ok(()) } else { Err(ApiError::UnsupportedMediaType) }
}

/// `application/json`, or a type built on it.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The body is JSON, but not what the route expects.
fn misfit(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let mut pointer: String = error.path().iter().map(reference_token).collect();
    let text = error.inner().to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let missing = text.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    let message = match missing {
        Some(field) => {
            pointer.push('/');
            pointer.push_str(&escaped(field));
            "is required".to_owned()
        }
        None => shortened(text),
    };
    ApiError::field(pointer, message)
}

fn reference_token(segment: &Segment) -> String {
    match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", escaped(key)),
        Segment::Enum { variant } => format!("/{}", escaped(variant)),
        Segment::Unknown => String::new(),
    }
}

/// A key escaped for a JSON pointer (RFC 6901, section 4).
fn escaped(key: &str) -> String {
    shortened(key).replace('~', "~0").replace('/', "~1").replace('\u{ffff}', "\u{fffd}")
}

/// A client's text, shortened to a line and without control characters.
fn shortened(text: &str) -> String {
    const MAX_CHARS: usize = 160;
    text.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Body {
        #[expect(dead_code, reason = "only its place in the body matters")]
        list: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[serde(rename = "a/b")]
        #[expect(dead_code, reason = "only its place in the body matters")]
        number: u8,
    }

    fn pointer(body: &str) -> String {
        match from_json::<Body>(body.as_bytes()) {
            Err(ApiError::Invalid(errors)) => errors[0].pointer.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_misfit_is_named_by_its_pointer() {
        assert!(from_json::<Body>(br#"{"list":[{"a/b":1}]}"#).is_ok());
        assert_eq!(pointer(r#"{"list":[{"a/b":1},{"a/b":256}]}"#), "/list/1/a~1b");
        assert_eq!(pointer(r#"{"list":[{}]}"#), "/list/0/a~1b");
        assert_eq!(pointer("{}"), "/list");
        assert_eq!(pointer("[]"), "");
    }

    #[test]
    fn what_is_not_json_is_a_bad_request() {
        let bodies: [&[u8]; 6] = [b"", b"{", b"{\"list\":[1e999]}", b"NaN", b"\xff", b"{} {}"];
        for body in bodies {
            let refused = from_json::<Body>(body);
            assert!(matches!(refused, Err(ApiError::BadRequest(_))), "{body:?} {refused:?}");
        }
    }

    #[test]
    fn only_json_media_types_are_read() {
        let json = |value: &str| {
            is_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, value.parse().unwrap())]))
        };
        assert!(json("application/json") && json("Application/JSON; charset=utf-8"));
        assert!(json("application/merge-patch+json"));
        assert!(!json("text/json") && !json("application/jsonp") && !json("multipart/form-data"));
        assert!(!is_json(&HeaderMap::new()));
    }
}
