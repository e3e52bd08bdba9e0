//! Signing in and out. A token, a service key, a password or a link is exchanged once
//! for a session; none of them is stored.

use askama::Template;
use axum::extract::{Query as RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use regimen_common::db::console::{self, ConsoleRole, NewSession};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::fault::Answer;
use super::form::Form;
use super::limit::{self, Limit, limited};
use super::page::{Frame, html};
use super::session::{self, Secret, Sent, theme_cookie};
use crate::auth::{AuthError, AuthMode, Caller, Role};
use crate::billing::operate::actor;
use crate::client_address::ClientAddress;
use crate::error::ApiError;
use crate::state::AppState;

/// The routes; only tries to sign in are counted.
pub(super) fn router(state: &AppState) -> Router<AppState> {
    let counted = Router::new()
        .route("/console/sign-in", get(sign_in_page).post(sign_in))
        .route("/console/link", get(link_page).post(use_link));
    limited(state, Limit::SignIn, counted)
        .route("/console/sign-out", post(sign_out))
        .route("/console/theme", post(choose_theme))
}

#[derive(Debug, Default, Deserialize)]
struct Next {
    #[serde(default)]
    next: String,
    #[serde(default)]
    secret: String,
}

#[derive(Template)]
#[template(path = "console/sign_in.html")]
struct SignInPage {
    frame: Frame,
    next: String,
    with_password: bool,
    what: &'static str,
    refused: Option<String>,
}

impl SignInPage {
    fn new(state: &AppState, next: String, refused: Option<String>) -> Self {
        Self {
            frame: Frame::of("Sign in"),
            next,
            with_password: state.passwords.are_checked(),
            what: match state.config.auth.mode {
                AuthMode::Jwt => "Access token of an admin or a viewer",
                AuthMode::Service => "Service key",
                AuthMode::Off => "Nothing (AUTH_MODE=off lets everybody in)",
            },
            refused,
        }
    }
}

/// Only a path of the console: nobody is led elsewhere.
fn own_path(next: &str) -> &str {
    let plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let own = next == "/console" || next.starts_with("/console/") || next.starts_with("/console?");
    if plain && own && !next.starts_with("/console/sign-in") { next } else { "/console" }
}

async fn sign_in_page(State(state): State<AppState>, RawQuery(query): RawQuery<Next>) -> Answer {
    let page = SignInPage::new(&state, own_path(&query.next).to_owned(), None);
    Ok(html(page.render()?).into_response())
}

async fn sign_in(
    State(state): State<AppState>,
    client: Option<Extension<ClientAddress>>,
    headers: HeaderMap,
    form: Form,
) -> Answer {
    let next = own_path(form.get("next").unwrap_or_default()).to_owned();
    let address = client.map(|Extension(client)| client.group().to_string());
    match exchange(&state, &form).await {
        Ok(new) => {
            let cookie = session::begin(&state, &headers, &new).await?;
            if let Some(address) = address {
                limit::give_back(&state, Limit::SignIn, &address).await;
            }
            Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&next)).into_response())
        }
        Err(refusal @ (ApiError::Unauthenticated(_) | ApiError::Forbidden(_))) => {
            let status = refusal.problem_type().status;
            let page = SignInPage::new(&state, next, Some(refusal.to_string()));
            Ok((status, html(page.render()?)).into_response())
        }
        Err(other) => Err(other.into()),
    }
}

/// The session that the credentials of a form give.
async fn exchange(state: &AppState, form: &Form) -> Result<NewSession, ApiError> {
    let credential = match form.get("email").filter(|_| state.passwords.are_checked()) {
        Some(email) => {
            // Many addresses together must not try many passwords of one person.
            let subject = hex::encode(Sha256::digest(email.to_lowercase().as_bytes()));
            limit::take(state, Limit::SignIn, &subject).await?;
            let password = SecretString::from(form.get("password").unwrap_or_default());
            let token = state.passwords.token(email, &password).await?;
            limit::give_back(state, Limit::SignIn, &subject).await;
            token
        }
        None => SecretString::from(form.get("credential").unwrap_or_default()),
    };
    let caller = authenticate(state, &credential).await?;
    let by_claim = caller.role != Role::User && caller.role != Role::Viewer;
    let caller = state.admins.look_up(caller).await?;
    let role = match caller.role {
        Role::Admin | Role::Service => ConsoleRole::Admin,
        Role::Viewer => ConsoleRole::Viewer,
        Role::User => {
            return Err(ApiError::Forbidden(
                "this account is no operator's; app_metadata.role must be admin or viewer"
                    .to_owned(),
            ));
        }
    };
    let by_table = role == ConsoleRole::Admin && !by_claim;
    let (actor, user_id) = (actor(&caller), caller.user_id);
    Ok(NewSession { id: Uuid::now_v7(), actor, user_id, role, by_table })
}

async fn authenticate(state: &AppState, credential: &SecretString) -> Result<Caller, ApiError> {
    let bearer = format!("Bearer {}", credential.expose_secret());
    let mut value = HeaderValue::try_from(bearer).map_err(|_| AuthError::Malformed)?;
    value.set_sensitive(true);
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
    Ok(state.authenticator.authenticate(&headers).await?)
}

#[derive(Template)]
#[template(path = "console/link.html")]
struct LinkPage {
    frame: Frame,
    secret: String,
}

/// Asks before the link is used up: programs that look at links ahead use up none.
async fn link_page(RawQuery(query): RawQuery<Next>) -> Answer {
    let page = LinkPage { frame: Frame::of("Sign in"), secret: query.secret };
    Ok(html(page.render()?).into_response())
}

async fn use_link(State(state): State<AppState>, headers: HeaderMap, form: Form) -> Answer {
    let secret = form.get("secret").and_then(Secret::read);
    let used = match secret {
        Some(secret) => {
            let client = state.db.get().await?;
            console::use_link(&client, &secret.hash()).await?
        }
        None => None,
    };
    let (actor, role) = used.ok_or_else(|| {
        ApiError::Unauthenticated(
            "this link was used before or is older than ten minutes; make a new one with \
             `regimen-ingress console-link`"
                .to_owned(),
        )
    })?;
    let new = NewSession { id: Uuid::now_v7(), actor, user_id: None, role, by_table: false };
    let cookie = session::begin(&state, &headers, &new).await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/console")).into_response())
}

async fn sign_out(State(state): State<AppState>, headers: HeaderMap, _: Sent) -> Answer {
    if let Some(secret) = session::secret_of(&state, &headers) {
        let client = state.db.get().await?;
        console::close(&client, &secret.hash()).await?;
    }
    let cookie = session::no_cookie(&state, &headers);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/console/sign-in")).into_response())
}

async fn choose_theme(Sent { form, .. }: Sent) -> Answer<Response> {
    let theme = match form.get("theme") {
        Some("dark") => "dark",
        Some("light") => "light",
        _ => return Err(ApiError::field("/theme", "must be dark or light").into()),
    };
    let back = own_path(form.get("next").unwrap_or_default());
    Ok(([(header::SET_COOKIE, theme_cookie(theme))], Redirect::to(back)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_elsewhere() {
        for own in ["/console", "/console/jobs?state=failed", "/console?x=1"] {
            assert_eq!(own_path(own), own);
        }
        for other in [
            "",
            "//evil.test",
            "https://evil.test",
            "/console\\evil",
            "/consoles",
            "/console/sign-in?next=/console/sign-in",
            "/console/\r\nset-cookie: a=b",
        ] {
            assert_eq!(own_path(other), "/console", "{other}");
        }
    }
}
