//! Sessions of operators: a secret in a cookie, of which Postgres has the hash. A token
//! of the session stands in every form, so that no other page can send one.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use regimen_common::config::Environment;
use regimen_common::db::console::{self, ConsoleRole, NewSession, SESSION_HOURS};
use regimen_common::db::{DbError, GenericClient};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::fault::Fault;
use super::form::Form;
use crate::auth::{Caller, Role};
use crate::error::ApiError;
use crate::operators::Operator;
use crate::state::AppState;

/// Over https. The prefix makes browsers refuse one that a page of another host set.
const COOKIE: &str = "__Host-regimen_console";
/// In development over http on this machine.
const PLAIN_COOKIE: &str = "regimen_console";
const THEME_COOKIE: &str = "regimen_console_theme";
/// How long a link to sign in is valid.
const LINK_SECONDS: f64 = 600.0;
const MAX_REASON_CHARS: usize = 500;

/// 256 random bits that only their holder knows. They have no `Debug`.
pub(super) struct Secret([u8; 32]);

impl Secret {
    pub(super) fn new() -> Self {
        Self(rand::random())
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }

    /// The token of this session's forms.
    fn form_token(&self) -> String {
        let digest = Sha256::new_with_prefix("the forms of a session of the console");
        URL_SAFE_NO_PAD.encode(digest.chain_update(self.0).finalize())
    }
}

/// A link that signs in once.
#[derive(Debug)]
pub struct SignInLink {
    /// Its path and query.
    pub path: String,
}

/// Stores a link that signs `actor` in once, within ten minutes.
///
/// # Errors
/// Nothing was stored.
pub async fn sign_in_link(
    client: &impl GenericClient,
    actor: &str,
    role: ConsoleRole,
) -> Result<SignInLink, DbError> {
    let secret = Secret::new();
    console::make_link(client, &secret.hash(), actor, role, LINK_SECONDS).await?;
    Ok(SignInLink { path: format!("/console/link?secret={}", secret.text()) })
}

/// The theme that an operator chose.
pub(super) fn theme(headers: &HeaderMap) -> Option<&'static str> {
    match cookie(headers, THEME_COOKIE) {
        Some("dark") => Some("dark"),
        Some("light") => Some("light"),
        _ => None,
    }
}

/// The cookie of a theme.
pub(super) fn theme_cookie(theme: &'static str) -> HeaderValue {
    let cookie =
        format!("{THEME_COOKIE}={theme}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax");
    HeaderValue::try_from(cookie).unwrap_or(HeaderValue::from_static(""))
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.trim(), value.trim())).find(|pair| pair.0 == name).map(|p| p.1)
}

/// Whether cookies go over plain http: in development, to this machine.
fn is_plain(state: &AppState, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_here = name == "localhost" || name == "[::1]" || name.starts_with("127.");
    state.config.environment == Environment::Development && is_here
}

/// The secret that a request brings.
pub(super) fn secret_of(state: &AppState, headers: &HeaderMap) -> Option<Secret> {
    let name = if is_plain(state, headers) { PLAIN_COOKIE } else { COOKIE };
    Secret::read(cookie(headers, name)?)
}

/// Begins a session in place of the one the request has: a cookie that was there before
/// is never taken over. Returns the new cookie.
///
/// # Errors
/// No session was begun.
pub(super) async fn begin(
    state: &AppState,
    headers: &HeaderMap,
    new: &NewSession,
) -> Result<HeaderValue, ApiError> {
    let (secret, before) = (Secret::new(), secret_of(state, headers));
    let client = state.db.get().await?;
    let before = before.map(|secret| secret.hash());
    let before = before.as_ref().map(|hash| hash.as_slice());
    console::open(&client, &secret.hash(), new, before).await?;
    let (actor, role) = (&new.actor, new.role.as_str());
    tracing::info!(actor, role, session = %new.id, "an operator signed in to the console");
    Ok(set_cookie(state, headers, &secret.text(), i64::from(SESSION_HOURS) * 3_600))
}

/// A cookie that removes the session's.
pub(super) fn no_cookie(state: &AppState, headers: &HeaderMap) -> HeaderValue {
    set_cookie(state, headers, "", 0)
}

fn set_cookie(state: &AppState, headers: &HeaderMap, value: &str, seconds: i64) -> HeaderValue {
    let (name, secure) =
        if is_plain(state, headers) { (PLAIN_COOKIE, "") } else { (COOKIE, "; Secure") };
    let cookie =
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    // Nothing in it can be unprintable.
    HeaderValue::try_from(cookie).unwrap_or(HeaderValue::from_static(""))
}

