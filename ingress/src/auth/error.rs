//! Authentication errors, and their messages for clients.

use crate::error::{ApiError, Part};

/// Why credentials are refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// No credentials.
    #[error("credentials are missing; send Authorization: Bearer <access token>")]
    Missing,
    /// More than one credential.
    #[error("credentials are given twice; send one Authorization or apikey header")]
    Ambiguous,
    /// An unknown format.
    #[error("the credentials cannot be read; send Authorization: Bearer <access token>")]
    Malformed,
    /// Too long.
    #[error("the credentials are larger than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// Signature, key or algorithm are invalid. The message does not say which.
    #[error("the credentials do not hold here; sign in again and use the new access token")]
    Invalid,
    /// Expired.
    #[error("the access token has expired; refresh the session and send the request again")]
    Expired,
    /// Not valid yet.
    #[error("the access token is not valid yet; check the clock of the machine that issued it")]
    NotYetValid,
    /// Another issuer or audience.
    #[error("the access token was issued for another service; sign in to this one")]
    NotForUs,
    /// A token without a signed-in user, such as the public anon key.
    #[error("this token belongs to no signed-in user; sign in and use that access token")]
    NotAUser,
    /// A key that bypasses row level security, on a route for users.
    #[error("service_role tokens are not accepted here; use the user's own access token")]
    ServiceRole,
    /// An anonymous session where a real account is required.
    #[error("anonymous sessions cannot do this; sign up or sign in first")]
    Anonymous,
    /// The request is about another user.
    #[error("user_id names another user; leave it out or send your own")]
    SomebodyElse,
    /// The role may not use this route.
    #[error("this route needs the admin role")]
    NotAdmin,
    /// A `user_id` that is not an id.
    #[error("user_id must be given once and be a UUID")]
    UserNotAnId,
    /// Different users named in different places of one request.
    #[error("the request names two different users; name one, once")]
    TwoUsers,
    /// The key that the token names could not be fetched yet.
    #[error("the sign-in service's keys cannot be fetched")]
    KeysUnavailable(#[from] super::jwks::FetchError),
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let detail = error.to_string();
        match error {
            AuthError::Missing
            | AuthError::Ambiguous
            | AuthError::Malformed
            | AuthError::Invalid
            | AuthError::Expired
            | AuthError::NotYetValid
            | AuthError::NotForUs
            | AuthError::NotAUser => Self::Unauthenticated(detail),
            AuthError::ServiceRole
            | AuthError::Anonymous
            | AuthError::SomebodyElse
            | AuthError::NotAdmin => Self::Forbidden(detail),
            AuthError::UserNotAnId | AuthError::TwoUsers => Self::BadRequest(detail),
            AuthError::TooLong { limit } => Self::TooLarge { part: Part::Credentials, limit },
            AuthError::KeysUnavailable(source) => Self::KeysUnavailable {
                retry_after: source.retry_after(),
                source: Box::new(source),
            },
        }
    }
}

/// Settings under which no caller could be authenticated.
#[derive(Debug, thiserror::Error)]
pub enum AuthSetupError {
    /// Mode jwt without a key to verify tokens with.
    #[error("AUTH_MODE=jwt needs JWT_SECRET, JWKS_URL or both")]
    NoTokenKey,
    /// An empty secret.
    #[error("JWT_SECRET cannot be used as a key")]
    TokenKey(#[source] jsonwebtoken::errors::Error),
    /// Mode service without keys.
    #[error("AUTH_MODE=service needs SERVICE_KEYS")]
    NoServiceKey,
    /// The HTTP client for the key set could not be built.
    #[error("the client for JWKS_URL could not be built")]
    Client(#[source] reqwest::Error),
}
