//! The claims of a verified token, and whether they describe a user.
//!
//! Roles come only from the server-controlled claims `role` and `app_metadata`;
//! `user_metadata` can be written by the user and is not read.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{AuthError, Caller, Role};

/// Clocks of two machines may differ by this much.
const LEEWAY_SECONDS: f64 = 30.0;
const MAX_EMAIL_BYTES: usize = 320;

/// The claims this service reads (Supabase Auth access tokens).
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    /// Seconds since 1970; JWT allows fractions (RFC 7519, NumericDate).
    exp: f64,
    nbf: Option<f64>,
    sub: Option<String>,
    role: Option<String>,
    email: Option<String>,
    is_anonymous: Option<bool>,
    #[serde(default)]
    app_metadata: Value,
}

impl Claims {
    /// The caller these claims describe.
    pub(super) fn into_caller(self, allow_anonymous: bool) -> Result<Caller, AuthError> {
        match self.role.as_deref() {
            Some("authenticated") => {}
            Some("service_role") => return Err(AuthError::ServiceRole),
            _ => return Err(AuthError::NotAUser),
        }
        if self.is_anonymous == Some(true) && !allow_anonymous {
            return Err(AuthError::Anonymous);
        }
        let user_id = self.sub.as_deref().and_then(|sub| Uuid::try_parse(sub).ok());
        let user_id = user_id.filter(|id| !id.is_nil()).ok_or(AuthError::NotAUser)?;
        let role = role_of(&self.app_metadata);
        Ok(Caller { user_id: Some(user_id), email: self.email.and_then(usable_email), role })
    }

    /// When they are valid.
    pub(super) fn validity(&self) -> Validity {
        Validity { exp: self.exp, nbf: self.nbf }
    }
}

/// The times of a token, seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Validity {
    exp: f64,
    nbf: Option<f64>,
}

impl Validity {
    /// Refuses a token that is not valid at `now`.
    pub(super) fn check(self, now: DateTime<Utc>) -> Result<(), AuthError> {
        #[expect(clippy::cast_precision_loss, reason = "exact up to the year 285,000,000")]
        let now = now.timestamp() as f64;
        // JSON has no NaN, so these comparisons always decide.
        if self.exp <= now - LEEWAY_SECONDS {
            return Err(AuthError::Expired);
        }
        match self.nbf {
            Some(nbf) if nbf > now + LEEWAY_SECONDS => Err(AuthError::NotYetValid),
            _ => Ok(()),
        }
    }
}

/// The highest role that `app_metadata.role` is, or `app_metadata.roles` holds.
fn role_of(app_metadata: &Value) -> Role {
    let one = app_metadata.get("role");
    let more = app_metadata.get("roles").and_then(Value::as_array);
    let has = |name: &str| {
        let is = |value: &Value| value.as_str() == Some(name);
        one.is_some_and(is) || more.is_some_and(|roles| roles.iter().any(is))
    };
    match (has("admin"), has("viewer")) {
        (true, _) => Role::Admin,
        (false, true) => Role::Viewer,
        (false, false) => Role::User,
    }
}

fn usable_email(email: String) -> Option<String> {
    let usable = email.contains('@')
        && email.len() <= MAX_EMAIL_BYTES
        && !email.chars().any(|c| c.is_control());
    usable.then_some(email)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const USER: &str = "0b8f3c1e-4a57-4d0a-9a63-5f0d1c2b7e11";
    const NOW: i64 = 1_800_000_000;

    fn caller(change: Value) -> Result<Caller, AuthError> {
        let mut claims = json!({"exp": NOW + 60, "sub": USER, "role": "authenticated",
            "email": "ada@example.com"});
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let claims: Claims = serde_json::from_value(claims).unwrap();
        claims.validity().check(DateTime::from_timestamp(NOW, 0).unwrap())?;
        claims.into_caller(false)
    }

    #[test]
    fn a_signed_in_user_is_recognised() {
        let caller = caller(json!({})).unwrap();
        assert_eq!(caller.user_id, Some(USER.parse().unwrap()));
        assert_eq!(caller.email.as_deref(), Some("ada@example.com"));
        assert_eq!(caller.role, Role::User);
    }

    #[test]
    fn time_is_checked_with_a_little_leeway() {
        assert!(caller(json!({"exp": NOW - 29})).is_ok());
        assert!(matches!(caller(json!({"exp": NOW - 30})), Err(AuthError::Expired)));
        assert!(matches!(caller(json!({"exp": 0})), Err(AuthError::Expired)));
        assert!(caller(json!({"nbf": NOW + 30})).is_ok());
        assert!(matches!(caller(json!({"nbf": NOW + 31})), Err(AuthError::NotYetValid)));
    }

    #[test]
    fn only_the_role_authenticated_is_a_user() {
        assert!(matches!(caller(json!({"role": "service_role"})), Err(AuthError::ServiceRole)));
        for role in [json!("anon"), json!(null), json!("Authenticated"), json!("postgres")] {
            assert!(matches!(caller(json!({"role": role})), Err(AuthError::NotAUser)));
        }
        for sub in [json!(null), json!(""), json!("1 or 1=1"), json!(Uuid::nil())] {
            assert!(matches!(caller(json!({"sub": sub})), Err(AuthError::NotAUser)));
        }
        assert!(matches!(caller(json!({"is_anonymous": true})), Err(AuthError::Anonymous)));
    }

    #[test]
    fn admin_comes_from_app_metadata_only() {
        let role = |change| caller(change).unwrap().role;
        assert_eq!(role(json!({"app_metadata": {"role": "admin"}})), Role::Admin);
        assert_eq!(role(json!({"app_metadata": {"roles": ["editor", "admin"]}})), Role::Admin);
        assert_eq!(role(json!({"app_metadata": {"role": ["admin"]}})), Role::User);
        assert_eq!(role(json!({"app_metadata": {"roles": "admin"}})), Role::User);
        assert_eq!(role(json!({"app_metadata": "admin"})), Role::User);
        assert_eq!(role(json!({"user_metadata": {"role": "admin"}})), Role::User);
        assert_eq!(role(json!({"app_metadata": {"role": "viewer"}})), Role::Viewer);
        let both = json!({"app_metadata": {"role": "viewer", "roles": ["admin"]}});
        assert_eq!(role(both), Role::Admin);
    }

    #[test]
    fn an_unusable_email_is_left_out() {
        assert_eq!(caller(json!({"email": "a@b\nBcc: c@d"})).unwrap().email, None);
        assert_eq!(caller(json!({"email": ""})).unwrap().email, None);
    }
}