/// A signed-in operator: may look.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// The session's name.
    pub(super) id: Uuid,
    /// The name in the audit log.
    pub(super) actor: String,
    /// What they may do.
    pub(super) role: ConsoleRole,
    /// The token of their forms.
    pub(super) token: String,
    /// The theme they chose.
    pub(super) theme: Option<&'static str>,
}

impl Session {
    /// Whether they may act, and see health data.
    pub(super) fn is_admin(&self) -> bool {
        self.role == ConsoleRole::Admin
    }

    /// Refuses viewers.
    ///
    /// # Errors
    /// 403.
    pub(super) fn require_admin(&self) -> Result<(), ApiError> {
        if self.is_admin() {
            return Ok(());
        }
        Err(ApiError::Forbidden(
            "you are signed in as a viewer, who changes nothing and sees no health data; an admin \
             can do this"
                .to_owned(),
        ))
    }
}

impl FromRequestParts<AppState> for Session {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Fault> {
        if let Some(session) = parts.extensions.get::<Self>() {
            return Ok(session.clone());
        }
        let session = find(state, &parts.headers).await?;
        let path = parts.uri.path_and_query().map_or("/console", |path| path.as_str());
        let back = if parts.method.is_safe() { path } else { "/console" };
        let session = session.ok_or_else(|| Fault::SignIn(back.to_owned()))?;
        parts.extensions.insert(session.clone());
        Ok(session)
    }
}

/// The valid session of a request, if it has one.
pub(super) async fn find(
    state: &AppState,
    headers: &HeaderMap,
) -> Result<Option<Session>, ApiError> {
    let Some(secret) = secret_of(state, headers) else { return Ok(None) };
    let client = state.db.get().await?;
    let found = console::find(&client, &secret.hash()).await?;
    drop(client);
    let Some(found) = found else { return Ok(None) };
    if found.by_table {
        let caller = Caller { user_id: found.user_id, email: None, role: Role::User };
        if !state.admins.look_up(caller).await?.is_admin() {
            return Ok(None);
        }
    }
    Ok(Some(Session {
        id: found.id,
        actor: found.actor,
        role: found.role,
        token: secret.form_token(),
        theme: theme(headers),
    }))
}

/// A form that a signed-in operator sent from a page of ours.
pub(super) struct Sent {
    /// Who.
    pub(super) session: Session,
    /// What.
    pub(super) form: Form,
}

impl FromRequest<AppState> for Sent {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Fault> {
        let (mut parts, body) = request.into_parts();
        let session = Session::from_request_parts(&mut parts, state).await?;
        let form = Form::from_request(Request::from_parts(parts, body), state).await?;
        let sent = form.get("token").unwrap_or_default();
        if !bool::from(sent.as_bytes().ct_eq(session.token.as_bytes())) {
            return Err(ApiError::Forbidden(
                "this form is of another session; open the page again and repeat it".to_owned(),
            )
            .into());
        }
        Ok(Self { session, form })
    }
}

/// The same of an admin, with the reason that every action needs.
pub(super) struct Act {
    /// Who.
    pub(super) session: Session,
    /// What.
    pub(super) form: Form,
    /// Who and why, for the audit log.
    pub(super) operator: Operator,
}

impl FromRequest<AppState> for Act {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Fault> {
        let Sent { session, form } = Sent::from_request(request, state).await?;
        session.require_admin()?;
        let reason = form.get("reason").unwrap_or_default();
        if reason.is_empty() || reason.chars().count() > MAX_REASON_CHARS {
            let must = format!("must say in 1 to {MAX_REASON_CHARS} characters why you do this");
            return Err(ApiError::field("/reason", must).into());
        }
        let reason: String = reason.chars().filter(|c| !c.is_control()).collect();
        let operator = Operator { actor: session.actor.clone(), reason: Some(reason) };
        Ok(Self { session, form, operator })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_its_hash_and_shows_in_no_form() {
        let secret = Secret::new();
        let again = Secret::read(&secret.text()).unwrap();
        assert_eq!((secret.hash(), secret.form_token()), (again.hash(), again.form_token()));
        assert_ne!(secret.text(), secret.form_token());
        assert_ne!(URL_SAFE_NO_PAD.encode(secret.hash()), secret.form_token());
        assert_ne!(secret.hash(), Secret::new().hash());
        for wrong in ["", "abc", "%", &"A".repeat(44)] {
            assert!(Secret::read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; b = x=y"));
        headers.append(header::COOKIE, HeaderValue::from_static("c=3"));
        assert_eq!(cookie(&headers, "b"), Some("x=y"));
        assert_eq!(cookie(&headers, "c"), Some("3"));
        assert_eq!(cookie(&headers, "d"), None);
    }
}
