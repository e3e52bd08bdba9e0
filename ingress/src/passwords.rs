//! Operators' passwords: the project's token endpoint checks them. None is stored.

use std::time::Duration;

use axum::http::{StatusCode, header};
use reqwest::redirect::Policy;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::config::SupabaseConfig;
use crate::error::ApiError;

const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_REPLY_BYTES: usize = 64 * 1024;

/// Asks the project, over one HTTP client. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Passwords(Option<(SupabaseConfig, reqwest::Client)>);

impl Passwords {
    /// Of this project; without one no password is checked.
    ///
    /// # Errors
    /// The HTTP client could not be set up.
    pub fn new(project: Option<SupabaseConfig>) -> Result<Self, reqwest::Error> {
        let Some(project) = project else { return Ok(Self(None)) };
        let client =
            reqwest::Client::builder().timeout(TIMEOUT).redirect(Policy::none()).build()?;
        Ok(Self(Some((project, client))))
    }

    /// Whether operators sign in by password.
    pub fn are_checked(&self) -> bool {
        self.0.is_some()
    }

    /// The access token that the project gives for a password.
    ///
    /// # Errors
    /// 401 for a wrong one, 503 when the project does not answer.
    pub async fn token(
        &self,
        email: &str,
        password: &SecretString,
    ) -> Result<SecretString, ApiError> {
        let refused = "e-mail and password do not belong together; try again, or use a token";
        let refused = || ApiError::Unauthenticated(refused.to_owned());
        let Some((project, client)) = &self.0 else { return Err(refused()) };
        let away = |source: reqwest::Error| ApiError::Unavailable {
            what: "the sign-in service",
            source: source.without_url().into(),
        };
        let base = project.url.as_str().trim_end_matches('/');
        let body = json!({ "email": email, "password": password.expose_secret() });
        let request = client
            .post(format!("{base}/auth/v1/token?grant_type=password"))
            .header("apikey", project.anon_key.expose_secret())
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_string());
        let response = request.send().await.map_err(away)?;
        let status = response.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(ApiError::Unavailable {
                what: "the sign-in service",
                source: format!("it answered {status}").into(),
            });
        }
        if !status.is_success() {
            return Err(refused());
        }
        let body = response.bytes().await.map_err(away)?;
        let token = Some(&body).filter(|body| body.len() <= MAX_REPLY_BYTES);
        let token = token.and_then(|body| serde_json::from_slice::<Value>(body).ok());
        let token = token.as_ref().and_then(|reply| reply["access_token"].as_str());
        token.map(SecretString::from).ok_or_else(|| ApiError::Unavailable {
            what: "the sign-in service",
            source: "its reply has no access_token".into(),
        })
    }
}
