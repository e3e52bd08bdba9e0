//! Access tokens as Supabase Auth issues them, signed with the development
//! stack's secret: HS256 (RFC 7518, section 3.2), claims as Supabase names them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use uuid::Uuid;

/// The claims of a token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claims<'a> {
    /// Whose token it is.
    pub(crate) user: Uuid,
    /// The role in `app_metadata`, such as `admin`.
    pub(crate) role: Option<&'a str>,
    /// The time of issue, seconds since 1970.
    pub(crate) issued_at: u64,
    /// The lifetime, seconds.
    pub(crate) life: u64,
}

impl Claims<'_> {
    /// The token, signed with `secret` as raw text.
    pub(crate) fn sign(&self, secret: &str) -> String {
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let header = encode(&json!({"alg": "HS256", "typ": "JWT"}));
        let signed = format!("{header}.{}", encode(&self.to_json()));
        let signature = URL_SAFE_NO_PAD.encode(hmac_sha256(secret.as_bytes(), signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn to_json(self) -> Value {
        let mut app_metadata = json!({"provider": "email"});
        if let Some(role) = self.role {
            app_metadata["role"] = json!(role);
        }
        json!({
            "sub": self.user,
            "aud": "authenticated",
            "role": "authenticated",
            "iat": self.issued_at,
            "exp": self.issued_at + self.life,
            "email": format!("{}@example.test", self.user.simple()),
            "is_anonymous": false,
            "app_metadata": app_metadata,
        })
    }
}

/// HMAC-SHA256 (RFC 2104).
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length (RFC 2104), so this cannot fail.
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn the_mac_is_the_standards() {
        let mac = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn a_token_carries_its_claims_and_a_signature_over_them() {
        let user = Uuid::from_u128(7);
        let claims = Claims { user, role: Some("admin"), issued_at: 1_000, life: 60 };
        let token = claims.sign("secret");
        let parts: Vec<_> = token.split('.').collect();
        let [header, payload, signature] = parts[..] else { panic!("{token}") };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let payload_json: Value = serde_json::from_slice(&decode(payload)).unwrap();
        assert_eq!(payload_json["sub"], json!(user));
        assert_eq!(payload_json["exp"], json!(1_060));
        assert_eq!(payload_json["app_metadata"]["role"], json!("admin"));
        let signed = format!("{header}.{payload}");
        assert_eq!(decode(signature), hmac_sha256(b"secret", signed.as_bytes()));
    }

    #[test]
    fn a_plain_user_has_no_role_in_its_metadata() {
        let claims = Claims { user: Uuid::from_u128(7), role: None, issued_at: 0, life: 1 };
        assert_eq!(claims.to_json()["app_metadata"].get("role"), None);
    }
}
