//! Authentication: Supabase tokens, service keys, or none in development.
//!
//! One [`Authenticator`] per process serves every route. Handlers take a
//! [`Caller`] and use [`Caller::acting_for`] to find the user whom the request
//! is about, so that rule is in one place.

mod admin_table;
mod caller;
mod claims;
mod config;
mod error;
mod jwks;
mod service;
mod token;
mod verified;

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use regimen_common::clock::Clock;
use uuid::Uuid;

pub use admin_table::{AdminTable, TableName};
pub use caller::{Admin, Caller, Role};
pub use config::{AuthConfig, AuthMode};
pub use error::{AuthError, AuthSetupError};
pub use jwks::FetchError;

use crate::error::ApiError;
use service::ServiceKeys;
use token::Tokens;

/// Names the user for whom a trusted backend acts.
pub const USER_HEADER: &str = "x-user-id";
/// Supabase's second header for a key; service keys may be sent here too.
const API_KEY_HEADER: &str = "apikey";
/// Longer credentials are refused unread. A Supabase token is 1 to 2 kB, plus what the
/// app keeps in the user's metadata.
const MAX_CREDENTIAL_BYTES: usize = 30 * 1024;

/// Authenticates requests. Built once in main; cheap to share.
#[derive(Debug)]
pub struct Authenticator(Mode);

#[derive(Debug)]
enum Mode {
    Jwt(Box<Tokens>),
    Service(ServiceKeys),
    Off,
}

impl Authenticator {
    /// Prepares the keys. Nothing is fetched before the first request needs it.
    ///
    /// # Errors
    /// A setting that the mode requires is missing.
    pub fn new(config: AuthConfig, clock: Clock) -> Result<Self, AuthSetupError> {
        let mode = match config.mode {
            AuthMode::Jwt => Mode::Jwt(Box::new(Tokens::new(config, clock)?)),
            AuthMode::Service => Mode::Service(ServiceKeys::new(&config.service_keys)?),
            AuthMode::Off => Mode::Off,
        };
        Ok(Self(mode))
    }

    /// Fetches keys before the first token needs them, and logs a failure.
    pub async fn look_at_keys(&self) {
        if let Mode::Jwt(tokens) = &self.0 {
            tokens.look_at_keys().await;
        }
    }

    /// How many keys the project publishes; nothing where none are asked for.
    ///
    /// # Errors
    /// They cannot be had.
    pub async fn count_keys(&self) -> Option<Result<usize, FetchError>> {
        match &self.0 {
            Mode::Jwt(tokens) => tokens.count_keys().await,
            Mode::Service(_) | Mode::Off => None,
        }
    }

    /// The sender of these headers.
    ///
    /// # Errors
    /// The credentials are missing, invalid, or cannot be checked now.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, AuthError> {
        let named = named_in_header(headers)?;
        match &self.0 {
            Mode::Jwt(tokens) => {
                let caller = tokens.caller(bearer(headers)?).await?;
                caller.refuse_other(named)?;
                Ok(caller)
            }
            Mode::Service(keys) => {
                keys.check(service_credential(headers)?)?;
                Ok(Caller::trusted(named))
            }
            Mode::Off => Ok(Caller::trusted(named)),
        }
    }
}

/// The token of `Authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthError::Missing)?;
    if values.next().is_some() {
        return Err(AuthError::Ambiguous);
    }
    let value = value.to_str().map_err(|_| AuthError::Malformed)?;
    let (scheme, credential) = value.split_once(' ').ok_or(AuthError::Malformed)?;
    let credential = credential.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || credential.is_empty() {
        return Err(AuthError::Malformed);
    }
    of_sane_length(credential)
}

/// A service key in `apikey`, or in place of a token.
fn service_credential(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(API_KEY_HEADER).iter();
    let Some(value) = values.next() else {
        return bearer(headers);
    };
    if values.next().is_some() {
        return Err(AuthError::Ambiguous);
    }
    let key = value.to_str().map_err(|_| AuthError::Malformed)?;
    if key.is_empty() {
        return Err(AuthError::Malformed);
    }
    of_sane_length(key)
}

fn of_sane_length(credential: &str) -> Result<&str, AuthError> {
    if credential.len() > MAX_CREDENTIAL_BYTES {
        return Err(AuthError::TooLong { limit: MAX_CREDENTIAL_BYTES });
    }
    Ok(credential)
}

fn named_in_header(headers: &HeaderMap) -> Result<Option<Uuid>, AuthError> {
    let mut values = headers.get_all(USER_HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let user = value.to_str().ok().and_then(|text| Uuid::try_parse(text.trim()).ok());
    match (user, values.next()) {
        (Some(user), None) => Ok(Some(user)),
        _ => Err(AuthError::UserNotAnId),
    }
}

/// The `user_id` of the query string; every route treats it the same way.
fn named_in_query(query: Option<&str>) -> Result<Option<Uuid>, AuthError> {
    let mut named = None;
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if name == "user_id" {
            let user = Uuid::try_parse(&value).map_err(|_| AuthError::UserNotAnId)?;
            if named.is_some_and(|earlier| earlier != user) {
                return Err(AuthError::TwoUsers);
            }
            named = Some(user);
        }
    }
    Ok(named)
}

impl<S> FromRequestParts<S> for Caller
where
    Arc<Authenticator>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    /// Checks the credentials once per request; later extractors share the result.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        if let Some(caller) = parts.extensions.get::<Self>() {
            return Ok(caller.clone());
        }
        let authenticator = Arc::<Authenticator>::from_ref(state);
        let caller = authenticator.authenticate(&parts.headers).await?;
        let caller = caller.named_also(named_in_query(parts.uri.query())?)?;
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}

impl<S> FromRequestParts<S> for Admin
where
    Arc<Authenticator>: FromRef<S>,
    Arc<AdminTable>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        Admin::try_from(Arc::<AdminTable>::from_ref(state).look_up(caller).await?)
    }
}

#[cfg(test)]
mod tests;
